"""Our prices beside those of the package they came from, model by model: where the two differ, and why on purpose."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

import genai_prices
import yaml
from genai_prices import data

from tollbook.core.clock import parse_instant
from tollbook.core.money import PICO, format_amount
from tollbook.pricing.book import base_book
from tollbook.pricing.catalogue import BOOKS
from tollbook.pricing.rate import Rater

USAGE: Final = {"input": 1000, "output": 100}
INSTANTS: Final = ("2026-11-23T12:00:00Z", "2026-10-10T02:00:00Z")
"""A Monday noon, and a Saturday in what would be hours of a peak."""

REASONS: Final = {
    "no_price": "The source lists the model without any price and gives $0. No price is not free: unpriced.",
    "class_without_price": (
        "The source has no price for one class of the usage (output of an embedding, tokens of a model that is priced "
        "by the page or the second) and leaves it out of its sum. Here that class is unpriced, and so is the total."
    ),
    "corrected": (
        "The source applies a peak tariff on every day of the week; the vendor does not. Put right, with the evidence."
    ),
    "rounded": "The source states a price with the tail of a binary fraction; a charge is rounded half-even to 1e-12.",
}
"""Why an amount differs from the source's on purpose. Whatever has no reason here is a fault."""


class Difference(NamedTuple):
    """A model for which the two differ; `reason` is None when nobody knows why. Amounts are decimal text or None."""

    party: str
    model: str
    at: str
    theirs: str
    ours: str | None
    reason: str | None


def compare() -> tuple[int, list[Difference]]:
    """How many comparisons were made, and those in which the two differ."""
    rater = Rater(base_book())
    corrected = {(one["party"], one["model"]) for one in yaml.safe_load((BOOKS / "corrections.yaml").read_text())}
    count, found = 0, []
    for at in INSTANTS:
        for party, model in _models():
            count += 1
            theirs = _theirs(party, model, at)
            priced = rater.rate(party, model, USAGE, parse_instant(at))
            ours = None if priced.expected is None else Decimal(format_amount(priced.expected))
            if theirs == ours:
                continue
            reason = _reason(theirs, ours, priced.unpriced, (party, model) in corrected)
            told = "unknown" if theirs is None else f"{theirs:f}"
            found.append(Difference(party, model, at, told, None if ours is None else f"{ours:f}", reason))
    return count, found


def differences_page() -> str:
    """The page that lists every difference by its reason."""
    count, found = compare()
    by_reason: dict[str, list[Difference]] = defaultdict(list)
    for difference in found:
        by_reason[difference.reason or "unexplained"].append(difference)
    lines = [
        "# Where our prices differ from their source",
        "",
        "<!-- Made from the code by `make reference`; do not edit. -->",
        "",
        f"The base book is made from `{base_book().header.source}`. Every model of it, with 1,000 input and 100 output",
        f"tokens, at {' and '.join(INSTANTS)}: {count:,} comparisons, {count - len(found):,} equal",
        "(a model that neither finds counts as equal). The others differ on purpose:",
    ]
    for reason, group in sorted(by_reason.items()):
        names: dict[str, list[str]] = defaultdict(list)
        for one in group:
            if one.model not in names[one.party]:
                names[one.party].append(one.model)
        lines += [
            "",
            f"## `{reason}`: {sum(map(len, names.values())):,} models",
            "",
            REASONS.get(reason, "Not known."),
            "",
        ]
        lines += [
            f"- {party}: {', '.join(f'`{name}`' for name in sorted(group))}" for party, group in sorted(names.items())
        ]
    return "\n".join(lines) + "\n"


def _models() -> Iterator[tuple[str, str]]:
    return ((provider.id, model.id) for provider in data.providers for model in provider.models)


def _theirs(party: str, model: str, at: str) -> Decimal | None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=parse_instant(at))
    usage = genai_prices.Usage(input_tokens=USAGE["input"], output_tokens=USAGE["output"])
    try:
        found = genai_prices.calc_price(usage, model, provider_id=party, genai_request_timestamp=instant)
    except LookupError:
        return None
    return found.total_price


def _reason(theirs: Decimal | None, ours: Decimal | None, unpriced: str | None, corrected: bool) -> str | None:
    if unpriced == "no_price" and theirs == 0:
        return "no_price"
    if unpriced == "unknown_class":
        return "class_without_price"
    if corrected:
        return "corrected"
    if theirs is not None and ours is not None and abs(theirs - ours) * PICO <= 1:
        return "rounded"
    return None
