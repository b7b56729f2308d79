"""What people ask the scribe to do while the book is served: a unix socket whose peer the kernel names."""

import os
import pwd
import selectors
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput, BookLocked, Fault, JournalUnavailable, NotFound
from tollbook.registry.duties import NotAllowed, Proposed

REQUEST_LIMIT: Final = 16 * 1024 * 1024
CLIENT_SECONDS: Final = 60.0

Deed = Callable[[dict[str, Any], str], Any]
"""Does one act, given its arguments and who asks; its result. Raises Fault."""


class Proof(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What somebody shows who logged in: the session's token; with a personal key also a signature of the act
    (`tollbook.journal.signature`), made at `at` (microseconds) over the arguments with `salt` (hexadecimal)."""

    session: str
    salt: str | None = None
    at: int | None = None
    signature: str | None = None


class Act(Struct, frozen=True):
    """One line to the scribe."""

    act: str
    arguments: dict[str, Any]
    proof: Proof | None = None


class Answer(Struct, frozen=True):
    """One line back: the result, or the fault's code and words."""

    result: Any = None
    fault: str | None = None
    message: str | None = None


def socket_path(root: Path) -> Path:
    return root / "run" / "scribe.sock"


def ask(root: Path, act: str, arguments: dict[str, Any], proof: Proof | None = None) -> Any:
    """Have the running scribe do something; its result.

    Raises NotServed when no scribe runs, NoAnswer when it ended meanwhile; BadInput, NotFound, NotAllowed and Proposed
    as it says.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CLIENT_SECONDS)
        try:
            client.connect(str(socket_path(root)))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotServed("the book is not being served") from None
        try:
            client.sendall(msgspec.json.encode(Act(act, arguments, proof)) + b"\n")
            with client.makefile("rb") as answers:
                answer = msgspec.json.decode(answers.readline(), type=Answer)
        except (OSError, msgspec.DecodeError):
            raise NoAnswer("the scribe ended before it answered: look whether it was done, then ask again") from None
    if answer.fault is not None:
        raise _FAULTS.get(answer.fault, BadInput)(answer.message or answer.fault)
    return answer.result


_FAULTS: Final[dict[str, type[Fault]]] = {kind.code: kind for kind in (NotFound, NotAllowed, Proposed)}


class NotServed(BookLocked):
    """No scribe answers: the caller may take the book's lane itself."""

    code = "not_served"


class NoAnswer(Fault):
    """The scribe went away in the middle of it: the act was done whole, or not at all."""

    code = "no_answer"


class Acts:
    """The scribe's side. One request at a time, between two turns of its loop. `do` does what is asked for by somebody
    whom the kernel names."""

    def __init__(self, root: Path, do: Callable[[Act, str], Any]) -> None:
        self._root: Final = root
        self._do: Final = do
        path = socket_path(root)
        path.unlink(missing_ok=True)
        self._listener: Final = socket.socket(socket.AF_UNIX)
        umask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(umask)
        self._listener.listen(16)
        self._listener.setblocking(False)
        self._selector: Final = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def serve(self, seconds: float) -> None:
        """Wait so long for someone to ask something; answer it."""
        if not self._selector.select(seconds):
            return
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        with client:
            client.settimeout(CLIENT_SECONDS / 10)
            try:
                self._answer(client)
            except (OSError, msgspec.DecodeError):
                return  # who asked went away or spoke no sense

    def close(self) -> None:
        self._selector.close()
        self._listener.close()
        socket_path(self._root).unlink(missing_ok=True)

    def _answer(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            act = msgspec.json.decode(lines.readline(REQUEST_LIMIT), type=Act)
        try:
            answer = Answer(result=self._do(act, _actor(client)))
        except JournalUnavailable:
            raise  # the lane is dead: another scribe takes over, and who asked is told that this one ended
        except Fault as fault:
            answer = Answer(fault=fault.code, message=str(fault))
        client.sendall(msgspec.json.encode(answer) + b"\n")


def _actor(client: socket.socket) -> str:
    """Who is at the other end, by the kernel's word."""
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return local_actor(uid)


def local_actor(uid: int | None = None) -> str:
    """An act of embedded single-user mode: the local user, whom nobody has authenticated."""
    number = os.getuid() if uid is None else uid
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    return f"local:{name}@{socket.gethostname()}, unauthenticated"
