"""Signed checkpoints: the root over all heads in a form that anybody can carry out of the building and check.

A checkpoint is a signed note with three lines of text: the log's origin, its size, its root in base64. Sources: C2SP
tlog-checkpoint v1.0.0 and signed-note v1.0.0, Ed25519 (signature type 0x01).
"""

import binascii
import hashlib
import re
from base64 import b64decode, b64encode
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tollbook.core.faults import BadInput, Tampered

_ED25519: Final = b"\x01"
_SIZE: Final = re.compile(r"0|[1-9]\d{0,18}", re.ASCII)
_SIGNATURE_LINE: Final = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)", re.ASCII)


class Checkpoint(NamedTuple):
    """How far the log of heads had got: its origin, the number of heads, and the root over them."""

    origin: str
    size: int
    root: bytes


class Signer:
    """Signs checkpoints under one name. The seed is 32 secret bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key: Final = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes_raw()
        self.name: Final = name
        self._key_id: Final = _key_id(name, public)
        self.verification_key: Final = f"{name}+{self._key_id.hex()}+{b64encode(_ED25519 + public).decode()}"
        """The public key in C2SP's form (vkey), fit to be handed to anybody."""

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """The checkpoint as a signed note."""
        return self.note(f"{checkpoint.origin}\n{checkpoint.size}\n{b64encode(checkpoint.root).decode()}\n")

    def note(self, text: str) -> bytes:
        """Lines of text as a signed note."""
        signature = b64encode(self._key_id + self._key.sign(text.encode())).decode()
        return f"{text}\n— {self.name} {signature}\n".encode()


def parse_checkpoint(note: bytes) -> Checkpoint:
    """Read a signed note without trusting it. Raises BadInput when it is no checkpoint."""
    text, _ = _split_note(note)
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise BadInput("not a checkpoint: it needs three lines of text (origin, size, root), each ended by a newline")
    if not _SIZE.fullmatch(lines[1]):
        raise BadInput(f"not a checkpoint: its second line must be the size of the log, found {lines[1]!r}")
    root = _from_base64(lines[2])
    if root is None or len(root) != hashlib.sha256().digest_size:
        raise BadInput(f"not a checkpoint: its third line must be a root of 32 bytes in base64, found {lines[2]!r}")
    return Checkpoint(lines[0], int(lines[1]), root)


def verify_checkpoint(note: bytes, verification_key: str) -> Checkpoint:
    """Read a checkpoint that bears a good signature of this key. Raises as `verify_note` does."""
    verify_note(note, verification_key)
    return parse_checkpoint(note)


def verify_note(note: bytes, verification_key: str) -> str:
    """The text of a signed note that bears a good signature of this key.

    Raises BadInput when the note or the key cannot be read, Tampered when no good signature of the key is on it.
    """
    name, key_id, public = _parse_verification_key(verification_key)
    text, signatures = _split_note(note)
    for line in signatures:
        found = _SIGNATURE_LINE.fullmatch(line)
        raw = _from_base64(found[2]) if found else None
        if found is None or raw is None or len(raw) < 5:
            raise BadInput(f"not a signed note: this is no signature line: {line[:100]!r}")
        if found[1] != name or raw[:4] != key_id:
            continue
        try:
            public.verify(raw[4:], text.encode())
        except InvalidSignature:
            raise Tampered(f"the signature by {name} does not fit its text: it was changed") from None
        return text
    raise Tampered(f"it is not signed by {name} (key {key_id.hex()}): is it another book's?")


def signature_of(note: bytes) -> bytes | None:
    """The key id and signature of a note that bears exactly one; None when it bears another number."""
    _, signatures = _split_note(note)
    found = _SIGNATURE_LINE.fullmatch(signatures[0]) if len(signatures) == 1 else None
    return _from_base64(found[2]) if found else None


def _split_note(note: bytes) -> tuple[str, list[str]]:
    """The signed text, with its last newline, and the signature lines of a note."""
    try:
        whole = note.decode()
    except UnicodeDecodeError:
        raise BadInput("not a signed note: it is not UTF-8 text") from None
    text, separator, signatures = whole.rpartition("\n\n")
    if not separator or not signatures.endswith("\n"):
        raise BadInput("not a signed note: it needs a text, an empty line and signature lines, ended by a newline")
    if any(ord(letter) < 0x20 and letter != "\n" for letter in whole):
        raise BadInput("not a signed note: it has control characters")
    return text + "\n", signatures[:-1].split("\n")


def _parse_verification_key(text: str) -> tuple[str, bytes, Ed25519PublicKey]:
    name, _, rest = text.partition("+")
    hexadecimal, _, encoded = rest.partition("+")
    raw = _from_base64(encoded)
    if not name or raw is None or len(raw) != 33 or raw[:1] != _ED25519:
        raise BadInput(f"not an Ed25519 verification key (name+hex+base64): {text[:120]!r}")
    if _key_id(name, raw[1:]).hex() != hexadecimal:
        raise BadInput(f"the verification key's id {hexadecimal!r} does not fit its name and key: {text[:120]!r}")
    return name, bytes.fromhex(hexadecimal), Ed25519PublicKey.from_public_bytes(raw[1:])


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def _from_base64(text: str) -> bytes | None:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
