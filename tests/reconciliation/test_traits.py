"""Which cause an attempt gives reason for."""

import pytest

from tollbook.reconciliation.ours import Place
from tollbook.reconciliation.traits import Odd, cause_of

PLACE = Place("key_a", None, "m", None, "standard")


def odd(**facts: object) -> Odd:
    known = {
        "request_id": "r", "occurred": 0, "place": PLACE, "outcome": "ok", "next": None, "basis": "unreported",
        "billable": True, "usage": {}, "bound": {}, "body_bytes": 100, "output_limit": None, "charged": False,
        "twice": False,
    }  # fmt: skip
    return Odd(**(known | facts))  # type: ignore[arg-type]


REPORTED = {"basis": "provider_reported"}


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({}, "usage_missing"),
        ({"basis": "estimated"}, "estimate_used"),
        ({"outcome": "client_gone", "basis": "estimated"}, "aborted_stream_billed"),
        ({"outcome": "client_gone", **REPORTED, "usage": {"output": 700}}, None),
        ({"outcome": "client_gone", **REPORTED, "usage": {"output": 1}}, "placeholder_output"),
        ({"outcome": "timeout", "next": "retry"}, "retry_billed_twice"),
        ({"outcome": "timeout", "next": "fallback"}, "fallback_billed"),
        ({"outcome": "truncated", "next": "answer"}, "usage_missing"),
        ({"outcome": "truncated", **REPORTED, "usage": {"output": 90}}, None),
        ({"outcome": "vendor_error"}, "failed_request_billed"),
        ({"outcome": "vendor_error", "charged": True}, "failed_request_priced"),
        ({"outcome": "not_sent"}, None),
        ({"outcome": "not_sent", "charged": True}, "never_sent"),
        ({"twice": True, "outcome": "timeout"}, "duplicate_record"),
    ],
)
def test_each_attempt_gives_reason_for_one_cause(facts: dict[str, object], cause: str | None) -> None:
    """One that was read to its end though its client left gives none: its usage is known."""
    assert cause_of(odd(**facts)) == cause
