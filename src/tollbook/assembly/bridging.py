"""Explains what changed between two periods of a tenant: the bridge, with the first requests of each effect."""

from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, BrokenPromise
from tollbook.core.money import format_amount
from tollbook.disputes.bridge import EFFECTS, Answers, Period, bridge
from tollbook.ledger.change import Charges
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import Reader, position_of, provenance

Document = dict[str, Any]

_OTHER: Final = ("retries", "aborted")


class Span(NamedTuple):
    """A period as it was named, and its instants, half-open."""

    name: str
    since: int
    until: int


def explain(root: Path, tenant: str, first: Span, second: Span, currency: str, as_of: int | None) -> Document:
    """The bridge from one period to the other. Raises BadInput when neither has a charge."""
    with Reader(root) as reader:
        return reader.read(lambda lake: _explained(lake, tenant, first, second, currency, as_of))


def _explained(lake: Lake, tenant: str, first: Span, second: Span, currency: str, as_of: int | None) -> Document:
    position = position_of(lake, as_of)
    charges = Charges(lake, position.number, tenant, currency)
    periods = [_period(charges, span) for span in (first, second)]
    if not any(period.answers or period.amount for period in periods):
        raise BadInput(f"tenant {tenant!r} has no charge in {currency} in either period; see: tollbook report")
    effects, change = bridge(*periods), periods[1].amount - periods[0].amount
    if sum(effects.values()) != change:
        raise BrokenPromise("the effects do not add up to the change; run `tollbook doctor`, then `tollbook rebuild`")
    told = [_side(charges, span, period) for span, period in zip((first, second), periods, strict=True)]
    return {
        "tenant": tenant,
        "currency": currency,
        "from": told[0],
        "to": told[1],
        "change": format_amount(change),
        "effects": [
            {
                "effect": name,
                "amount": format_amount(amount),
                "text": EFFECTS[name],
                "model": (model := _moved(name, periods)),
                "requests": _evidence(charges, name, model, first, second) if amount else [],
                "cases": charges.adjusted(second.since, second.until)[1] if name == "adjustments" else [],
            }
            for name, amount in effects.items()
        ],
        "provenance": provenance(
            {"tenant": tenant, "from": first.name, "to": second.name, "currency": currency},
            position,
            books=[],
            rows=len(effects),
            control_totals={"change": format_amount(change), "effects": format_amount(sum(effects.values()))},
        ),
    }


def _period(charges: Charges, span: Span) -> Period:
    classes: dict[str, dict[str, tuple[int, int]]] = {}
    other = dict.fromkeys(_OTHER, 0)
    counts = charges.requests(span.since, span.until)
    for part in charges.parts(span.since, span.until):
        if part.kind in other:
            other[part.kind] += part.amount
        else:
            found = classes.setdefault(part.model, {})
            quantity, amount = found.get(part.name, (0, 0))
            found[part.name] = (quantity + part.quantity, amount + part.amount)
    # A model that worked inside others' answers has lines and no request of its own: one stands for all its lines.
    answers = {model: Answers(counts.get(model) or 1, of_model) for model, of_model in classes.items()}
    adjusted, _ = charges.adjusted(span.since, span.until)
    return Period(answers, other["retries"], other["aborted"], adjusted)


def _side(charges: Charges, span: Span, period: Period) -> Document:
    return {
        "period": span.name,
        "since": format_instant(span.since),
        "until": format_instant(span.until),
        "amount": format_amount(period.amount),
        "requests": sum(charges.requests(span.since, span.until).values()),
        "unknown": charges.unpriced(span.since, span.until),
    }


def _moved(effect: str, periods: list[Period]) -> str | None:
    """The model that an effect is told by: the one whose money changed most; None for what is of no model."""
    if effect not in ("mix", "tokens", "cache", "price"):
        return None
    sums = [
        {model: sum(amount for _, amount in one.classes.values()) for model, one in period.answers.items()}
        for period in periods
    ]
    both = [model for model in sums[1] if effect == "mix" or model in sums[0]]
    return max(both, key=lambda model: (abs(sums[1][model] - sums[0].get(model, 0)), model), default=None)


def _evidence(charges: Charges, effect: str, model: str | None, first: Span, second: Span) -> list[str]:
    """The first requests that show an effect: of the second period, else of the first."""
    if effect == "adjustments":
        return []
    kind = effect if effect in _OTHER else "answer"
    found = charges.first(kind, model, second.since, second.until)
    return found or charges.first(kind, model, first.since, first.until)
