"""Secrets of tenants' keys: how they are made, hashed and sealed. None of them is ever kept in clear.

A secret is `tbk_`, 40 random letters and digits (238 bits), and six that are its checksum, so that a leak scanner
tells one from any other text. It is kept as BLAKE2b under the book's registry key: a hash that costs a microsecond
is enough for what nobody can guess. What signs requests (SigV4) must be known again: it is sealed with AES-GCM.
"""

import base64
import os
import secrets
import string
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Final

from tollbook.core.faults import BadInput
from tollbook.journal.files import sync_directory, write_whole
from tollbook.journal.registration import KeySecret

PREFIX: Final = "tbk_"
_LETTERS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM: Final = 40
_CHECKSUM: Final = 6
_KEY_BYTES: Final = 32


def new_secret() -> str:
    """A secret that nobody has had."""
    text = "".join(secrets.choice(_LETTERS) for _ in range(_RANDOM))
    return f"{PREFIX}{text}{_checksum(text)}"


def new_access_key_id() -> str:
    """An id for a client that signs its requests, in the form that AWS's libraries expect."""
    return "TBK" + base64.b32encode(secrets.token_bytes(10)).decode()


def is_secret(text: str) -> bool:
    """Whether a text has the form of a secret that was made here, its checksum included."""
    body = text.removeprefix(PREFIX)
    random, checksum = body[:_RANDOM], body[_RANDOM:]
    return text.startswith(PREFIX) and len(body) == _RANDOM + _CHECKSUM and checksum == _checksum(random)


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM):
        number, place = divmod(number, len(_LETTERS))
        digits = _LETTERS[place] + digits
    return digits


def hash_of(key: bytes, secret: str) -> str:
    """The keyed hash that a secret is known by, hexadecimal."""
    return blake2b(secret.encode(), key=key, digest_size=32).hexdigest()


def kept_form(key: bytes, secret: str, access_key_id: str | None = None) -> KeySecret:
    """What is kept of a secret; sealed besides when requests are signed with it."""
    if access_key_id is None:
        return KeySecret(hash=hash_of(key, secret))
    from tollbook.registry import sealing

    sealed = sealing.seal(key, access_key_id, secret)
    return KeySecret(hash=hash_of(key, secret), access_key_id=access_key_id, sealed=sealed)


def unseal(key: bytes, access_key_id: str, sealed: str) -> str:
    """The secret behind its sealed form. Raises BadInput when it was sealed under another key, or changed."""
    from tollbook.registry import sealing

    return sealing.unseal(key, access_key_id, sealed)


def read_key(book_root: Path) -> bytes:
    """The book's registry key. Raises BadInput when its file is missing or cannot be used."""
    path = _path(book_root)
    try:
        key = path.read_bytes()
    except OSError as fault:
        raise BadInput(f"{path} cannot be read ({fault.strerror}); restore it from a backup of the book") from None
    if len(key) != _KEY_BYTES:
        raise BadInput(f"{path} must hold {_KEY_BYTES} bytes and holds {len(key)}; restore it from a backup")
    return key


def make_key(book_root: Path) -> None:
    """Make the book's registry key, unless it is there. Only for a book whose registry knows no key: without the one
    they were hashed with, no key is ever recognised again."""
    if not _path(book_root).exists():
        _make(_path(book_root))


def _path(book_root: Path) -> Path:
    return book_root / "keys" / "registry.key"


def _make(path: Path) -> None:
    """Several processes may try: the first to link its file has made the key."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    write_whole(draft, secrets.token_bytes(_KEY_BYTES))
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    sync_directory(path.parent)
