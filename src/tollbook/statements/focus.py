"""FOCUS 1.0 to 1.3 cost and usage tables (CSV, Parquet): BilledCost in BillingCurrency by charge.

FOCUS has no columns for models or classes of tokens: what was charged stays in the provider's words.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from tollbook.statements.document import Head, Importer, Item, Line, LineKind, Problem
from tollbook.statements.table_source import Row, has_columns, rows
from tollbook.statements.tabular import period_of

_NEEDED: Final = frozenset(("BilledCost", "BillingCurrency", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd"))
_WANTED: Final = frozenset(
    "BillingAccountId ChargeDescription ConsumedQuantity ConsumedUnit InvoiceId ProviderName RegionId SubAccountId "  # noqa: SIM905
    "SkuId SkuMeter ServiceName".split()
)
_KINDS: Final[dict[str, LineKind]] = {
    "Usage": "cost",
    "Purchase": "fee",
    "Tax": "tax",
    "Credit": "credit",
    "Adjustment": "other",
}


def _read(source: BinaryIO) -> Iterator[Item]:
    said: dict[str, set[str]] = {"ProviderName": set(), "InvoiceId": set(), "BillingAccountId": set()}
    for row in rows(source, _NEEDED, _WANTED):
        if isinstance(row, Problem):
            yield row
            continue
        for name, values in said.items():
            if name in row.values and len(values) < 3:
                values.add(row.values[name])
        yield from _line(row)
    if len(said["ProviderName"]) > 1:
        told = f"the file is of several providers: {', '.join(sorted(said['ProviderName']))}"
        yield Problem("column ProviderName", told, "export one provider at a time")
    one = {name: next(iter(values)) if len(values) == 1 else None for name, values in said.items()}
    vendor = one["ProviderName"]
    yield Head(
        vendor=None if vendor is None else vendor.lower(), number=one["InvoiceId"], account=one["BillingAccountId"]
    )


def _line(row: Row) -> Iterator[Item]:
    period = period_of(row, "ChargePeriodStart", "ChargePeriodEnd")
    if isinstance(period, Problem):
        yield period
        return
    amount, wrong = row.number("BilledCost")
    quantity, odd = row.number("ConsumedQuantity")
    yield from (problem for problem in (wrong, odd) if problem is not None)
    values = row.values
    category = values.get("ChargeCategory", "")
    if category not in _KINDS:
        yield Problem(f"{row.where}, column ChargeCategory", f"{category[:40]!r} is no category", "kept as other")
    item = values.get("ChargeDescription") or values.get("SkuMeter") or values.get("SkuId") or ""
    yield Line(
        where=row.where,
        begins=period[0],
        ends=period[1],
        kind=_KINDS.get(category, "other"),
        item=item,
        usage_class=values.get("SkuMeter") or item or None,
        quantity=quantity,
        unit=values.get("ConsumedUnit"),
        amount=amount,
        currency=values.get("BillingCurrency"),
        account=values.get("BillingAccountId"),
        project=values.get("SubAccountId"),
        region=values.get("RegionId"),
    )


IMPORTER: Final = Importer(
    kind="focus",
    vendor="focus",
    version=1,
    type="cost_report",
    read=_read,
    recognises=lambda head: has_columns(head, "BilledCost", "ChargePeriodStart", "BillingCurrency"),
    meaning="FOCUS 1.0 to 1.3, CSV or Parquet; the vendor is its ProviderName",
)
