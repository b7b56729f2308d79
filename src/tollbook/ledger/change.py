"""What a tenant was charged in two periods, as parts that a bridge is made of."""

# ruff: noqa: S608  statements are put together from constants of this module; values are parameters

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tollbook.ledger.lake import Lake
from tollbook.ledger.zone import timestamp_sql

_KIND: Final = (
    "CASE WHEN next IN ('retry', 'fallback', 'hedge') THEN 'retries' "
    "WHEN outcome IN ('client_gone', 'cancelled', 'truncated') THEN 'aborted' ELSE 'answer' END"
)
_KEYS: Final = "request_id, number, rating, lane, sequence"


class Part(NamedTuple):
    """So much of a class that attempts of a kind (answer, retries, aborted) of a model took; amount in picodollars."""

    kind: str
    model: str
    name: str
    quantity: int
    amount: int


class Charges:
    """The charges of one tenant at a position, in one currency."""

    def __init__(self, lake: Lake, position: int, tenant: str, currency: str) -> None:
        self._lake: Final = lake
        self._parameters: Final[dict[str, Any]] = {"position": position, "tenant": tenant, "currency": currency}

    def parts(self, since: int, until: int) -> Iterator[Part]:
        """What was charged for what occurred in a period."""
        rows = self._rows(
            f"SELECT attempts.kind, coalesce(charges.model, attempts.model, ''), class, sum(quantity), "
            f"CAST(sum(charges.amount_recharge) AS VARCHAR) FROM charges JOIN (SELECT {_KEYS}, model, {_KIND} AS kind "
            f"FROM attempts WHERE {self._where(since, until)} AND borne_by = 'tenant') AS attempts USING ({_KEYS}) "
            f"WHERE charges.tenant = $tenant AND currency = $currency AND amount_recharge IS NOT NULL GROUP BY ALL",
        )
        for kind, model, name, quantity, amount in rows:
            yield Part(kind, model, name, int(quantity), _pico(amount))

    def requests(self, since: int, until: int) -> dict[str, int]:
        """How many requests each model answered."""
        rows = self._rows(
            f"SELECT coalesce(model, ''), count(DISTINCT request_id) FROM attempts WHERE {self._where(since, until)} "
            f"AND {_KIND} = 'answer' AND borne_by = 'tenant' AND amount_recharge IS NOT NULL AND currency = $currency "
            "GROUP BY 1",
        )
        return {model: int(count) for model, count in rows}

    def unpriced(self, since: int, until: int) -> int:
        """Attempts of the period whose charge is not known: they are in no effect."""
        ((count,),) = self._lake.rows(
            f"SELECT count(*) FROM attempts WHERE {self._where(since, until)} AND attempts = 1 "
            "AND amount_recharge IS NULL AND billable IS DISTINCT FROM FALSE",
            {name: self._parameters[name] for name in ("position", "tenant")},
        )
        return int(count)

    def adjusted(self, since: int, until: int) -> tuple[int, list[str]]:
        """What cases corrected in a period, and the cases."""
        ((amount, cases),) = self._rows(
            'SELECT CAST(sum(amount) AS VARCHAR), list(DISTINCT "case" ORDER BY "case") FROM adjustments '
            "WHERE position <= $position AND account = 'recharge' AND leg_tenant = $tenant AND currency = $currency "
            f"AND recorded >= {timestamp_sql(since)} AND recorded < {timestamp_sql(until)}",
        )
        return _pico(amount), list(cases or ())

    def first(self, kind: str, model: str | None, since: int, until: int) -> list[str]:
        """The first requests of a kind and model in a period."""
        of_model = "" if model is None else " AND coalesce(model, '') = $model"
        rows = self._lake.rows(
            f"SELECT DISTINCT request_id FROM attempts WHERE {self._where(since, until)} AND {_KIND} = $kind{of_model} "
            "ORDER BY request_id LIMIT 3",
            {
                "position": self._parameters["position"],
                "tenant": self._parameters["tenant"],
                "kind": kind,
                **({} if model is None else {"model": model}),
            },
        )
        return [str(one) for (one,) in rows]

    def _where(self, since: int, until: int) -> str:
        span = f"occurred >= {timestamp_sql(since)} AND occurred < {timestamp_sql(until)}"
        return f"tenant = $tenant AND position <= $position AND {span}"

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self._lake.rows(statement, self._parameters)


def _pico(amount: str | None) -> int:
    """An amount as DuckDB writes a DECIMAL with twelve places."""
    return int(amount.replace(".", "")) if amount else 0
