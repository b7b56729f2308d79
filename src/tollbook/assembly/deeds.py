"""What can be asked of the book's writer, whoever that is: the scribe, or a command while nobody serves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from tollbook.assembly.acts import Deed, NotServed, ask
from tollbook.assembly.erasure import Erasure, erase
from tollbook.assembly.registering import RegistryKeeper
from tollbook.journal.entry import RestoreDrilled
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane

if TYPE_CHECKING:
    from tollbook.assembly.transferring import Transferring


def deeds(
    lane: BookLane, personal: PersonalDirectory, registry: RegistryKeeper, transferring: "Transferring"
) -> dict[str, Deed]:
    """Every act by its name."""

    def erase_person(arguments: dict[str, Any], actor: str) -> Any:
        return erase(lane, personal, msgspec.convert(arguments, Erasure), actor)

    def record_drill(arguments: dict[str, Any], actor: str) -> Any:
        drilled = msgspec.json.decode(arguments["entry"], type=RestoreDrilled)
        return lane.append("restore.drilled", replace(drilled, actor=actor))

    def replace_key(arguments: dict[str, Any], actor: str) -> Any:
        return msgspec.to_builtins(lane.replace_key(arguments["reason"], actor, arguments["trusted"]))

    ours = {"erase": erase_person, "drilled": record_drill, "replace-key": replace_key}
    return {**ours, **registry.acts, **transferring.acts}


def do(root: Path, act: str, arguments: dict[str, Any]) -> Any:
    """Have the running scribe do something, or do it as the book's writer when none runs.

    Raises BadInput and NotFound as the act does, BookLocked when another command writes the book just now.
    """
    try:
        return ask(root, act, arguments)
    except NotServed:
        from tollbook.assembly.alone import do_alone  # it knows the ledger, which the supervisor must not

        return do_alone(root, act, arguments)
