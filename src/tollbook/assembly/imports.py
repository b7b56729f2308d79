"""The statements of a book as its writer knows them: each document once, and what another one replaces."""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput
from tollbook.journal.entry import LINE_LIMIT, ObjectNamed, encode_payload
from tollbook.journal.line import Line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.recording import BookLane
from tollbook.journal.statement import StatementImported, StatementProblem

Document = dict[str, Any]
HEAD_BYTES: Final = 1024
"""More than the members before the payload of a line take."""


class Known(Struct, frozen=True):
    """What is remembered of a statement."""

    statement: str
    sha256: str
    kind: str
    importer: str
    vendor: str
    account: str | None
    mapping: str | None
    number: str | None
    begins: int | None
    ends: int | None
    type: str
    issued: str | None
    currency: str | None
    net: str | None
    tax: str | None
    gross: str | None
    reference: str | None
    observed: int | None
    object: ObjectNamed
    revised: bool = False


class StatementKeeper:
    """The one writer of statements."""

    def __init__(self, root: Path, lane: BookLane, recovered: list[Line]) -> None:
        self._objects: Final = ObjectStore(root)
        self._lane: Final = lane
        self._known: Final[dict[str, Known]] = {}
        for line in recovered:
            self._take(msgspec.json.decode(line.bytes, type=StatementImported))

    def take(self, arguments: Document, actor: str) -> Document:
        """Put a document on record; one that was taken in before stays as it is. Raises BadInput."""
        try:
            entry = msgspec.json.decode(arguments["entry"], type=StatementImported)
        except (KeyError, TypeError, msgspec.MsgspecError) as fault:
            raise BadInput(f"no statement: {fault}") from None
        former = next((one for one in self._known.values() if _is_same(one, entry)), None)
        if former is not None:
            return {"entry": msgspec.to_builtins(replace(entry, statement=former.statement)), "duplicate": True}
        for named in (entry.object, *([entry.source] if entry.source is not None else [])):
            self._require(named)
        revised, problems = self._revised(entry)
        entry = replace(
            entry,
            statement=f"S-{len(self._known) + 1}",
            actor=actor,
            revises=revised,
            problems=[*problems, *entry.problems],
            problem_count=entry.problem_count + sum(one.severity == "problem" for one in problems),
        )
        if len(encode_payload(entry)) > LINE_LIMIT - HEAD_BYTES:
            raise BadInput("no statement: what is said of the document does not fit a line of the journal")
        sequence, digest = self._lane.append("statement.imported", entry)
        self._take(entry)
        place = {"lane": self._lane.name, "sequence": sequence, "digest": digest}
        return {"entry": msgspec.to_builtins(entry), "duplicate": False, **place}

    def _revised(self, entry: StatementImported) -> tuple[list[str], list[StatementProblem]]:
        """The standing statements that this one replaces, and what is odd beside those."""
        standing = [one for one in self._known.values() if not one.revised and _is_of_one_source(one, entry)]
        replaced, problems = list[str](), list[StatementProblem]()
        for one in standing:
            if entry.number is not None and one.number == entry.number:
                replaced.append(one.statement)
                told = f"document {entry.number} was told before, as {one.statement}, in other words"
                problems.append(_note(told, f"see what changed: tollbook statement show {one.statement}"))
            elif one.number != entry.number and one.number is not None and entry.number is not None:
                continue
            elif (one.begins, one.ends) == (entry.begins, entry.ends):
                replaced.append(one.statement)
                problems.append(
                    _note(f"the same period was told before, as {one.statement}", "nothing: this one holds")
                )
            elif _overlap(one, entry):
                told = f"its period overlaps {one.statement}, {_period(one)}: sums over both count that time twice"
                do = "import whole periods, the same ones each time"
                problems.append(StatementProblem(where="period", what=told, do=do))
        return replaced, problems

    def _require(self, named: ObjectNamed) -> None:
        try:
            self._objects.path(named.sha256)
        except ValueError as fault:
            raise BadInput(f"no statement: {fault}") from None
        with self._objects.open(named.sha256) as stream:
            if stream.seek(0, 2) != named.bytes:
                raise BadInput(
                    f"object {named.sha256} has another size than {named.bytes} bytes: import the file again"
                )

    def _take(self, entry: StatementImported) -> None:
        facts = {name: getattr(entry, name) for name in Known.__struct_fields__ if name != "revised"}
        self._known[entry.statement] = Known(**facts)
        for name in entry.revises:
            if name in self._known:
                self._known[name] = replace(self._known[name], revised=True)


_NOT_SAID: Final = frozenset(("statement", "revised", "observed", "object"))
_SAID: Final = tuple(name for name in Known.__struct_fields__ if name not in _NOT_SAID)


def _is_same(one: Known, entry: StatementImported) -> bool:
    """The same file, read in the same way, with the same said of it. What is pulled again later is the same as long as
    no line of it has become more final."""
    if not all(getattr(one, name) == getattr(entry, name) for name in _SAID):
        return False
    return one.observed == entry.observed or (entry.grade == "pulled" and one.object == entry.object)


def _is_of_one_source(one: Known, entry: StatementImported) -> bool:
    return (one.kind, one.vendor, one.account) == (entry.kind, entry.vendor, entry.account)


def _overlap(one: Known, entry: StatementImported) -> bool:
    if one.begins is None or one.ends is None or entry.begins is None or entry.ends is None:
        return False
    return one.begins < entry.ends and entry.begins < one.ends


def _period(one: Known) -> str:
    return " to ".join("unknown" if at is None else format_instant(at)[:16] + "Z" for at in (one.begins, one.ends))


def _note(what: str, do: str) -> StatementProblem:
    return StatementProblem(where="document", what=what, do=do, severity="note")
