"""AWS CUR 2.0 and its data exports (CSV, Parquet): what Amazon Bedrock charged, by hour or day and usage type.

A usage type is `{REGION}-{Model}-{token type}[-tier][-cross-region-...][-long-context][-batch]`; models of other makers
come through the Marketplace in units of a million tokens. Rows of other services are counted and summed, not taken in.
AWS writes the report anew until its month is closed.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from tollbook.statements.document import Head, Importer, Item, Line, LineKind, Problem
from tollbook.statements.table_source import Row, has_columns, rows
from tollbook.statements.tabular import Others, period_of

_NEEDED: Final = frozenset(
    (
        "line_item_line_item_type",
        "line_item_usage_start_date",
        "line_item_usage_end_date",
        "line_item_usage_type",
        "line_item_unblended_cost",
        "line_item_currency_code",
    )
)
_WANTED: Final = frozenset(
    (
        "bill_invoice_id",
        "bill_payer_account_id",
        "line_item_iam_principal",
        "line_item_line_item_description",
        "line_item_operation",
        "line_item_product_code",
        "line_item_resource_id",
        "line_item_usage_account_id",
        "line_item_usage_amount",
        "pricing_unit",
        "product_product_name",
        "product_region_code",
        "product_servicecode",
    )
)
_KINDS: Final[dict[str, LineKind]] = {
    "Usage": "cost",
    "DiscountedUsage": "cost",
    "SavingsPlanCoveredUsage": "cost",
    "Tax": "tax",
    "Credit": "credit",
    "Refund": "credit",
    "Fee": "fee",
    "RIFee": "fee",
}
_CLASSES: Final = {
    "input-tokens": "input",
    "input-token-count": "input",
    "cache-read-input-token-count": "input_cache_read",
    "cache-read-tokens": "input_cache_read",
    "cache-write-input-token-count": "input_cache_write",
    "cache-write-tokens": "input_cache_write",
    "cache-write-1h-input-token-count": "input_cache_write_1h",
    "output-tokens": "output",
    "output-token-count": "output",
}
_USAGE_TYPE: Final = re.compile(
    rf"[A-Z0-9]{{3,8}}-(?P<model>[A-Za-z0-9.:_-]+?)-(?P<class>{'|'.join(sorted(_CLASSES, key=len, reverse=True))})"
    r"(?:-(?P<tier>flex|priority|standard))?(?P<rest>(?:-[a-z]+)*)"
)
_THOUSAND: Final = frozenset(("1k tokens", "1k input tokens", "1k output tokens"))


def _read(source: BinaryIO) -> Iterator[Item]:
    others, invoices, payers = Others(), set[str](), set[str]()
    for row in rows(source, _NEEDED, _WANTED):
        if isinstance(row, Problem):
            yield row
            continue
        if not _is_bedrock(row):
            others.add(row.number("line_item_unblended_cost")[0], row.values.get("line_item_currency_code"))
            continue
        for name, values in (("bill_invoice_id", invoices), ("bill_payer_account_id", payers)):
            if name in row.values and len(values) < 2:
                values.add(row.values[name])
        yield from _line(row)
    if others.count:
        yield others.told("Amazon Bedrock")
    yield Head(
        number=next(iter(invoices)) if len(invoices) == 1 else None,
        account=next(iter(payers)) if len(payers) == 1 else None,
    )


def _is_bedrock(row: Row) -> bool:
    names = ("line_item_product_code", "product_servicecode", "product_product_name")
    return any("bedrock" in row.values.get(name, "").lower() for name in names)


def _line(row: Row) -> Iterator[Item]:
    values = row.values
    period = period_of(row, "line_item_usage_start_date", "line_item_usage_end_date")
    if isinstance(period, Problem):
        yield period
        return
    amount, wrong = row.number("line_item_unblended_cost")
    quantity, odd = row.number("line_item_usage_amount")
    yield from (problem for problem in (wrong, odd) if problem is not None)
    usage_type = values.get("line_item_usage_type", "")
    found = _USAGE_TYPE.fullmatch(usage_type)
    rest = found["rest"] if found else ""
    principal = values.get("line_item_iam_principal", "")
    yield Line(
        where=row.where,
        begins=period[0],
        ends=period[1],
        kind=_KINDS.get(values.get("line_item_line_item_type", ""), "other"),
        item=values.get("line_item_line_item_description") or usage_type,
        usage_class=_CLASSES[found["class"]] if found else usage_type or None,
        quantity=quantity,
        unit=values.get("pricing_unit"),
        units_each=_units_each(values.get("pricing_unit", ""), usage_type),
        amount=amount,
        currency=values.get("line_item_currency_code"),
        account=values.get("line_item_usage_account_id"),
        project=values.get("line_item_resource_id"),
        vendor_key=principal if "role/" in principal else None,
        model=found["model"] if found else None,
        region=values.get("product_region_code"),
        tier=found["tier"] if found else None,
        processing="batch" if rest.endswith("-batch") else None,
        context="long-context" if "-long-context" in rest else None,
    )


def _units_each(unit: str, usage_type: str) -> int:
    if unit.lower() in _THOUSAND:
        return 1000
    return 1_000_000 if "MP:" in usage_type and "oken" in usage_type and usage_type.endswith("-Units") else 1


IMPORTER: Final = Importer(
    kind="aws_cur",
    vendor="aws",
    version=1,
    type="cost_report",
    read=_read,
    recognises=lambda head: has_columns(head, "line_item_usage_start_date", "line_item_unblended_cost"),
    meaning="AWS CUR 2.0, CSV or Parquet: what Amazon Bedrock charged",
)
