"""What the simulated vendor charges: its own small price table and its own arithmetic, in integers of picodollars.

List prices in USD per million tokens, as published by the vendors in October 2026. Nothing here is shared with the
gateway's price books: two sides that compute one amount from one table would prove nothing.
"""

from typing import Final, NamedTuple

from tollbook.core.money import format_amount
from tollbook.simulator.tokens import Tokens

_PICO_PER_TOKEN: Final = 1_000_000
"""Picodollars per token for one dollar per million tokens."""


class Rates(NamedTuple):
    """Picodollars per token."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int

    def charge(self, tokens: Tokens) -> int:
        return (
            self.input * tokens.input
            + self.cache_read * tokens.cache_read
            + self.cache_write_5m * tokens.cache_write_5m
            + self.cache_write_1h * tokens.cache_write_1h
            + self.output * tokens.all_output
        )


class Model(NamedTuple):
    """One model that a vendor sells. `long` are the rates of a request with more than `long_over` input tokens,
    cached or not; the whole request has them, its output too. `us_percent` is what processing kept in the US costs."""

    vendor: str
    alias: str
    snapshot: str
    tiers: dict[str, Rates]
    long_over: int = 0
    long: dict[str, Rates] = {}  # noqa: RUF012 - a named tuple's default, never changed
    us_percent: int = 0


def _pico(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * _PICO_PER_TOKEN + int(part.ljust(6, "0"))


def _openai(read: str) -> Rates:
    """`input cached output`; writing to the cache is not charged apart on these models."""
    price, cached, output = map(_pico, read.split())
    return Rates(price, cached, price, price, output)


def _anthropic(price: str, output: str) -> dict[str, Rates]:
    """Reading from the cache costs a tenth of input, writing 1.25 times for 5 minutes and twice for an hour."""
    base = _pico(price)
    return {"standard": Rates(base, base // 10, base * 5 // 4, base * 2, _pico(output))}


_MODELS: Final = (
    Model(
        "openai",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        {"default": _openai("2.5 1.25 10"), "priority": _openai("4.25 2.125 17")},
    ),
    Model(
        "openai",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        {"default": _openai("0.15 0.075 0.6"), "priority": _openai("0.25 0.125 1")},
    ),
    Model(
        "openai",
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        {"default": _openai("2 0.5 8"), "priority": _openai("3.5 0.875 14")},
    ),
    Model(
        "openai",
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        {"default": _openai("0.4 0.1 1.6"), "priority": _openai("0.7 0.175 2.8")},
    ),
    Model(
        "openai",
        "gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        {
            "default": _openai("0.25 0.025 2"),
            "flex": _openai("0.125 0.0125 1"),
            "priority": _openai("0.45 0.045 3.6"),
        },
    ),
    Model(
        "openai",
        "gpt-5.5",
        "gpt-5.5-2026-04-23",
        {
            "default": _openai("5 0.5 30"),
            "flex": _openai("2.5 0.25 15"),
            "priority": _openai("12.5 1.25 75"),
        },
        long_over=272_000,
        long={"default": _openai("10 1 45"), "flex": _openai("5 0.5 22.5")},
    ),
    Model("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", _anthropic("3", "15")),
    Model("anthropic", "claude-sonnet-4-6", "claude-sonnet-4-6", _anthropic("3", "15"), us_percent=110),
    Model("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", _anthropic("1", "5")),
    Model("anthropic", "claude-opus-4-5", "claude-opus-4-5-20251101", _anthropic("5", "25")),
    # Sold by the simulator alone: no public price list knows them.
    Model("openai", "sim-unlisted", "sim-unlisted-2026-01-01", {"default": _openai("1 0.5 2")}),
    Model("anthropic", "sim-unlisted-claude", "sim-unlisted-claude-20260101", _anthropic("1", "2")),
)

_BY_NAME: Final = {(model.vendor, name): model for model in _MODELS for name in (model.alias, model.snapshot)}


def find_model(vendor: str, name: str) -> Model | None:
    """The model sold under an alias or a dated snapshot's name; None when the vendor does not sell it."""
    return _BY_NAME.get((vendor, name))


def model_names(vendor: str) -> list[str]:
    """The aliases a vendor sells, in the order of the table."""
    return [model.alias for model in _MODELS if model.vendor == vendor]


def amount(model: Model, tier: str, tokens: Tokens, geo: str | None = None) -> str:
    """What the vendor charges, as exact decimal text in USD."""
    rates = model.tiers[tier]
    if model.long_over and tokens.all_input > model.long_over:
        rates = model.long.get(tier, rates)
    charge = rates.charge(tokens)
    if geo == "us" and model.us_percent:
        charge = charge * model.us_percent // 100
    return format_amount(charge)
