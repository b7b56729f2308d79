"""Two books of the same days: a journal of ours, and the vendor's own meter, which writes its statements.

The vendor counts for itself what each call used; its statements are OpenAI's usage and costs pages.
"""

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from planting import CHEAP, DEAR, HOUR, Field, classes

from tollbook.assembly import service
from tollbook.core.money import format_amount

DAY: Final = 24 * HOUR
KEYS: Final = ("key_alpha", "key_beta")
_WORDS: Final = {"input": "input", "input_cache_read": "cached input", "output": "output"}
_MEMBERS: Final = {"input_cache_read": "input_cached_tokens", "output": "output_tokens"}
Place = tuple[int, str, str]


class TwoBooks:
    """Some days of traffic. `meter` is the vendor's count by day, model, key and class; `money` in picodollars."""

    def __init__(self, root: Path, seed: int = 1, requests: int = 40, days: int = 2) -> None:
        service.init(root)
        self.root: Final = root
        self.length: Final = days
        self.field: Final = Field(root, seed, ago=(days + 2) * DAY)
        self.field.changed = self.field.clock.instant + 1000 * DAY  # no change of price here
        self.first: Final = (self.field.clock.instant // DAY + 1) * DAY
        self.meter: Final[Counter[tuple[Place, str]]] = Counter()
        self.money: Final[Counter[tuple[Place, str]]] = Counter()
        self.extra: Final[list[dict[str, Any]]] = []
        self._keys_in_costs = True
        for number in range(requests):
            self.field.clock.instant = self.first + days * DAY * (number + 1) // (requests + 2)
            self.call(chance=number)

    def days(self) -> tuple[str, str]:
        """The period for `--from` and `--to`."""
        return _day(self.first), _day(self.first + self.length * DAY)

    def call(self, *, chance: int = 0, billed: dict[str, int] | None = None, **facts: Any) -> dict[str, int]:
        """One request on our record; the vendor bills what it served, or `billed`."""
        model, key = (CHEAP, DEAR)[chance % 2], KEYS[chance // 2 % 2]
        raw = self.field.raw(cached=100 * (chance % 3))
        at = self.field.clock.instant
        self.field.attempt(self.field.request(), model=model, key_id=key, **({"raw": raw} | facts))
        self.bill(at, model, key, classes(raw) if billed is None else billed)
        return classes(raw)

    def bill(self, at: int, model: str, key: str, usage: dict[str, int], requests: int = 1) -> int:
        """The vendor counts a call, and what it costs in picodollars."""
        place = ((at - self.first) // DAY, model, key)
        cost = 0
        for name, quantity in usage.items():
            amount = self.field.price(model, {name: quantity}) if quantity else 0
            self.meter[place, name] += quantity
            self.money[place, name] += amount
            cost += amount
        self.meter[place, "requests"] += requests
        return cost

    def finish(self) -> None:
        """Load our side."""
        self.field.clock.instant = self.first + self.length * DAY + HOUR
        self.field.finish()

    def statements(self, directory: Path, *, keys_in_costs: bool = True) -> tuple[Path, Path]:
        """The vendor's usage export and cost report; the latter with keys, or without as Anthropic's is."""
        self._keys_in_costs = keys_in_costs
        usage, costs = directory / "usage.json", directory / "costs.json"
        usage.write_text(json.dumps(self._page(self._usage)))
        costs.write_text(json.dumps(self._page(self._costs)))
        return usage, costs

    def _page(self, results: Any) -> dict[str, Any]:
        seconds = [self.first // 1_000_000 + number * 86_400 for number in range(self.length + 1)]
        buckets = [
            {"object": "bucket", "start_time": since, "end_time": until, "results": list(results(number))}
            for number, (since, until) in enumerate(pairwise(seconds))
        ]
        return {"object": "page", "data": buckets, "has_more": False, "next_page": None}

    def _places(self, day: int) -> list[Place]:
        return sorted({place for place, _ in self.meter if place[0] == day})

    def _usage(self, day: int) -> Any:
        for place in self._places(day):
            counts = {name: self.meter[place, name] for name in _WORDS}
            yield {
                "object": "organization.usage.completions.result",
                "input_tokens": counts["input"] + counts["input_cache_read"],
                "input_cached_tokens": counts["input_cache_read"],
                "output_tokens": counts["output"],
                "num_model_requests": self.meter[place, "requests"],
                "project_id": None,
                "api_key_id": place[2],
                "model": place[1],
                "batch": False,
                "service_tier": "default",
            }

    def _costs(self, day: int) -> Any:
        for place in self._places(day):
            for name, word in _WORDS.items():
                if self.meter[place, name]:
                    yield self._cost(f"{place[1]}, {word}", self.meter[place, name], self.money[place, name], place[2])
        yield from (one for one in self.extra if one["day"] == day)

    def fee(self, day: int, item: str, quantity: int, picodollars: int) -> None:
        """A line of the cost report that no usage stands for."""
        self.extra.append({"day": day, **self._cost(item, quantity, picodollars, None)})

    def _cost(self, item: str, quantity: int, picodollars: int, key: str | None) -> dict[str, Any]:
        return {
            "object": "organization.costs.result",
            "amount": {"value": float(Decimal(format_amount(picodollars))), "currency": "usd"},
            "line_item": item,
            "quantity": quantity,
            "quantity_unit": "tokens",
            "project_id": None,
            "api_key_id": key if self._keys_in_costs else None,
        }


def _day(instant: int) -> str:
    from tollbook.core.clock import format_instant

    return format_instant(instant)[:10]
