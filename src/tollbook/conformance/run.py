"""The whole suite through one gateway."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tollbook.conformance.client import Client
from tollbook.conformance.comparison import Asked, Finding, ask, compare
from tollbook.conformance.record import examine
from tollbook.conformance.suite import Case
from tollbook.core.faults import BadInput
from tollbook.simulator import KEY_PREFIX, Simulator

DIRECT_KEY: Final = f"{KEY_PREFIX}direct"
"""The vendor key of the suite's own calls to the vendor."""
REST_SECONDS: Final = 1.2
"""A gateway that was told to come again later may rest: longer than any `retry-after` of the suite."""


class Result(NamedTuple):
    """How many cases were asked, and what differed."""

    cases: int
    findings: list[Finding]


def run(
    gateway: Client, vendor: Simulator, cases: Sequence[Case], progress: Callable[[int, int], None] = lambda *_: None
) -> Result:
    """Ask every case of the vendor directly and through the gateway, and compare.

    Raises BadInput when the gateway cannot be reached, or sends its requests to another vendor: those may cost money,
    so nothing more is sent then.
    """
    direct = Client(vendor.url, DIRECT_KEY)
    findings: list[Finding] = []
    asked: list[tuple[Case, Asked]] = []
    for number, case in enumerate(cases, 1):
        expected = ask(direct, vendor.books, case)
        through = ask(gateway, vendor.books, case)
        _check_vendor(case, through, vendor.url, first=number == 1)
        findings += compare(case, expected, through)
        asked.append((case, through))
        if through.answer.status == 429:
            time.sleep(REST_SECONDS)
        progress(number, 2 * len(cases))
    for number, (case, through) in enumerate(asked, len(cases) + 1):
        findings += examine(case, through, gateway)
        progress(number, 2 * len(cases))
    return Result(len(cases), findings)


def _check_vendor(case: Case, through: Asked, vendor: str, *, first: bool) -> None:
    if through.received:
        return
    status = through.answer.status
    told = through.answer.body[:300].decode("utf-8", "replace")
    if 200 <= status < 300:
        raise BadInput(
            f"{case.name}: the gateway answered {status}, but not from the vendor at {vendor}; nothing more was sent, "
            "because that vendor may bill it. Configure the gateway as `tollbook conformance --print-config` shows"
        )
    if first:
        raise BadInput(
            f"{case.name}: the gateway answered {status} and asked nothing of the vendor at {vendor}: {told!r}. "
            "Configure it as `tollbook conformance --print-config` shows; --formats leaves formats out; "
            "--key-env names the variable with its key"
        )
