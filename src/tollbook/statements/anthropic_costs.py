"""Anthropic's cost report (`GET /v1/organizations/cost_report`): daily amounts, in cents as decimal text.

It knows no keys, and leaves out what the Priority Tier costs.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import BinaryIO, Final

from tollbook.statements.anthropic_pages import Result, results
from tollbook.statements.document import Importer, Item, Line, exact_cents

_CLASSES: Final = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "input_cache_read",
    "cache_creation.ephemeral_5m_input_tokens": "input_cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "input_cache_write_1h",
    "output_tokens": "output",
}
_COSTS: Final = {"web_search": "web_searches", "code_execution": "code_sessions"}


def _read(source: BinaryIO) -> Iterator[Item]:
    found: list[Item] = []
    for result in results(source, found):
        yield _line(result)
        yield from found
        found.clear()
    yield from found


def _line(result: Result) -> Line:
    members = result.members
    amount, currency = members.number("amount"), members.text("currency")
    exact: Decimal | None = None
    if amount is None or currency != "USD":
        told = f"an amount in the smallest unit of {currency or 'no currency'} is not known to be cents"
        members.problem("amount", "is not there" if amount is None else told)
    else:
        exact = exact_cents(amount)
    kind, token, tier = members.text("cost_type"), members.text("token_type"), members.text("service_tier")
    return Line(
        where=members.where,
        begins=result.begins,
        ends=result.ends,
        kind="cost",
        item=members.text("description") or token or kind or "",
        usage_class=_CLASSES.get(token or "") or _COSTS.get(kind or "") or token or kind,
        amount=exact,
        currency="USD" if exact is not None else None,
        project=members.text("workspace_id"),
        model=members.text("model"),
        region=members.text("inference_geo"),
        tier=tier,
        processing="batch" if tier == "batch" else None,
        context=members.text("context_window"),
    )


IMPORTER: Final = Importer(
    kind="anthropic_costs",
    vendor="anthropic",
    version=1,
    type="cost_report",
    read=_read,
    recognises=lambda head: b'"cost_type"' in head and b'"starting_at"' in head,
    meaning="Anthropic's cost report, one page or a JSON list of pages",
    final_days=30,
)
