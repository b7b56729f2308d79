"""Acts that a personal key signs: what exactly is signed, by whom it can be checked."""

import hashlib
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from tollbook.core.digest import canonical_json
from tollbook.core.faults import BadInput, Tampered

SALT_BYTES: Final = 32
_SSH_PRIVATE: Final = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def content_of(salt: bytes, arguments: object) -> str:
    """The salted digest of what an act is asked with: SHA-256 of the salt and the canonical JSON."""
    return hashlib.sha256(salt + canonical_json(arguments)).hexdigest()


def statement(book: str, act: str, content: str, at: int) -> bytes:
    """What a personal key signs."""
    return f"tollbook act\n{book}\n{act}\n{content}\n{at}\n".encode()


def sign(key: Ed25519PrivateKey, text: bytes) -> str:
    """A signature, base64."""
    return b64encode(key.sign(text)).decode()


def check(public: str, signature: str, text: bytes) -> None:
    """Raise Tampered when a signature is not that of the public key (both base64) over the text."""
    try:
        Ed25519PublicKey.from_public_bytes(b64decode(public, validate=True)).verify(
            b64decode(signature, validate=True), text
        )
    except (InvalidSignature, ValueError, Base64Error) as fault:
        raise Tampered("the signature is not that of the personal key") from fault


def public_text(key: Ed25519PublicKey) -> str:
    """A public key's 32 bytes, base64."""
    return b64encode(key.public_bytes_raw()).decode()


def read_private(data: bytes, passphrase: bytes | None, source: str) -> Ed25519PrivateKey:
    """A private key in OpenSSH's form or PKCS #8 (PEM). Raises BadInput; NeedsPassphrase when it is encrypted."""
    load = load_ssh_private_key if data.lstrip().startswith(_SSH_PRIVATE) else load_pem_private_key
    try:
        key = load(data, passphrase)
    except TypeError:
        raise NeedsPassphrase(f"{source} is encrypted") from None
    except ValueError as fault:
        if "password" in str(fault).lower() and passphrase is None:
            raise NeedsPassphrase(f"{source} is encrypted") from None
        raise BadInput(f"{source} holds no private key that can be used: {fault}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{source} is no Ed25519 key; make one: ssh-keygen -t ed25519")
    return key


def read_public(data: bytes, source: str) -> str:
    """A public key in OpenSSH's form (`ssh-ed25519 ...`) or PEM, as 32 bytes in base64. Raises BadInput."""
    load = load_pem_public_key if data.lstrip().startswith(b"-----BEGIN") else load_ssh_public_key
    try:
        key = load(data)
    except ValueError as fault:
        raise BadInput(f"{source} holds no public key that can be used: {fault}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise BadInput(f"{source} is no Ed25519 key; make one: ssh-keygen -t ed25519")
    return public_text(key)


class NeedsPassphrase(BadInput):
    """The key is encrypted: ask for its passphrase."""
