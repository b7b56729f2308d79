"""What can be asked of the book's writer, whoever that is: the scribe, or a command while nobody serves."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from tollbook.assembly.acts import Act, Deed, NotServed, Proof, ask
from tollbook.assembly.authorising import Authorising
from tollbook.assembly.casework import CaseKeeper
from tollbook.assembly.erasure import Erasure, erase
from tollbook.assembly.exhibits import Export, sign_bundle
from tollbook.assembly.identifying import IdentityKeeper
from tollbook.assembly.imports import StatementKeeper
from tollbook.assembly.login import prove
from tollbook.assembly.logins import Logins
from tollbook.assembly.prices import complete_prices
from tollbook.assembly.registering import RegistryKeeper
from tollbook.assembly.wishes import Wishes
from tollbook.core.faults import BookLocked
from tollbook.journal.book import Book
from tollbook.journal.entry import RestoreDrilled
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.registry.identities import Office

if TYPE_CHECKING:
    from tollbook.assembly.transferring import Transferring


WAIT_SECONDS: Final = 5.0
"""How long another who writes the book is waited for."""


def deeds(
    lane: BookLane,
    personal: PersonalDirectory,
    registry: RegistryKeeper,
    transferring: "Transferring",
    cases: CaseKeeper,
    statements: StatementKeeper,
) -> dict[str, Deed]:
    """Every act by its name."""

    def erase_person(arguments: dict[str, Any], actor: str) -> Any:
        return erase(lane, personal, msgspec.convert(arguments, Erasure), actor)

    def record_drill(arguments: dict[str, Any], actor: str) -> Any:
        drilled = msgspec.json.decode(arguments["entry"], type=RestoreDrilled)
        return lane.append("restore.drilled", replace(drilled, actor=actor))

    def replace_key(arguments: dict[str, Any], actor: str) -> Any:
        return msgspec.to_builtins(lane.replace_key(arguments["reason"], actor, arguments["trusted"]))

    def export_evidence(arguments: dict[str, Any], actor: str) -> Any:
        return sign_bundle(lane, msgspec.convert(arguments, Export), actor)

    ours = {
        "erase": erase_person,
        "drilled": record_drill,
        "replace-key": replace_key,
        "evidence.export": export_evidence,
        "statement.import": statements.take,
    }
    return {**ours, **registry.acts, **transferring.acts, **cases.acts}


def authorising(
    book: Book, lane: BookLane, personal: PersonalDirectory, registry: RegistryKeeper, transferring: "Transferring"
) -> Authorising:
    """What decides which of them are done, and for whom."""
    complete_prices(book, lane.recovered.prices)
    office, logins = Office.of(lane.recovered.authority), Logins(book.root)
    cases = CaseKeeper(book.root, lane, personal, registry, transferring.lake)
    statements = StatementKeeper(book.root, lane, lane.recovered.statements)
    return Authorising(
        book.root,
        book.id,
        lane,
        deeds(lane, personal, registry, transferring, cases, statements),
        IdentityKeeper(lane, office, logins, registry, book.root),
        Wishes(registry, office, {**transferring.measures, **cases.measures}, cases.tenant_of),
        office,
        logins,
    )


def do(root: Path, act: str, arguments: dict[str, Any]) -> Any:
    """Have the running scribe do something, or do it as the book's writer when none runs, as whoever is logged in.

    Raises BadInput and NotFound as the act does, NotAllowed and Proposed as the duties say, BookLocked when another
    command writes the book just now.
    """
    return do_as(root, act, arguments, prove(root, act, arguments))


def do_as(root: Path, act: str, arguments: dict[str, Any], proof: Proof | None) -> Any:
    """The same, as whoever the proof shows. A scribe that is just being started holds the book and does not answer yet:
    it is waited for a while."""
    from tollbook.assembly.alone import do_alone, take_lane  # they know the ledger, which the supervisor must not

    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return ask(root, act, arguments, proof)
        except NotServed:
            pass
        try:
            lane = take_lane(root)
        except BookLocked:
            if time.monotonic() > until:
                raise
            time.sleep(WAIT_SECONDS / 50)
            continue
        return do_alone(root, lane, Act(act, arguments, proof))
