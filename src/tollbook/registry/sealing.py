"""Secrets that must be known again, since requests are signed with them: sealed with AES-GCM.

Apart from all else of the registry, so that a worker loads a library of cryptography only when some client signs.
"""

import base64
import os
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tollbook.core.faults import BadInput

_NONCE_BYTES: Final = 12
_SEALING: Final = b"tollbook seal"  # at most 16 bytes (BLAKE2b's person)


def seal(key: bytes, access_key_id: str, secret: str) -> str:
    """The sealed form of a secret, which opens for its access key id only."""
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(key).encrypt(nonce, secret.encode(), access_key_id.encode())
    return base64.b64encode(sealed).decode()


def unseal(key: bytes, access_key_id: str, sealed: str) -> str:
    """The secret behind its sealed form. Raises BadInput when it was sealed under another key, or changed."""
    data = base64.b64decode(sealed)
    try:
        return _cipher(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], access_key_id.encode()).decode()
    except InvalidTag:
        raise BadInput(
            f"the secret of access key {access_key_id} does not open with keys/registry.key; restore that file"
        ) from None


def _cipher(key: bytes) -> AESGCM:
    return AESGCM(blake2b(key=key, digest_size=32, person=_SEALING).digest())
