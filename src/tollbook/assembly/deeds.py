"""What can be asked of the book's writer, whoever that is: the scribe, or a command while nobody serves."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from tollbook import __version__
from tollbook.assembly.acts import Deed, NotServed, ask, local_actor
from tollbook.assembly.erasure import Erasure, erase
from tollbook.assembly.registering import RegistryKeeper
from tollbook.journal.book import Book
from tollbook.journal.entry import RestoreDrilled
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane


def deeds(lane: BookLane, personal: PersonalDirectory, registry: RegistryKeeper) -> dict[str, Deed]:
    """Every act by its name."""

    def erase_person(arguments: dict[str, Any], actor: str) -> Any:
        return erase(lane, personal, msgspec.convert(arguments, Erasure), actor)

    def record_drill(arguments: dict[str, Any], actor: str) -> Any:
        drilled = msgspec.json.decode(arguments["entry"], type=RestoreDrilled)
        return lane.append("restore.drilled", replace(drilled, actor=actor))

    return {"erase": erase_person, "drilled": record_drill, **registry.acts}


def do(root: Path, act: str, arguments: dict[str, Any]) -> Any:
    """Have the running scribe do something, or do it as the book's writer when none runs.

    Raises BadInput and NotFound as the act does, BookLocked when another command writes the book just now.
    """
    try:
        return ask(root, act, arguments)
    except NotServed:
        return _do_alone(root, act, arguments)


def _do_alone(root: Path, act: str, arguments: dict[str, Any]) -> Any:
    book = Book.open(root)
    lane = BookLane.open(book, release=__version__)
    try:
        personal = PersonalDirectory(root)
        personal.reapply(lane.recovered.erasures)
        done = deeds(lane, personal, RegistryKeeper(book, lane))[act](arguments, local_actor())
        lane.advance(lane.keeper())
    finally:
        lane.close("done")
    return done
