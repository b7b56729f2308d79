"""What proves who somebody is, and is no history: hashes of passwords, sessions. `keys/logins.json`, mode 0600.

The book's writer alone changes it. Passwords are kept as argon2id (RFC 9106), sessions as a hash of 256 random bits.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Final

import argon2
import msgspec
from msgspec import Struct

from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.faults import BadInput
from tollbook.journal.files import write_whole

SESSION_SECONDS: Final = 8 * 3600
ATTEMPTS: Final = 5
"""So many wrong passwords of one name within `WAIT_SECONDS`; then it waits."""
WAIT_SECONDS: Final = 60
PASSWORD_LEAST: Final = 12
PASSWORD_MOST: Final = 1024


class Session(Struct, frozen=True):
    """A login: the hash of its token, whose, by which method, until when (microseconds)."""

    hash: str
    name: str
    method: str
    until: int


class _Kept(Struct):
    """What the file holds."""

    passwords: dict[str, str] = {}
    sessions: list[Session] = []


class Logins:
    """Passwords and sessions. Raises BadInput when the file cannot be read."""

    def __init__(self, root: Path, clock: Clock = now) -> None:
        self._path: Final = root / "keys" / "logins.json"
        self._clock: Final = clock
        self._hasher: Final = argon2.PasswordHasher()
        self._none: Final = self._hasher.hash(secrets.token_hex(16))
        self._failed: Final[dict[str, list[int]]] = {}
        self._kept: Final = self._read()

    def set_password(self, name: str, password: str) -> None:
        """Another password. Raises BadInput when it is none."""
        check_password(password)
        self._kept.passwords[name] = self._hasher.hash(password)
        self._write()

    def check_password(self, name: str, password: str) -> None:
        """Raise BadInput when it is not the password of that name; who has none takes as long to be refused."""
        at = self._clock()
        if len(password) > PASSWORD_MOST:
            raise BadInput("the name or the password is wrong")
        recent = [one for one in self._failed.get(name, ()) if at - one < WAIT_SECONDS * SECOND]
        if len(recent) >= ATTEMPTS:
            raise BadInput(f"too many wrong passwords for {name}: wait a minute")
        kept = self._kept.passwords.get(name, self._none)
        try:
            self._hasher.verify(kept, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            self._failed[name] = [*recent, at]
            raise BadInput("the name or the password is wrong") from None
        self._failed.pop(name, None)

    def open(self, name: str, method: str) -> tuple[str, Session]:
        """A new session; its token, which is kept nowhere."""
        at = self._clock()
        token = f"tbs_{secrets.token_urlsafe(32)}"
        session = Session(_hash(token), name, method, at + SESSION_SECONDS * SECOND)
        self._kept.sessions = [one for one in self._kept.sessions if one.until > at]
        self._kept.sessions.append(session)
        self._write()
        return token, session

    def session(self, token: str) -> Session | None:
        """The session of a token, while it lasts."""
        hashed, at = _hash(token), self._clock()
        for one in self._kept.sessions:
            if secrets.compare_digest(one.hash, hashed) and one.until > at:
                return one
        return None

    def close(self, token: str) -> None:
        """End one session."""
        hashed = _hash(token)
        self._kept.sessions = [one for one in self._kept.sessions if one.hash != hashed]
        self._write()

    def close_all(self, name: str, *, password: bool) -> None:
        """End all sessions of one; with `password`, forget that too."""
        self._kept.sessions = [one for one in self._kept.sessions if one.name != name]
        if password:
            self._kept.passwords.pop(name, None)
        self._write()

    def _read(self) -> _Kept:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return _Kept()
        except (OSError, msgspec.MsgspecError) as fault:
            raise BadInput(f"{self._path} cannot be read ({fault}); without it nobody can log in: remove it") from None

    def _write(self) -> None:
        write_whole(self._path, msgspec.json.encode(self._kept))


def check_password(password: str) -> None:
    """Raise BadInput when it is too short to be one, or longer than is worth hashing."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_MOST:
        raise BadInput(f"a password has {PASSWORD_LEAST} to {PASSWORD_MOST} characters")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
