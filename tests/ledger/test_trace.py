"""The story of one request."""

import json
from pathlib import Path

import pytest
from ledger_story import BOOK, WORKER, Story, load

from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.identity import span_id_of, trace_id_of
from tollbook.ledger.trace import TENANT, trace

REQUEST_FIELDS = [
    "id",
    "tenant",
    "key",
    "workload",
    "user",
    "template",
    "tags",
    "trace_id",
    "span_id",
    "parent_request_id",
    "client_request_id",
    "model_asked",
    "stream",
    "route",
    "policy",
    "reason",
    "opened_at",
    "closed_at",
    "occurred_at",
    "recorded_at",
    "outcome",
    "amount_usd",
    "amount",
    "currency",
    "amounts",
    "basis",
    "maturity",
    "source",
]
ATTEMPT_FIELDS = [
    "number",
    "reason",
    "vendor",
    "vendor_key",
    "model_sent",
    "model_served",
    "region",
    "tier",
    "status",
    "outcome",
    "vendor_request_id",
    "opened_at",
    "first_byte_at",
    "settled_at",
    "usage",
    "usage_basis",
    "usage_raw",
    "amount_usd",
]


def test_the_object_has_the_published_fields_in_their_order(tmp_path: Path) -> None:
    """The contract's fields come first and in its order; what is added stands after them."""
    story = Story()
    opened = story.open()
    story.settle(opened)
    told = trace(load(tmp_path, story.heads()), opened.request.id)
    assert list(told) == ["request", "attempts", "batch", "entries", "adjustments", "evidence", "provenance"]
    assert list(told["request"])[: len(REQUEST_FIELDS)] == REQUEST_FIELDS
    assert list(told["attempts"][0])[: len(ATTEMPT_FIELDS)] == ATTEMPT_FIELDS
    assert list(told["attempts"][0]["charges"][0])[:3] == ["class", "quantity", "unit_price_usd"]
    assert [list(entry) for entry in told["entries"]] == [["lane", "sequence", "kind", "digest"]] * 2


def test_a_retried_request_is_told_with_all_its_attempts(tmp_path: Path) -> None:
    """Both attempts, what they used and cost, and the four entries that say so; the sum leaves out the unbilled."""
    story = Story()
    first = story.open(tags={"team": "a"}, tags_digest={"case": "d" * 43}, user="u" * 43)
    story.fail(first)
    second = story.again(first)
    last = story.settle(second, usage={"input": 10, "output": 0, "web_searches": 2}, first_byte=story.now)
    told = trace(load(tmp_path, story.heads()), first.request.id)
    request, attempts = told["request"], told["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["rate_limited", "ok"]
    assert [attempt["usage"] for attempt in attempts] == [None, {"input": 10, "output": 0, "web_searches": 2}]
    assert request["amount_usd"] == request["amount"] == "0.0000045"
    assert request["amounts"] == {
        "list": "0.0000045",
        "expected": "0.0000045",
        "effective": None,
        "recharge": "0.0000045",
    }
    assert request["tags"] == {"team": "a", "case": "d" * 43}
    assert request["trace_id"] == trace_id_of(first.request.id)
    assert request["span_id"] == span_id_of(first.request.id)
    assert request["policy"] == {"id": "fast", "version": "0123456789ab"}
    assert request["opened_at"] == format_instant(first.recorded)
    assert request["closed_at"] == format_instant(last.recorded)
    assert [entry["kind"] for entry in told["entries"]] == [
        "request.opened",
        "attempt.settled",
        "attempt.opened",
        "request.settled",
    ]
    assert told["entries"][-1] == {"lane": WORKER, "sequence": 3, "kind": "request.settled", "digest": last.digest}
    assert told["provenance"]["books"] == [BOOK]
    assert told["provenance"]["position"]["number"] == 1


def test_unknown_is_null_and_never_zero(tmp_path: Path) -> None:
    """An unpriced line leaves amounts unknown, also the request's; the priced line keeps its own."""
    story = Story()
    opened = story.open()
    story.settle(opened, rating=story.rating("0.5", None, unpriced="no_row"))
    told = trace(load(tmp_path, story.heads()), opened.request.id)
    assert told["request"]["amount_usd"] is None
    assert told["attempts"][0]["amount_usd"] is None
    assert told["attempts"][0]["unpriced"] == "no_row"
    assert [line["amount_usd"] for line in told["attempts"][0]["charges"]] == ["0.5", None]


def test_an_attempt_whose_bill_is_unknown_leaves_the_request_unknown(tmp_path: Path) -> None:
    """A timed-out attempt that the vendor may bill makes the whole request's amount unknown."""
    story = Story()
    first = story.open()
    story.settle(first, more=True, rated=False, outcome="timeout", usage=None, basis="unreported", billable=None)
    story.settle(story.again(first, because="timeout"))
    told = trace(load(tmp_path, story.heads()), first.request.id)
    assert told["request"]["amount"] is None
    assert told["attempts"][1]["amount"] == "0.0000045"


def test_another_currency_is_not_dollars(tmp_path: Path) -> None:
    """`amount_usd` is null where the currency is another; amount and currency stand beside it."""
    story = Story()
    opened = story.open()
    story.settle(opened, rating=story.rating("1.5", currency="EUR"))
    told = trace(load(tmp_path, story.heads()), opened.request.id)
    for part in (told["request"], told["attempts"][0], told["attempts"][0]["charges"][0]):
        assert (part["amount_usd"], part["amount"], part["currency"]) == (None, "1.5", "EUR")
    assert told["attempts"][0]["charges"][0]["unit_price_usd"] is None


def test_an_open_request_shows_open(tmp_path: Path) -> None:
    """What is on its way is told from its opening: outcome `open`, and nothing that is not known yet."""
    story = Story()
    opened = story.open()
    told = trace(load(tmp_path, story.heads()), opened.request.id)
    assert (told["request"]["outcome"], told["attempts"][0]["outcome"]) == ("open", "open")
    assert told["request"]["amount"] is None and told["request"]["closed_at"] is None
    assert told["attempts"][0]["settled_at"] is None and told["attempts"][0]["usage"] is None
    assert [entry["kind"] for entry in told["entries"]] == ["request.opened"]


def test_a_refused_request_has_no_attempts_and_costs_nothing(tmp_path: Path) -> None:
    """A request that was refused before any attempt costs nothing: that is known, and is 0."""
    story = Story()
    line = story.close()
    told = trace(load(tmp_path, story.heads()), json.loads(line.bytes)["request"]["id"])
    assert told["attempts"] == []
    assert (told["request"]["outcome"], told["request"]["error"]) == ("refused", "no_model")
    assert told["request"]["amount"] == "0"
    assert told["provenance"]["control_totals"] == {"requests": 1, "attempts": 0, "amounts": {}}
    assert told["request"]["policy"] == {"id": None, "version": None}


def test_the_callers_trace_is_kept(tmp_path: Path) -> None:
    """A valid traceparent gives the trace id; the span is ours."""
    story = Story()
    opened = story.open(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    story.settle(opened)
    told = trace(load(tmp_path, story.heads()), opened.request.id)
    assert told["request"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"


def test_a_tenant_sees_no_vendor_key_no_prices_and_no_raw_usage(tmp_path: Path) -> None:
    """The tenant's view has only what the tenant is charged."""
    story = Story()
    opened = story.open()
    lines = [("input", 10, "0.1", "1", "0.7", "2.5", "row/secret")]
    story.settle(opened, rating=story.rating("0").__class__(book=BOOK, adapter="a/1", charges=lines), raw=None)
    root = load(tmp_path, story.heads())
    told = trace(root, opened.request.id, view=TENANT, tenant="acme")
    text = json.dumps(told)
    assert told["request"]["amount"] == told["request"]["amount_usd"] == "2.5"
    assert told["request"]["amounts"] == {"recharge": "2.5"}
    for withheld in ("0.7", "row/secret", BOOK, "vendor_key", "usage_raw", "unit_price", "price_row", '"list"'):
        assert withheld not in text
    assert trace(root, opened.request.id)["request"]["amount"] == "0.7"


def test_another_tenants_request_does_not_exist(tmp_path: Path) -> None:
    """A foreign request and one outside the key's workloads are not found, in the very same words."""
    story = Story()
    opened = story.open(workload="search")
    story.settle(opened)
    root = load(tmp_path, story.heads())
    unknown = "01999999-9999-7999-8999-999999999999"
    with pytest.raises(NotFound) as absent:
        trace(root, unknown, tenant="other")
    for bounds in ({"tenant": "other"}, {"tenant": "acme", "workloads": ["support"]}):
        with pytest.raises(NotFound) as foreign:
            trace(root, opened.request.id, **bounds)  # type: ignore[arg-type]
        assert str(foreign.value).replace(opened.request.id, unknown) == str(absent.value)
    assert trace(root, opened.request.id, tenant="acme", workloads=["search"])["request"]["id"] == opened.request.id


def test_a_text_that_is_no_request_id_is_said_so(tmp_path: Path) -> None:
    """The fault names the text and the command that takes other ids."""
    with pytest.raises(BadInput, match=r"'nonsense'.*tollbook find"):
        trace(load(tmp_path, Story().heads()), "nonsense")
