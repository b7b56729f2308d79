"""What the simulated vendors charge: their own arithmetic over their own price list, in integers of picodollars."""

from typing import Final

from tollbook.core.money import format_amount
from tollbook.simulator.pricelist import ADVISOR, MODELS, TOOLS, Model
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
    sold = next(iter(model.tiers)) if tier == BATCH else tier
    rates = model.tiers[sold]
    if model.long_over and tokens.all_input > model.long_over:
        rates = model.long.get(sold, rates)
    total = rates.charge(tokens)
    if tokens.advisor_input or tokens.advisor_output:
        advisor = _BY_NAME["anthropic", ADVISOR].tiers["standard"]
        total += advisor.charge(Tokens(input=tokens.advisor_input, output=tokens.advisor_output))
    if tier == BATCH:
        total //= 2
    if geo == "us" and model.us_percent:
        total = total * model.us_percent // 100
    if speed == "fast" and model.fast_percent:
        total = total * model.fast_percent // 100
    units: int = sum(getattr(tokens, name) * price for name, price in {**TOOLS, **model.units}.items())
    return total + units
