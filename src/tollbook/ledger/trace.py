"""The story of one request, from the rows that its entries were folded into."""

# ruff: noqa: S608  statements are put together from the schema's own names; values are parameters

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.identity import is_request_id, span_id_of, trace_id_of
from tollbook.core.money import format_amount
from tollbook.core.usage import TOKEN_CLASSES
from tollbook.core.vocabulary import weakest_basis
from tollbook.ledger.adjustments import of_request
from tollbook.ledger.batch import SHOWN_LINES, batch_of
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Document, Position, Reader, position_of, provenance, read
from tollbook.ledger.rows import SPAN
from tollbook.ledger.schema import ATTEMPTS, CHARGES, OPEN_ATTEMPTS, REQUESTS, Table, quote
from tollbook.ledger.spans import spans_of
from tollbook.ledger.values import as_folded

OPERATOR: Final = "operator"
TENANT: Final = "tenant"

AMOUNT_KINDS: Final = {OPERATOR: ("list", "expected", "effective", "recharge"), TENANT: ("recharge",)}
"""The amounts each view sees."""

SHOWN_AMOUNT: Final = {OPERATOR: "expected", TENANT: "recharge"}
"""The amount that stands as `amount` and `amount_usd` in each view."""

WITHHELD: Final[dict[str, dict[str, frozenset[str]]]] = {
    OPERATOR: {"request": frozenset(), "attempts": frozenset(), "charges": frozenset()},
    TENANT: {
        "request": frozenset(),
        "attempts": frozenset({"vendor_key", "usage_raw", "price_book", "vendor_cost"}),
        "charges": frozenset({"unit_price", "unit_price_usd", "price_book", "price_row"}),
    },
}
"""The fields that each view leaves out, by part of the object."""


def trace(
    source: Reader | Path,
    request_id: str,
    *,
    view: str = OPERATOR,
    tenant: str | None = None,
    workloads: Iterable[str] | None = None,
    lines: int = SHOWN_LINES,
) -> Document:
    """One request: who asked, which attempts were made, what they used and cost, and the entries that say so.

    Of a batch, at most `lines` of its lines. `tenant` and `workloads` bound who may see it: another's request does not
    exist. Raises BadInput when the id is none, NotFound when the book holds no such request (yet).
    """
    request_id = request_id.strip().lower()
    if not is_request_id(request_id):
        raise BadInput(f"not a request id: {request_id!r}; `tollbook find` takes any other id")
    allowed = None if workloads is None else frozenset(workloads)

    def query(lake: Lake) -> Document:
        rows = _Rows(lake, request_id)
        facts = rows.facts()
        if facts is not None and not rows.settled and rows.every:
            raise NotFound(f"request {request_id} is counted as another: {_better(lake, rows)}")
        hidden = tenant is not None and facts is not None and facts["tenant"] != tenant
        if facts is None or hidden or (allowed is not None and facts["workload"] not in allowed):
            raise NotFound(f"the book holds no request {request_id}; a request appears within a second of its end")
        batch = batch_of(lake, request_id, SHOWN_AMOUNT[view], lines)
        adjusted = of_request(lake, request_id, facts["tenant"] if view == TENANT else None)
        return _document(rows, facts, batch, position_of(lake), view, adjusted)

    return read(source, query)


class _Rows:
    """All rows of one request; of an attempt with several, the last one folded stands for it."""

    def __init__(self, lake: Lake, request_id: str) -> None:
        self.requests = _select(lake, REQUESTS, request_id, "position, lane, sequence")
        settled = _select(lake, ATTEMPTS, request_id, "number, rating NULLS FIRST, position, lane, sequence")
        self.every = settled
        self.settled = list({row["number"]: row for row in _standing(settled)}.values())
        self.spans = spans_of(lake, request_id, settled)
        self.open = _select(lake, OPEN_ATTEMPTS, request_id, "number")
        charges = _select(lake, CHARGES, request_id, "number, rating, position, lane, sequence, line")
        self.charges = {
            row["number"]: [
                line
                for line in charges
                if _origin(line) == _origin(row) and line["rating"] == row["rating"] and line["quantity"] >= 0
            ]
            for row in self.settled
        }

    @property
    def was_revised(self) -> bool:
        """Whether something was learned of an attempt after its request had ended."""
        return any(row["kind"] in ("attempt.aged", "attempt.matched") for row in self.settled)

    def facts(self) -> Document | None:
        """The row that knows most of the request itself."""
        for rows in (self.requests[-1:], self.settled, self.open):
            if rows:
                return rows[0]
        return None


def _document(
    rows: _Rows, facts: Document, batch: Document | None, position: Position, view: str, adjusted: list[Document]
) -> Document:
    attempts = [_attempt(row, rows.charges[row["number"]], view) for row in rows.settled]
    attempts += [_open_attempt(row, view) for row in rows.open]
    attempts.sort(key=lambda attempt: int(attempt["number"]))
    request = _request(rows, facts, view)
    books = sorted({row["price_book"] for row in rows.settled if row["price_book"] is not None})
    parameters = {"request": facts["request_id"], "view": view}
    control = {
        "requests": 1,
        "attempts": len(attempts),
        "amounts": {request["currency"]: request["amount"]} if request["currency"] and request["amount"] else {},
    }
    return {
        "request": request,
        "attempts": attempts,
        "batch": batch,
        "entries": _entries(rows)
        + [dict(one) for one in dict.fromkeys(tuple(one["entry"].items()) for one in adjusted)],
        "adjustments": [{name: value for name, value in one.items() if name != "entry"} for one in adjusted],
        "evidence": rows.spans if view == OPERATOR else [],
        "provenance": provenance(
            parameters, position, books=books if view == OPERATOR else [], rows=len(attempts), control_totals=control
        ),
    }


def _request(rows: _Rows, facts: Document, view: str) -> Document:
    ended = rows.requests[-1] if rows.requests else None
    row = ended or {}
    every = sorted([*rows.settled, *rows.open], key=lambda attempt: int(attempt["number"]))
    opened = row.get("opened") or (every[0]["occurred"] if every else None)
    amounts, currency = _request_amounts(rows, view)
    caller = facts["client_request_id"]
    document = {
        "id": facts["request_id"],
        "tenant": facts["tenant"],
        "key": facts["key"],
        "workload": facts["workload"],
        "user": facts["user"],
        "template": facts["template"],
        "tags": dict(facts["tags"]) if facts["tags"] is not None else None,
        "trace_id": facts["trace_id"] or trace_id_of(facts["request_id"]),
        "span_id": span_id_of(facts["request_id"]),
        "parent_request_id": facts["parent_request_id"],
        "client_request_id": caller,
        "model_asked": facts["model_asked"],
        "stream": facts["stream"],
        "route": row.get("route"),
        "policy": _policy(facts["policy"]),
        "reason": row.get("plan"),
        "opened_at": _instant(opened),
        "closed_at": _instant(row.get("recorded")),
        "occurred_at": _instant(row.get("occurred") or opened),
        "recorded_at": _instant(row.get("recorded")),
        "outcome": row.get("outcome", "open"),
        **_money(amounts, currency, view),
        "amounts": _texts(amounts),
        "basis": (None if rows.was_revised else row.get("basis"))
        or weakest_basis([attempt["basis"] for attempt in rows.settled]),
        "maturity": _maturity(rows),
        "source": (every[0].get("source") if every else None) or "gateway",
        "endpoint": facts["endpoint"],
        "error": row.get("error"),
        "client": row.get("client"),
        "replay_of": row.get("replay_of"),
        "repeat_of": facts["repeat_of"],
    }
    return _without(document, WITHHELD[view]["request"])


def _request_amounts(rows: _Rows, view: str) -> tuple[Document, str | None]:
    """The sums over the attempts. Unknown when the money of one attempt is: it is open, or not rated and the vendor
    may bill it; or when attempts have different currencies."""
    billed = [row for row in rows.settled if row["rating"] is not None or row["billable"] is not False]
    currencies = {row["currency"] for row in billed if row["currency"] is not None}
    known = bool(rows.requests) and not rows.open and len(currencies) <= 1
    amounts: Document = {}
    for kind in AMOUNT_KINDS[view]:
        each = [row.get(f"amount_{kind}") for row in billed]
        amounts[kind] = sum(each) if known and kind != "effective" and None not in each else None
    return amounts, currencies.pop() if len(currencies) == 1 else None


def _attempt(row: Document, charges: list[Document], view: str) -> Document:
    usage = _usage(row)
    amounts = {kind: row.get(f"amount_{kind}") for kind in AMOUNT_KINDS[view]}
    raw, shares = row["usage_raw"], row["usage_shares"]
    document = {
        "number": row["number"],
        "reason": row["reason"],
        "vendor": row["vendor"],
        "vendor_key": row["vendor_key"],
        "model_sent": row["model_sent"],
        "model_served": row["model_served"],
        "region": row["region"],
        "tier": row["tier"],
        "status": row["status"],
        "outcome": row["outcome"],
        "vendor_request_id": row["vendor_request_id"],
        "opened_at": _instant(row["occurred"]),
        "first_byte_at": _instant(row["first_byte"]),
        "settled_at": _instant(row["recorded"]),
        "usage": usage,
        "usage_basis": row["basis"],
        "usage_raw": msgspec.json.decode(raw) if raw is not None else None,
        **_money(amounts, row["currency"], view),
        "amounts": _texts(amounts),
        "billable": row["billable"],
        "charges": [_charge(line, view) for line in charges],
        **{name: row[name] for name in _FURTHER},
        "usage_bound": dict(row["usage_bound"]) if row["usage_bound"] is not None else None,
        "usage_shares": msgspec.json.decode(shares) if shares is not None else None,
    }
    return _without(document, WITHHELD[view]["attempts"])


_FURTHER: Final = (
    "borne_by",
    "unpriced",
    "assumed",
    "price_book",
    "because",
    "next",
    "error",
    "flags",
    "response_id",
    "speed",
    "delivered",
    "usage_method",
    "vendor_cost",
    "provider",
    "processing",
    "line",
)
"""Columns of `attempts` that stand in the object as they are."""


def _open_attempt(row: Document, view: str) -> Document:
    """An attempt that is not settled: what is not known yet is null."""
    unknown = dict.fromkeys(ATTEMPTS.names) | row
    return _attempt(unknown | {"outcome": "open", "basis": "unreported"}, [], view) | {"charges": []}


def _charge(line: Document, view: str) -> Document:
    amounts = {kind: line.get(f"amount_{kind}") for kind in AMOUNT_KINDS[view]}
    document = {
        "class": line["class"],
        "quantity": line["quantity"],
        "unit_price_usd": line["unit_price"] if line["currency"] == "USD" else None,
        **_money(amounts, line["currency"], view),
        "price_book": line["price_book"],
        "price_row": line["price_row"],
        "unit_price": line["unit_price"],
        "amounts": _texts(amounts),
        "model": line["model"],
    }
    return _without(document, WITHHELD[view]["charges"])


def _money(amounts: Document, currency: str | None, view: str) -> Document:
    """The three fields an amount is said in: `amount_usd` is null for another currency."""
    amount = _text(amounts[SHOWN_AMOUNT[view]])
    return {"amount_usd": amount if currency in ("USD", None) else None, "amount": amount, "currency": currency}


def _entries(rows: _Rows) -> list[Document]:
    """The entries the object rests on, in order of the story, each once."""
    found: list[tuple[Any, ...]] = []
    for row in sorted([*rows.every, *rows.open], key=lambda attempt: int(attempt["number"])):
        found.append((row["opened_lane"], row["opened_sequence"], row["opened_kind"], row["opened_digest"]))
        if "lane" in row:
            found.append((row["lane"], row["sequence"], row["kind"], row["digest"]))
    found += [(row["lane"], row["sequence"], row["kind"], row["digest"]) for row in rows.requests]
    return [
        {"lane": lane, "sequence": sequence, "kind": kind, "digest": digest}
        for lane, sequence, kind, digest in dict.fromkeys(found)
    ]


def _usage(row: Document) -> dict[str, int] | None:
    usage = {name: row[name] for name in TOKEN_CLASSES if row[name] is not None} | dict(row["usage_other"] or {})
    return usage or None


def _maturity(rows: _Rows) -> str | None:
    found = {row["maturity"] for row in rows.settled}
    return "estimated" if "estimated" in found else "recorded" if found or rows.requests else None


def _policy(policy: str | None) -> Document:
    """`name@version`, as the entry has it."""
    name, _, digest = (policy or "").rpartition("@")
    return {"id": name or None, "version": digest or None}


def _instant(value: int | None) -> str | None:
    return None if value is None else format_instant(value)


def _text(pico: int | None) -> str | None:
    return None if pico is None else format_amount(pico)


def _texts(amounts: Document) -> Document:
    return {kind: _text(pico) for kind, pico in amounts.items()}


def _without(document: Document, withheld: frozenset[str]) -> Document:
    return {name: value for name, value in document.items() if name not in withheld}


def _standing(rows: list[Document]) -> list[Document]:
    """The rows that stand: of a span that was taken back none, unless it came to count again."""
    spans = [row for row in rows if row["source"] == SPAN]
    if not spans:
        return rows
    if sum(row["attempts"] for row in spans) <= 0:
        return [row for row in rows if row["source"] != SPAN]
    return sorted((row for row in rows if row["attempts"] > 0), key=lambda row: (row["number"], row["position"]))


def _better(lake: Lake, rows: "_Rows") -> str:
    """Which requests count instead of a span's that was taken back."""
    last = rows.every[-1]
    found = lake.rows(
        "SELECT request_id FROM attempts WHERE tenant = $1 AND response_id = $2 GROUP BY request_id "
        "HAVING sum(attempts) > 0 ORDER BY request_id",
        [last["tenant"], last["response_id"]],
    )
    return ", ".join(str(row[0]) for row in found) or "the inferences below it, of which it is the sum"


def _origin(row: Document) -> tuple[str, int]:
    return row["lane"], row["sequence"]


def _select(lake: Lake, table: Table, request_id: str, order: str) -> list[Document]:
    names = ", ".join(quote(name) for name in table.names)
    statement = f"SELECT {names} FROM {table.name} WHERE request_id = $1 ORDER BY {order}"
    return [{name: as_folded(value) for name, value in row.items()} for row in lake.dicts(statement, [request_id])]
