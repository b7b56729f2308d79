"""What the simulated vendors charge: their own arithmetic over their own price list, in integers of picodollars."""

from typing import Final

from tollbook.core.money import format_amount
from tollbook.simulator.pricelist import ADVISOR, MODELS, TOOLS, Model, Rates
from tollbook.simulator.tokens import Tokens

_BY_NAME: Final = {(model.vendor, name): model for model in MODELS for name in (model.alias, model.snapshot)}

BATCH: Final = "batch"
"""The tier of a batch's lines: half of the standard one."""


def find_model(vendor: str, name: str) -> Model | None:
    """The model sold under an alias or a dated snapshot's name; None when the vendor does not sell it."""
    return _BY_NAME.get((vendor, name))


def model_names(vendor: str) -> list[str]:
    """The aliases a vendor sells, in the order of the table."""
    return [model.alias for model in MODELS if model.vendor == vendor]


def amount(model: Model, tier: str, tokens: Tokens, geo: str | None = None, speed: str | None = None) -> str:
    """What the vendor charges, as exact decimal text in USD."""
    return format_amount(charge(model, tier, tokens, geo, speed))


def charge(model: Model, tier: str, tokens: Tokens, geo: str | None = None, speed: str | None = None) -> int:
    """What the vendor charges, in picodollars. The tools' own prices know neither tier nor place."""
    total = _rates(model, tier, tokens).charge(tokens)
    if tokens.advisor_input or tokens.advisor_output:
        advisor = _BY_NAME["anthropic", ADVISOR].tiers["standard"]
        total += advisor.charge(Tokens(input=tokens.advisor_input, output=tokens.advisor_output))
    units: int = sum(getattr(tokens, name) * price for name, price in {**TOOLS, **model.units}.items())
    return _adjusted(total, model, tier, geo, speed) + units


def charges(
    model: Model, tier: str, tokens: Tokens, geo: str | None = None, speed: str | None = None
) -> dict[tuple[str, str], int]:
    """What the vendor charges by model and kind of token or use, in picodollars: the lines of its cost report."""
    rates, sold = _rates(model, tier, tokens), {**TOOLS, **model.units}
    lines: dict[tuple[str, str], int] = {}
    for name, count in tokens.counted().items():
        if name in sold:
            lines[model.snapshot, name] = count * sold[name]
        elif name.startswith("advisor_"):
            plain = name.removeprefix("advisor_")
            other = _BY_NAME["anthropic", ADVISOR]
            cost = other.tiers["standard"].charge(Tokens(**{plain: count}))
            lines[other.snapshot, plain] = _adjusted(cost, model, tier, geo, speed)
        else:
            lines[model.snapshot, name] = _adjusted(rates.charge(Tokens(**{name: count})), model, tier, geo, speed)
    return lines


def _rates(model: Model, tier: str, tokens: Tokens) -> Rates:
    sold = next(iter(model.tiers)) if tier == BATCH else tier
    if model.long_over and tokens.all_input > model.long_over:
        return model.long.get(sold, model.tiers[sold])
    return model.tiers[sold]


def _adjusted(total: int, model: Model, tier: str, geo: str | None, speed: str | None) -> int:
    if tier == BATCH:
        total //= 2
    if geo == "us" and model.us_percent:
        total = total * model.us_percent // 100
    if speed == "fast" and model.fast_percent:
        total = total * model.fast_percent // 100
    return total
