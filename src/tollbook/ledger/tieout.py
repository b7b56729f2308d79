"""Totals against rows: two records of the same sums that were made in different ways, and must agree every day."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from pathlib import Path
from typing import Final, NamedTuple

from tollbook.core.usage import TOKEN_CLASSES
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader, read
from tollbook.ledger.schema import TOTAL_COUNTS, TOTAL_DIMENSIONS, quote

_KEY: Final = ", ".join(quote(name) for name in TOTAL_DIMENSIONS)
_AMOUNTS: Final = ("amount_list", "amount_expected", "amount_recharge")
_COUNTS: Final = tuple(f"sum({quote(name)})" for name in TOTAL_COUNTS)
_SUMS: Final = tuple(f"sum({name})" for name in _AMOUNTS)
_BUCKET: Final = "time_bucket(INTERVAL 15 MINUTES, occurred)"

_CLASSES: Final = ", ".join(f"'{name}'" for name in TOKEN_CLASSES)

FROM_TOTALS: Final = (
    f"SELECT bucket, {_KEY}, {', '.join((*_COUNTS, *_SUMS))}, "
    + ", ".join(f"sum(quantity) FILTER (class = '{name}')" for name in TOKEN_CLASSES)
    + f", sum(quantity) FILTER (class NOT IN ({_CLASSES})) FROM totals GROUP BY bucket, {_KEY}"
)
"""Totals per bucket and key: counts, amounts, quantity per text token class and of all other classes."""

FROM_ROWS: Final = (
    f"SELECT {_BUCKET} AS bucket, {_KEY}, {', '.join((*_COUNTS, *_SUMS))}, "
    + ", ".join(f"sum({name})" for name in TOKEN_CLASSES)
    + ", sum(list_sum(map_values(usage_other))) FROM (SELECT * FROM attempts UNION ALL BY NAME "
    "SELECT occurred, tenant, workload, key, model_asked, outcome, basis, source, requests, 0 AS attempts, "
    "0 AS unpriced_attempts, 0 AS unsettled_attempts, 0 AS unreported_attempts "
    f"FROM requests WHERE requests = 1) GROUP BY {_BUCKET}, {_KEY}"
)
"""The same from the rows of attempts, and of requests that no attempt counts."""


class TieOut(NamedTuple):
    """How many sums were compared, and the days (UTC) on which some differ."""

    compared: int
    different: list[str]


class TransferTieOut(NamedTuple):
    """How many transfers were looked at, and the digests of the entries whose sides do not add up to nothing."""

    compared: int
    different: list[str]


def check_transfers(source: Reader | Path) -> TransferTieOut:
    """Prove that each transfer takes from one side what it gives to the other: per currency, requests, attempts, and
    each amount; and that each of its legs has both sides."""
    sums = ", ".join(f"sum({name}) <> 0" for name in ("requests", "attempts", "amount_expected", "amount_recharge"))

    def query(lake: Lake) -> TransferTieOut:
        ((compared,),) = lake.rows("SELECT count(DISTINCT (lane, sequence)) FROM transfers")
        unequal = (
            "SELECT digest FROM transfers GROUP BY digest, lane, sequence, leg "
            f"HAVING count(*) <> 2 OR count(DISTINCT side) <> 2 OR list_contains([{sums}], true)"
        )
        return TransferTieOut(
            compared, [one for (one,) in lake.rows(f"SELECT DISTINCT digest FROM ({unequal}) ORDER BY 1")]
        )

    return read(source, query)


class StatementTieOut(NamedTuple):
    """How many statements were looked at, and the names of those whose lines are not what their entries say."""

    compared: int
    different: list[str]


def check_statements(source: Reader | Path) -> StatementTieOut:
    """Prove that each statement has the lines that its entry says: how many, and their sum in each currency."""

    def query(lake: Lake) -> StatementTieOut:
        ((compared,),) = lake.rows("SELECT count(*) FROM statements")
        told = (
            "SELECT import_id, lines, unnest(map_keys(totals)) AS currency, "
            "CAST(unnest(map_values(totals)) AS DECIMAL(38,12)) AS amount FROM statements"
        )
        found = (
            "SELECT import_id, currency, CAST(sum(amount) AS DECIMAL(38,12)) AS amount FROM statement_lines "
            "WHERE amount IS NOT NULL GROUP BY import_id, currency"
        )
        counted = "SELECT import_id, count(*) AS held FROM statement_lines GROUP BY import_id"
        different = lake.rows(
            f"SELECT import_id FROM statements LEFT JOIN ({counted}) USING (import_id) "
            "WHERE lines <> coalesce(held, 0) UNION SELECT import_id FROM ("
            f"(SELECT import_id, currency, amount FROM ({told}) EXCEPT ALL {found}) UNION ALL "
            f"({found} EXCEPT ALL SELECT import_id, currency, amount FROM ({told}))) ORDER BY 1"
        )
        return StatementTieOut(compared, [name for (name,) in different])

    return read(source, query)


def check_totals(source: Reader | Path) -> TieOut:
    """Prove that the totals are the sums of the rows, for every bucket and key."""

    def query(lake: Lake) -> TieOut:
        ((compared,),) = lake.rows(f"SELECT count(*) FROM ({FROM_TOTALS})")
        one_sided = f"({FROM_TOTALS} EXCEPT ALL {FROM_ROWS}) UNION ALL ({FROM_ROWS} EXCEPT ALL {FROM_TOTALS})"
        days = lake.rows(f"SELECT DISTINCT strftime(bucket, '%Y-%m-%d') FROM ({one_sided}) ORDER BY 1")
        return TieOut(compared, [day for (day,) in days])

    return read(source, query)
