"""The registry in the ledger, and sums of usage by where it may belong."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from tollbook.ledger.lake import Lake
from tollbook.ledger.zone import timestamp_sql


class Place(Protocol):
    """Where usage belongs; unknown is None."""

    @property
    def tenant(self) -> str | None: ...
    @property
    def unit(self) -> str | None: ...
    @property
    def entity(self) -> str | None: ...
    @property
    def cost_centre(self) -> str | None: ...


class Structure(Protocol):
    """Says where usage belongs, by how many of its cuts and epochs it is not before."""

    @property
    def cuts(self) -> Sequence[int]: ...
    @property
    def epochs(self) -> Sequence[int]: ...
    @property
    def moves_tenants(self) -> bool: ...
    @property
    def place(self) -> Any: ...


class Suspected(NamedTuple):
    """Usage that was carried to another cost centre: of a key, from an instant on, folded before a position."""

    tenant: str
    key: str
    since: int
    before: int


class Usage(NamedTuple):
    """Sums of one currency; amounts in picodollars, None where nothing has a price."""

    tenant: str
    workload: str | None
    cut: int
    currency: str | None
    expected: int | None
    recharge: int | None
    requests: int
    attempts: int


def registry_of(lake: Lake, position: int) -> list[dict[str, Any]]:
    """The registry's rows up to a position, in the order they were recorded; instants in microseconds."""
    return lake.dicts(
        "SELECT * REPLACE (epoch_us(effective) AS effective, epoch_us(recorded) AS recorded) FROM registry "
        "WHERE position <= $1 ORDER BY position, recorded, lane, sequence, number",
        [position],
    )


def position_of_change(lake: Lake, digest: str) -> int | None:
    """The position at which an entry of the registry was folded; None when the ledger has not got there."""
    ((position,),) = lake.rows("SELECT max(position) FROM registry WHERE digest = $1", [digest])
    return None if position is None else int(position)


def usage(
    lake: Lake,
    cuts: Sequence[int],
    since: int,
    before: int,
    moved: Sequence[Suspected],
    key: tuple[str, str] | None = None,
) -> list[Usage]:
    """What occurred from `since` on and was folded before a position, by tenant, workload, cut and currency; without
    what has been carried elsewhere; of all, or of one key."""
    parameters: dict[str, Any] = {"before": before}
    where = [f"occurred >= {timestamp_sql(since)}", "position < $before"]
    if key is not None:
        parameters |= {"tenant": key[0], "key": key[1]}
        where.append("tenant = $tenant AND key = $key")
    for number, one in enumerate(moved):
        parameters |= {f"tenant{number}": one.tenant, f"key{number}": one.key, f"before{number}": one.before}
        where.append(
            f"NOT (tenant = $tenant{number} AND key = $key{number} AND occurred >= {timestamp_sql(one.since)} "
            f"AND position < $before{number})"
        )
    columns = "tenant, key, workload, occurred, position, requests"
    found = lake.rows(
        f"SELECT tenant, workload, {steps_sql('occurred', [timestamp_sql(cut) for cut in cuts])} AS cut, currency, "
        "CAST(sum(amount_expected) AS VARCHAR), CAST(sum(amount_recharge) AS VARCHAR), "
        f"sum(requests), sum(attempts) FROM (SELECT {columns}, attempts, currency, amount_expected, amount_recharge "
        f"FROM attempts UNION ALL BY NAME SELECT {columns}, 0 AS attempts FROM requests WHERE requests = 1) "
        f"WHERE {' AND '.join(where)} GROUP BY ALL ORDER BY ALL",
        parameters,
    )
    return [
        Usage(tenant, workload, cut, currency, _whole(expected), _whole(recharge), int(requests), int(attempts))
        for tenant, workload, cut, currency, expected, recharge, requests, attempts in found
    ]


def steps_sql(value: str, thresholds: Sequence[str]) -> str:
    """How many of some ascending thresholds a value is not below, as an expression as deep as their logarithm."""

    def between(low: int, high: int) -> str:
        if low == high:
            return str(low)
        middle = (low + high) // 2
        lower, upper = between(low, middle), between(middle + 1, high)
        return f"CASE WHEN {value} < {thresholds[middle]} THEN {lower} ELSE {upper} END"

    return between(0, len(thresholds))


def _whole(text: str | None) -> int | None:
    """An amount as DuckDB writes a DECIMAL with twelve places, in picodollars."""
    return None if text is None else int(text.replace(".", ""))
