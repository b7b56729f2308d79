"""What the command line asks of the whole: make a book, serve it, copy and restore it, erase a
person in it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tollbook import __version__
from tollbook.assembly import login
from tollbook.assembly.acts import NoAnswer, NotServed, Proof, ask, local_actor
from tollbook.assembly.authorising import told
from tollbook.assembly.backup import BackedUp, back_up
from tollbook.assembly.deeds import do, do_as
from tollbook.assembly.prices import activate
from tollbook.assembly.reloading import Source
from tollbook.assembly.restore import Restored, Wanted, restore
from tollbook.assembly.supervisor import Supervisor
from tollbook.core.clock import now
from tollbook.core.faults import BadInput
from tollbook.core.settings import Secrets, Settings
from tollbook.disputes.case import Casebook
from tollbook.disputes.case import told as told_case
from tollbook.journal.book import Book
from tollbook.journal.entry import KeyRotated
from tollbook.journal.heads import recover
from tollbook.journal.recording import BookLane
from tollbook.journal.registration import RegistryChanged, TransferPosted
from tollbook.pricing.book import base_book
from tollbook.registry.identities import Office
from tollbook.registry.registry import Registry
from tollbook.registry.secret import make_key

TRANSFER_POLL_SECONDS: Final = 0.1


def init(root: Path) -> Book:
    """Make a book, with its birth and the activation of the bundled price book as its first entries.

    Raises BadInput when there is something at `root` already.
    """
    actor = local_actor()
    book = Book.create(root, release=__version__, actor=actor)
    make_key(book.root)
    lane = BookLane.open(book, release=__version__)
    try:
        prices = base_book()
        activate(book, lane, prices.dump(), prices.digest, 0, actor)
        lane.advance(lane.keeper())
    finally:
        lane.close("initialised")
    return book


def serve(
    settings: Settings,
    secrets: Secrets,
    listening: Callable[[str], None] = lambda address: None,
    source: Source | None = None,
    *,
    successor: Sequence[str] | None = None,
    replace: bool = False,
) -> None:
    """Run the gateway and the book until SIGTERM; `source` is asked for another configuration at SIGHUP, `successor` is
    the command that SIGUSR2 starts to take over. With `replace` this one takes over from the one that runs.

    Raises BadInput, BookLocked when it cannot begin.
    """

    async def run() -> None:
        await Supervisor(settings, secrets, __version__, listening, source, successor).run(replace=replace)

    asyncio.run(run())


def erase_person(root: Path, tenant: str, user: str, basis: str) -> dict[str, Any]:
    """Erase through the running scribe, or as the book's writer when none runs."""
    done: dict[str, Any] = do(root, "erase", {"tenant": tenant, "user": user, "basis": basis})
    return done


def change_registry(root: Path, act: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change the registry through the running scribe, or as the book's writer when none runs; what was done.

    Raises BadInput and NotFound when it cannot be done.
    """
    done: dict[str, Any] = do(root, act, wanted)
    return done


def ask_book(root: Path, act: str, wanted: dict[str, Any]) -> Any:
    """Ask the book's writer something, as whoever is logged in. Raises as it says."""
    return do(root, act, wanted)


def read_cases(root: Path, case: str | None = None, tenant: str | None = None) -> list[dict[str, Any]]:
    """One case, or all: asked of the running scribe, else read from the journal. Raises NotFound, BadInput."""
    try:
        found: list[dict[str, Any]] = ask(root, "case.read", {"case": case, "tenant": tenant})
    except NotServed:
        known = Casebook.of(recover(Book.open(root).root).casework)
        if case is not None:
            return [told_case(known.find(case, tenant))]
        return [told_case(one) for one in known.cases.values() if tenant in (None, one.opened.tenant)]
    return found


def read_office(root: Path) -> dict[str, Any]:
    """Identities and proposals: asked of the running scribe, else read from the journal."""
    try:
        done: dict[str, Any] = ask(root, "office.read", {})
    except NotServed:
        return told(Office.of(recover(Book.open(root).root).authority), now())
    return done


def read_registry(root: Path) -> Registry:
    """The registry as it is: asked of the running scribe, else read from the journal."""
    try:
        known = ask(root, "registry.read", {})
    except NotServed:
        return Registry.of(recover(Book.open(root).root).registry)
    registry = Registry()
    for one in known:
        registry.add(msgspec.convert(one["entry"], RegistryChanged), one["recorded"], one["digest"])
    return registry


def log_in(root: Path, name: str, secret: str, key: Path | None) -> dict[str, Any]:
    """Open a session, by password or personal key, or with no name by a service's token; it is kept for this user.

    Raises BadInput when it is not opened.
    """
    book = Book.open(root)
    arguments: dict[str, Any] = {"name": name} if name else {"token": secret}
    proof = None
    if key is not None:
        proof = login.signed(book.id, login.OPEN, arguments, login.load_key(key))
    elif name:
        arguments["password"] = secret
    done: dict[str, Any] = do_as(root, login.OPEN, arguments, proof)
    login.keep(book.id, login.KeptLogin(done.pop("session"), None if key is None else str(key.absolute())))
    return done


def log_out(root: Path) -> bool:
    """End the session that is kept for this user; whether there was one."""
    book = Book.open(root)
    kept = login.kept(book.id)
    if kept is not None:
        do_as(root, "session.close", {}, Proof(session=kept.session))
        login.forget(book.id)
    return kept is not None


def backup(root: Path, to: Path, *, signing_key: bool, personal_keys: bool) -> BackedUp:
    """Back a book up, whether it is served or not."""
    return back_up(root, to, signing_key=signing_key, personal_keys=personal_keys)


def restore_book(wanted: Wanted, drill: Path | None) -> Restored:
    """Make a book of a copy; with `drill`, only try it and put that on record in the book of that directory."""
    if drill is None:
        return restore(wanted, local_actor())
    book = Book.open(drill)
    done = restore(wanted._replace(drill=True), local_actor())
    if done.copy.book != book.id:
        raise BadInput(f"--drill: {wanted.source} is a copy of book {done.copy.book}, {drill} is {book.id}")
    entry = done.drilled(local_actor())
    do(drill, "drilled", {"entry": msgspec.json.encode(entry).decode()})
    return done


def transfer_of(root: Path, digest: str, seconds: float) -> TransferPosted | None:
    """What was carried over because of a change, waited for while the ledger catches up; None when it is not known in
    time: it is posted later."""
    until = time.monotonic() + seconds
    while True:
        try:
            found = ask(root, "registry.transfer", {"digest": digest})
            posted = None if found is None else msgspec.convert(found, TransferPosted)
        except NoAnswer:
            posted = None
        except NotServed:
            posted = Registry.of(recover(root).registry).transferred.get(digest)
        if posted is not None:
            return posted
        if time.monotonic() > until:
            return None
        time.sleep(TRANSFER_POLL_SECONDS)


def replace_signing_key(root: Path, reason: str, trusted: int | None) -> KeyRotated:
    """Sign by a new key from now on, through the running scribe, or as the book's writer when none runs."""
    if reason != "lost":
        return msgspec.convert(do(root, "replace-key", {"reason": reason, "trusted": trusted}), KeyRotated)
    lane = BookLane.open(Book.open(root), release=__version__, lost=True)
    try:
        done = lane.replace_key(reason, local_actor(), trusted)
        lane.advance(lane.keeper())
    finally:
        lane.close("key replaced")
    return done
