"""The login of whoever runs a command: kept in the user's own configuration directory, one file a book, mode 0600.

What the file says of who one is proves nothing: the book's writer knows the session, or does not.
"""

import getpass
import os
import secrets
import stat
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Struct

from tollbook.assembly.acts import Proof
from tollbook.core.clock import now
from tollbook.core.faults import BadInput
from tollbook.journal.book import Book
from tollbook.journal.files import write_whole
from tollbook.journal.signature import SALT_BYTES, NeedsPassphrase, content_of, read_private, sign, statement

OPEN: Final = "session.open"


class KeptLogin(Struct, frozen=True, omit_defaults=True):
    """The session's token, and the file of the personal key that signs acts, if one does."""

    session: str
    key: str | None = None


def login_path(book: str) -> Path:
    """Where the login to a book is kept."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "tollbook" / f"{book}.json"


def keep(book: str, login: KeptLogin) -> None:
    """Keep a login, in the place of the one before."""
    path = login_path(book)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_whole(path, msgspec.json.encode(login))


def forget(book: str) -> None:
    """Keep no login."""
    login_path(book).unlink(missing_ok=True)


def kept(book: str) -> KeptLogin | None:
    """The login to a book, if there is one. Raises BadInput when its file cannot be read, or others can read it."""
    path = login_path(book)
    try:
        told, data = path.stat(), path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise BadInput(f"{path} cannot be read ({fault.strerror}): tollbook logout") from None
    if told.st_uid != os.getuid() or stat.S_IMODE(told.st_mode) & 0o077:
        raise BadInput(f"{path} must be yours alone (mode 0600): tollbook logout, then log in again")
    try:
        return msgspec.json.decode(data, type=KeptLogin)
    except msgspec.MsgspecError:
        raise BadInput(f"{path} is no login: tollbook logout, then log in again") from None


def prove(root: Path, act: str, arguments: dict[str, Any]) -> Proof | None:
    """What to show with an act; None when nobody is logged in."""
    book = Book.open(root).id
    login = kept(book)
    if login is None:
        return None
    if login.key is None:
        return Proof(session=login.session)
    return signed(book, act, arguments, load_key(Path(login.key)), login.session)


def signed(book: str, act: str, arguments: dict[str, Any], key: Ed25519PrivateKey, session: str = "") -> Proof:
    """The proof of one who signs with a personal key."""
    salt, at = secrets.token_bytes(SALT_BYTES), now()
    # The writer sees the arguments after a round through JSON, so it is these that are signed.
    told = msgspec.json.decode(msgspec.json.encode(arguments))
    signature = sign(key, statement(book, act, content_of(salt, told), at))
    return Proof(session=session, salt=salt.hex(), at=at, signature=signature)


def load_key(path: Path) -> Ed25519PrivateKey:
    """A personal key from its file; asks for its passphrase if it has one. Raises BadInput."""
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise BadInput(f"the personal key {path} cannot be read: {fault.strerror}") from None
    try:
        return read_private(data, None, str(path))
    except NeedsPassphrase:
        return read_private(data, getpass.getpass(f"passphrase of {path}: ").encode(), str(path))
