"""Our book: attempts and their priced lines, as sums by slots of time, scope and class.

Days are read one after another, so that memory does not grow with the period.
"""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tollbook.core.money import parse_amount
from tollbook.core.usage import TOKEN_CLASSES
from tollbook.ledger.lake import Lake
from tollbook.ledger.schema import quote
from tollbook.ledger.zone import timestamp_sql
from tollbook.reconciliation.cell import REQUESTS
from tollbook.reconciliation.theirs import Inputs, tier_of

DAY: Final = 24 * 60 * 60 * 1_000_000
GRAINS: Final = (DAY, DAY // 24, DAY // 96, DAY // 1440)
"""Slots of a day, an hour, a quarter of an hour and a minute."""


class Place(NamedTuple):
    """Where usage was: as the vendor's books may divide it."""

    key: str | None
    project: str | None
    model: str | None
    region: str | None
    tier: str


class Used(NamedTuple):
    """One slot's usage of one class at one place. `ended`: the slot in which it ended, where that was asked.
    `amount`: of what has a price, in picodollars; `unpriced`: the quantity of what has none."""

    begun: int
    ended: int | None
    place: Place
    class_: str
    quantity: int
    amount: int
    unpriced: int


_PLACE: Final = "a.vendor_key_id, coalesce(a.project, a.workspace), a.model, a.region, a.tier, a.processing"
_READ: Final = "occurred, recorded, vendor_key_id, project, workspace, model, region, tier, processing"
_TOKENS: Final = ", ".join(f"sum(a.{quote(name)})" for name in TOKEN_CLASSES)
_UNPRICED: Final = ", ".join(f"sum(a.{quote(name)}) FILTER (a.amount_expected IS NULL)" for name in TOKEN_CLASSES)


def read_ours(lake: Lake, inputs: Inputs, grain: int, *, ended: bool = False) -> Iterator[Used]:
    """Usage and money of the vendor's attempts that began in the period, by slots of `grain` microseconds."""
    since = inputs.since
    while since < inputs.until:
        until = min(since + DAY, inputs.until)
        yield from _quantities(lake, inputs, (since, until), grain, ended=ended)
        yield from _amounts(lake, inputs, (since, until), grain, ended=ended)
        since = until


def _slots(grain: int, *, ended: bool) -> str:
    begun = f"epoch_us(a.occurred) // {grain} * {grain}"
    return f"{begun}, " + (f"epoch_us(a.recorded) // {grain} * {grain}" if ended else "NULL")


def _where(inputs: Inputs, span: tuple[int, int]) -> str:
    since, until = (timestamp_sql(instant) for instant in span)
    return f"a.vendor = $vendor AND a.position <= {inputs.position} AND a.occurred >= {since} AND a.occurred < {until}"


def _quantities(lake: Lake, inputs: Inputs, span: tuple[int, int], grain: int, *, ended: bool) -> Iterator[Used]:
    keys, where = f"{_slots(grain, ended=ended)}, {_PLACE}", _where(inputs, span)
    parameters = {"vendor": inputs.vendor}
    sent = "sum(a.attempts) FILTER (a.outcome <> 'not_sent' AND a.billable IS NOT FALSE)"
    for row in lake.rows(
        f"SELECT {keys}, {sent}, {_TOKENS}, {_UNPRICED} FROM attempts a WHERE {where} GROUP BY ALL", parameters
    ):
        begun, until, place, sums = _key(row)
        if sums[0]:
            yield Used(begun, until, place, REQUESTS, int(sums[0]), 0, 0)
        half = len(TOKEN_CLASSES)
        for name, quantity, unpriced in zip(TOKEN_CLASSES, sums[1 : half + 1], sums[half + 1 :], strict=True):
            if quantity is not None:
                yield Used(begun, until, place, name, int(quantity), 0, int(unpriced or 0))
    for row in lake.rows(
        f"SELECT {keys}, other.key, sum(other.value), sum(other.value) FILTER (a.amount_expected IS NULL) FROM (SELECT "
        f"{_READ}, amount_expected, unnest(map_entries(usage_other)) AS other FROM attempts a "
        f"WHERE {where} AND usage_other IS NOT NULL) a GROUP BY ALL",
        parameters,
    ):
        begun, until, place, (name, quantity, unpriced) = _key(row)
        if name != REQUESTS:
            yield Used(begun, until, place, name, int(quantity), 0, int(unpriced or 0))


def _amounts(lake: Lake, inputs: Inputs, span: tuple[int, int], grain: int, *, ended: bool) -> Iterator[Used]:
    """Money of priced lines. A line of another model inside the answer brings its quantity: attempts do not hold it."""
    keys = f"{_slots(grain, ended=ended)}, {_PLACE}".replace("a.model", "coalesce(c.model, a.model)")
    since, until = (timestamp_sql(instant) for instant in span)
    rows = lake.rows(
        f"SELECT {keys}, c.class, CAST(sum(c.amount_expected) AS VARCHAR), "
        "sum(c.quantity) FILTER (c.model IS NOT NULL), "
        "sum(c.quantity) FILTER (c.model IS NOT NULL AND c.amount_expected IS NULL) "
        "FROM charges c JOIN (SELECT "
        f"DISTINCT ON (lane, sequence, number, rating) lane, sequence, number, rating, {_READ} FROM attempts a "
        f"WHERE {_where(inputs, span)}) a "
        f"USING (lane, sequence, number, rating) WHERE c.position <= {inputs.position} "
        f"AND c.occurred >= {since} AND c.occurred < {until} GROUP BY ALL",
        {"vendor": inputs.vendor},
    )
    for row in rows:
        begun, ending, place, (name, amount, shared, unpriced) = _key(row)
        money = 0 if amount is None else parse_amount(amount)
        yield Used(begun, ending, place, name, int(shared or 0), money, int(unpriced or 0))


def _key(row: tuple[Any, ...]) -> tuple[int, int | None, Place, tuple[Any, ...]]:
    begun, ended, key, project, model, region, tier, processing, *sums = row
    return begun, ended, Place(key, project, model, region, tier_of(tier, processing)), tuple(sums)
