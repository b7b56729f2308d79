"""The ledger's part of `tollbook doctor`: can it be read, is it behind, is it fast, do its figures tie out."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tollbook.cli.health import SHOWN, Check
from tollbook.core.faults import BrokenPromise, Fault

if TYPE_CHECKING:
    from tollbook.ledger.reader import Reader

LAG_LIMIT: Final = 20
"""Heads the ledger may be behind: about ten seconds of a busy book."""


def check_ledger(root: Path) -> tuple[list[Check], int | None]:
    """The checks, and the instant of the last position, when there is one."""
    from tollbook.ledger.reader import Reader, position_of

    with Reader(root) as reader:
        try:
            position = reader.read(position_of)
        except Fault as fault:
            return [Check("ledger", "warning", str(fault), "start `tollbook serve`, or run `tollbook rebuild`")], None
        there = Check("ledger", "ok", f"position {position.number}")
        return [there, *_checks(root, reader, position.number)], position.recorded


def _check_batches(reader: "Reader") -> Check:
    from tollbook.ledger.items import open_items

    found = open_items(reader, limit=1_000)["batches"]
    wrong = [batch["request_id"] for batch in found if batch["state"] == "batch_differs"]
    if wrong:
        told = f"{len(wrong):,} do not tie out, made by requests {', '.join(wrong[:SHOWN])}"
        return Check("batches", "warning", told, "look at `tollbook open-items`, and ask the vendor")
    return Check("batches", "ok", f"{len(found):,} go on, all others tie out")


def _check_transfers(reader: "Reader") -> Check:
    from tollbook.ledger.tieout import check_transfers

    found = check_transfers(reader)
    if found.different:
        shown = ", ".join(digest[:12] for digest in found.different[:SHOWN])
        told = f"{len(found.different):,} of {found.compared:,} do not add up to nothing: entries {shown}"
        return Check("transfers", "broken", told, "run `tollbook rebuild`; if they stay, `tollbook verify`")
    return Check("transfers", "ok", f"both sides of {found.compared:,} add up to nothing")


def _check_statements(reader: "Reader") -> Check:
    from tollbook.ledger.tieout import check_statements

    found = check_statements(reader)
    if found.different:
        told = f"{len(found.different):,} of {found.compared:,} have other lines: {', '.join(found.different[:SHOWN])}"
        return Check("statements", "broken", told, "run `tollbook rebuild`; if they stay, `tollbook verify`")
    return Check("statements", "ok", f"{found.compared:,} have the lines and sums that their entries say")


def _checks(root: Path, reader: "Reader", position: int) -> Iterator[Check]:
    from tollbook.journal.heads import recover
    from tollbook.ledger.housekeeping import figures
    from tollbook.ledger.tieout import check_totals

    behind = recover(root).number - position
    late = "start `tollbook serve`: it catches up by itself"
    told = f"{behind:,} heads behind the journal"
    yield Check("lag", "ok", told) if behind <= LAG_LIMIT else Check("lag", "warning", told, late)
    found = reader.read(figures)
    told = f"{found.snapshots:,} snapshots, {sum(found.files.values()):,} files"
    try:
        found.check()
        yield Check("housekeeping", "ok", told)
    except BrokenPromise as fault:
        yield Check("housekeeping", "warning", str(fault), "start `tollbook serve`, or run `tollbook rebuild`")
    yield _check_batches(reader)
    yield _check_transfers(reader)
    yield _check_statements(reader)
    sums = check_totals(reader)
    if sums.different:
        told = f"differ from the rows on {', '.join(sums.different[:SHOWN])}"
        yield Check("totals", "broken", told, "run `tollbook rebuild`")
    else:
        yield Check("totals", "ok", f"{sums.compared:,} sums are those of the rows")
