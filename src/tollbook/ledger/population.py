"""The population that a sample is drawn from: requests with a charge, in a period, at a position."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tollbook.core.money import format_amount
from tollbook.ledger.lake import Lake
from tollbook.ledger.zone import timestamp_sql

_ITEMS: Final = (
    "SELECT request_id, max(model) AS model, sum(amount_recharge) AS amount FROM attempts "
    "WHERE position <= $position AND currency = $currency AND {period} GROUP BY request_id "
    "HAVING sum(amount_recharge) > 0"
)


class Population(NamedTuple):
    """What is sampled: items are numbered from 0 in the order of their ids. `total` is in picodollars; `left_out` how
    many requests of the period have no charge that is known and above zero."""

    size: int
    total: int
    left_out: int


class Item(NamedTuple):
    """One item: its place, request, model, charge in picodollars."""

    place: int
    request: str
    model: str | None
    amount: int


class Frame:
    """The population of a period at a position, in one currency."""

    def __init__(self, lake: Lake, position: int, since: int, until: int, currency: str) -> None:
        self._lake: Final = lake
        period = f"occurred >= {timestamp_sql(since)} AND occurred < {timestamp_sql(until)}"
        self._items: Final = _ITEMS.format(period=period)
        self._period: Final = period
        self._parameters: Final[dict[str, Any]] = {"position": position, "currency": currency}

    def population(self) -> Population:
        """Count and sum."""
        ((count, total),) = self._rows(f"SELECT count(*), CAST(sum(amount) AS VARCHAR) FROM ({self._items})")
        ((every,),) = self._lake.rows(
            "SELECT count(*) FROM (SELECT request_id FROM attempts WHERE position <= $position AND "
            f"{self._period} UNION SELECT request_id FROM requests WHERE position <= $position AND {self._period})",
            {"position": self._parameters["position"]},
        )
        return Population(int(count), _pico(total), int(every) - int(count))

    def strata(self) -> dict[str, int]:
        """How many items each model has."""
        rows = self._rows(f"SELECT coalesce(model, ''), count(*) FROM ({self._items}) GROUP BY 1 ORDER BY 1")
        return {model: int(count) for model, count in rows}

    def at(self, places: Sequence[int], model: str | None = None) -> list[Item]:
        """The items at these places; with a model, at these places among its own."""
        among = "" if model is None else "WHERE coalesce(model, '') = $model"
        own = {} if model is None else {"model": model}
        return self._found(
            "SELECT row_number() OVER (ORDER BY request_id) - 1 AS place, request_id, model, amount "
            f"FROM ({self._items}) {among}",
            "list_contains($places, place)",
            {"places": list(places), **own},
        )

    def holding(self, units: Sequence[int]) -> list[Item]:
        """The items that hold these units of money, counted in picodollars through all items in order."""
        decimals = [format_amount(unit) for unit in units]
        return self._found(
            "SELECT row_number() OVER (ORDER BY request_id) - 1 AS place, request_id, model, amount, "
            f"sum(amount) OVER (ORDER BY request_id) AS upto FROM ({self._items})",
            "len(list_filter($units, lambda unit: CAST(unit AS DECIMAL(38,12)) >= upto - amount "
            "AND CAST(unit AS DECIMAL(38,12)) < upto)) > 0",
            {"units": decimals},
        )

    def _found(self, source: str, where: str, parameters: dict[str, Any]) -> list[Item]:
        rows = self._rows(
            f"SELECT place, request_id, model, CAST(amount AS VARCHAR) FROM ({source}) WHERE {where} ORDER BY place",
            parameters,
        )
        return [Item(int(place), request, model, _pico(amount)) for place, request, model, amount in rows]

    def _rows(self, statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return self._lake.rows(statement, {**self._parameters, **(parameters or {})})


def _pico(amount: str | None) -> int:
    """An amount as DuckDB writes a DECIMAL with twelve places."""
    return int(amount.replace(".", "")) if amount else 0
