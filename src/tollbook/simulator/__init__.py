"""Simulated vendors that speak the OpenAI and Anthropic wire formats, meter and bill by themselves, and misbehave on
request. Public: test your own gateway with it (docs/simulator.md).

It shares nothing with the gateway's metering: neither `providers` nor `pricing` is imported here.
"""

from tollbook.simulator.books import Billed, Books, Received, account_of, read_books
from tollbook.simulator.rule import FAULTS, Rule, When, load_rules
from tollbook.simulator.server import Simulator
from tollbook.simulator.service import KEY_PREFIX, Settings

__all__ = [
    "FAULTS",
    "KEY_PREFIX",
    "Billed",
    "Books",
    "Received",
    "Rule",
    "Settings",
    "Simulator",
    "When",
    "account_of",
    "load_rules",
    "read_books",
]
