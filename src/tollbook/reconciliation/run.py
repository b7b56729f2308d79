"""A run: both books of a vendor and a period read at one position, paired, and every difference diagnosed.

A run is a value: the same position, statements and rules give the same findings, byte for byte, under the same name.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Position, Reader, position_of, read
from tollbook.reconciliation.causes import causes
from tollbook.reconciliation.cell import REQUESTS, Pair, Scope
from tollbook.reconciliation.diagnosis import Known, Question, Tolerance, diagnose
from tollbook.reconciliation.drift import Passed, passed
from tollbook.reconciliation.finding import Finding, tie
from tollbook.reconciliation.grain import Grain, slot_of
from tollbook.reconciliation.layers import layers_of, with_finer
from tollbook.reconciliation.ours import DAY, Used, read_ours
from tollbook.reconciliation.pairing import Buckets
from tollbook.reconciliation.theirs import Inputs, Statement, Theirs, read_theirs
from tollbook.reconciliation.timing import SLOT, Timeline, may_be_timing
from tollbook.reconciliation.traits import read_reasons

RULES: Final = 1
"""Version of the rules of diagnosis: raised when the same inputs may give other findings."""


class Asked(NamedTuple):
    """What is asked: a vendor, a span of instants in microseconds, a position (None: the last), a tolerance."""

    vendor: str
    since: int
    until: int
    position: int | None
    tolerance: Tolerance


class Run(NamedTuple):
    """A run's findings. `name` is made from what went in; `totals` in picodollars; `uncovered` is our money in times of
    which no statement speaks; `notes` say by what could not be divided."""

    name: str
    asked: Asked
    position: Position
    statements: list[Statement]
    findings: list[Finding]
    passed: list[Passed]
    totals: dict[str, int]
    uncovered: int
    left_out: list[dict[str, object]]
    notes: tuple[str, ...]


def reconcile(source: Reader | Path, asked: Asked) -> Run:
    """Compare both books.

    Raises NotFound when the ledger holds no position, BadInput when it does not hold the one asked for.
    """
    return read(source, lambda lake: run_in(lake, asked))


def run_in(lake: Lake, asked: Asked) -> Run:
    """The same within one state of the ledger."""
    position = position_of(lake, asked.position)
    inputs = Inputs(asked.vendor, asked.since, asked.until, position.number)
    theirs = read_theirs(lake, inputs)
    used = list(read_ours(lake, inputs, slot_of(line.bucket for line in theirs.lines)))
    layers = layers_of(theirs.lines, {one.place for one in used})
    findings: list[Finding] = []
    for layer in layers:
        cells = layer.pairs(used)
        question = _question(lake, inputs, layer.grain, cells.pairs, used, asked.tolerance)
        findings += diagnose(with_finer(question, layer.grain, findings))
    return Run(
        name=name_of(asked, position, theirs),
        asked=asked,
        position=position,
        statements=theirs.statements,
        findings=findings,
        passed=passed(findings),
        totals=tie(findings),
        uncovered=cells.uncovered,
        left_out=theirs.left_out,
        notes=tuple(dict.fromkeys(note for layer in layers for note in layer.grain.notes)),
    )


def name_of(asked: Asked, position: Position, theirs: Theirs) -> str:
    """The run's name: a digest of all that its findings rest on."""
    rests_on = (
        RULES,
        asked.vendor,
        (asked.since, asked.until),
        position.digest,
        [(one.import_id, one.sha256, one.object) for one in theirs.statements],
        (str(asked.tolerance.relative), asked.tolerance.absolute),
        list(causes()),
    )
    return "R-" + sha256(msgspec.json.encode(rests_on)).hexdigest()[:16]


def _question(
    lake: Lake, inputs: Inputs, grain: Grain, pairs: list[Pair], used: Sequence[Used], tolerance: Tolerance
) -> Question:
    """What the diagnosis needs: our record's finer grain and its odd attempts are read only where quantities differ."""
    wanted = {(pair.scope, pair.bucket) for pair in pairs if pair.quantity}
    keys = {key for one in used if (key := grain.scope(one.place).vendor_key) is not None}
    known = Known(frozenset(keys), projects=grain.by_project)
    if not wanted:
        return Question(pairs, {}, {}, known, tolerance)
    buckets = Buckets(pair.bucket for pair in pairs)
    return Question(
        pairs=pairs,
        timelines=_timelines(lake, inputs, grain, _scopes_of_timing(pairs)),
        candidates=read_reasons(lake, inputs, grain, buckets, wanted),
        known=known,
        tolerance=tolerance,
    )


def _scopes_of_timing(pairs: Sequence[Pair]) -> set[Scope]:
    series: dict[Scope, list[Pair]] = defaultdict(list)
    for pair in pairs:
        series[pair.scope].append(pair)
    return {scope for scope, found in series.items() if may_be_timing(found)}


def _timelines(lake: Lake, inputs: Inputs, grain: Grain, scopes: set[Scope]) -> dict[Scope, Timeline]:
    """Our record in slots from a day before the period to a day after it."""
    if not scopes:
        return {}
    lines: dict[Scope, tuple[_Slots, _Slots]] = {scope: (_slots(), _slots()) for scope in scopes}
    wider = inputs._replace(since=inputs.since - DAY, until=inputs.until + DAY)
    for one in read_ours(lake, wider, SLOT, ended=True):
        found = lines.get(grain.scope(one.place))
        if found is not None:
            for slots, begin in zip(found, (one.begun, one.ended or one.begun), strict=True):
                quantity, amount = slots[grain.class_of(one.class_)].get(begin, (0, 0))
                slots[grain.class_of(one.class_)][begin] = (quantity + one.quantity, amount + one.amount)
    return {scope: Timeline(*found) for scope, found in lines.items()}


_Slots = defaultdict[str, dict[int, tuple[int, int]]]


def _slots() -> _Slots:
    return defaultdict(dict)


def ranked(findings: Sequence[Finding]) -> list[tuple[str, int, int]]:
    """Causes with their money (picodollars) and cells, those that explain most first; requests are no money."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in findings:
        for share in one.shares:
            found = sums[share.cause]
            found[0] += share.amount
            found[1] += abs(share.amount)
            found[2] += one.pair.class_ != REQUESTS
    order = sorted(sums, key=lambda cause: (-sums[cause][1], cause))
    return [(cause, sums[cause][0], sums[cause][2]) for cause in order]
