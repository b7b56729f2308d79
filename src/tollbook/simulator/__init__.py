"""Simulated vendors that speak the wire formats of many, meter and bill by themselves, and misbehave on request.
Public: test your own gateway with it (docs/simulator.md).

It shares nothing with the gateway's metering: neither `providers` nor `pricing` is imported here.
"""

from tollbook.simulator.books import ENDINGS, Billed, Books, Ended, Received, account_of, read_books, read_endings
from tollbook.simulator.rule import FAULTS, Rule, When, load_rules
from tollbook.simulator.server import Simulator
from tollbook.simulator.service import Settings
from tollbook.simulator.vendor import KEY_PREFIX

__all__ = [
    "ENDINGS",
    "FAULTS",
    "KEY_PREFIX",
    "Billed",
    "Books",
    "Ended",
    "Received",
    "Rule",
    "Settings",
    "Simulator",
    "When",
    "account_of",
    "load_rules",
    "read_books",
    "read_endings",
]
