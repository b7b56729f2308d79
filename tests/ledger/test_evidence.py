"""Several evidences of one answer: one counts, whatever the order in which they came."""

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from ledger_story import START, Story, load

from tollbook.core.faults import NotFound
from tollbook.journal.entry import Attempt, Close, Request, RequestEntry, Settlement, SpanEvidence
from tollbook.ledger.loader import Loader
from tollbook.ledger.report import report
from tollbook.ledger.spans import ingest_status, requests_of_trace
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace

INGEST = "ingest-20261123T164000Z-00000009"
ANSWER = "chatcmpl-0123456789abcdef"


def tell_span(story: Story, name: str, tokens: int, **facts: Any) -> str:
    """One span in the book: its request id. `name` is its id's first digit."""
    number = f"{int(name, 16):012x}"
    request_id = f"0199e0c5-0000-7000-8000-{number}"
    tenant = facts.get("tenant", "acme")
    usage = None if facts.get("grade") == "bare" else {"input": tokens, "output": 1}
    rating = None if usage is None else story.rating(f"0.{tokens:04d}")
    settled = Settlement(
        opened=START, sequence=-1, outcome="ok", basis="provider_reported", usage=usage,
        response_id=facts.get("answer"), model_served="m",
    )  # fmt: skip
    entry = RequestEntry(
        request=Request(id=request_id, tenant=tenant, key="k", endpoint="otlp.span",
                        traceparent=f"00-{'a' * 32}-{name * 16}-01"),
        attempt=Attempt(number=1, vendor="openai", vendor_key="", model_sent="m"),
        settlement=settled, rating=rating, close=Close(outcome="ok", basis="provider_reported"),
        span=SpanEvidence(
            trace_id="a" * 32, span_id=name * 16, dialect=facts.get("dialect", "otel-1.37"), operation="chat",
            grade=facts.get("grade", "complete"), content=facts.get("content", name * 64), parent=facts.get("parent"),
        ),
    )  # fmt: skip
    story.put("span.settled", entry, INGEST)
    return request_id


def sums(root: Path) -> tuple[Any, ...]:
    total = report(root, [])["total"]
    rows = report(root, ["source"])["rows"]
    sources = {row["dimensions"]["source"]: row["requests"] for row in rows if row["requests"]}
    return total["requests"], total["attempts"], total["usage"], total["amounts"], sources


def told_in_order(directory: Path, steps: list[Any], *, apart: bool) -> tuple[Any, ...]:
    """What a book says to which these things were told in this order; `apart`, one position and one load each."""
    story = Story()
    batches = []
    for step in steps:
        step(story)
        if apart:
            batches.append(story.heads())
    if not apart:
        batches.append(story.heads())
    root = load(directory, batches[0])
    for batch in batches[1:]:
        with Loader(root) as loader:
            loader.load([batch])
    assert check_totals(root).different == []
    return sums(root)


def gateway(story: Story) -> None:
    story.settle(story.open(), response_id=ANSWER)


SPANS = [
    lambda story: tell_span(story, "1", 10, answer=ANSWER),
    lambda story: tell_span(story, "2", 20, answer=ANSWER, grade="partial"),
    lambda story: tell_span(story, "1", 10, answer=ANSWER),
]


@pytest.mark.parametrize("apart", [True, False])
def test_what_the_gateway_recorded_counts_whatever_came_first(tmp_path: Path, *, apart: bool) -> None:
    """One request seen by the gateway and told of by three spans is one request with the gateway's numbers."""
    found = {
        repr(told_in_order(tmp_path / str(number), list(order), apart=apart))
        for number, order in enumerate(list(permutations([gateway, *SPANS]))[::9])
    }
    assert len(found) == 1
    assert "{'gateway': 1}" in found.pop()


@pytest.mark.parametrize("apart", [True, False])
def test_of_several_spans_the_best_counts_whatever_came_first(tmp_path: Path, *, apart: bool) -> None:
    """The complete one with ten tokens, once, though it came twice and a partial one with twenty came too."""
    found = {
        repr(told_in_order(tmp_path / str(number), list(order), apart=apart))
        for number, order in enumerate(list(permutations(SPANS))[::2])
    }
    assert len(found) == 1
    assert "{'input': 10, 'output': 1}" in found.pop()


@pytest.mark.parametrize("first", [0, 1])
def test_a_parent_with_the_sum_does_not_count(tmp_path: Path, first: int) -> None:
    """A root span that repeats its child's usage is dropped, whether it comes before or after."""
    steps = [
        lambda story: tell_span(story, "3", 70),
        lambda story: tell_span(story, "4", 30, parent="3" * 16),
        lambda story: tell_span(story, "5", 40, parent="3" * 16),
    ]
    requests, _, usage, _, _ = told_in_order(tmp_path, steps[first:] + steps[:first], apart=True)
    assert (requests, usage["input"]) == (2, 70)


def test_the_same_answer_of_two_tenants_is_a_finding_and_no_merge(tmp_path: Path) -> None:
    """Another tenant's span neither takes nor changes a request, and the status names the answer."""
    story = Story()
    gateway(story)
    tell_span(story, "6", 99, answer=ANSWER, tenant="globex")
    root = load(tmp_path, story.heads())
    tenants = {row["dimensions"]["tenant"]: row["requests"] for row in report(root, ["tenant"])["rows"]}
    assert tenants == {"acme": 1, "globex": 1}
    assert ingest_status(root)["shared_answers"] == [{"response_id": ANSWER, "tenants": ["acme", "globex"]}]


def test_short_response_ids_identify_nothing(tmp_path: Path) -> None:
    """Some servers number their answers from 1 or draw from a thousand: two spans with such an id are two requests."""
    story = Story()
    tell_span(story, "7", 1, answer="chatcmpl-123")
    tell_span(story, "8", 1, answer="chatcmpl-123")
    assert sums(load(tmp_path, story.heads()))[0] == 2


def test_a_trace_shows_both_evidences(tmp_path: Path) -> None:
    """The gateway's request lists the span beside it; the span's own id says what counts instead."""
    story = Story()
    gateway(story)
    span = tell_span(story, "9", 11, answer=ANSWER, dialect="openinference")
    root = load(tmp_path, story.heads())
    (row,) = report(root, ["source", "dialect"])["rows"]
    assert row["dimensions"] == {"source": "gateway", "dialect": None}
    with pytest.raises(NotFound, match="counted as another"):
        trace(root, span)
    with pytest.raises(NotFound):
        requests_of_trace(root, "a" * 32)


def test_a_counted_span_can_be_told(tmp_path: Path) -> None:
    """Its source, dialect and grade stand in the trace; its trace lists it; the report tells it apart."""
    story = Story()
    span = tell_span(story, "9", 11, answer=ANSWER, dialect="openinference")
    root = load(tmp_path, story.heads())
    told = trace(root, span)
    assert told["request"]["source"] == "span"
    assert [(one["dialect"], one["grade"]) for one in told["evidence"]] == [("openinference", "complete")]
    assert told["attempts"][0]["amount"] == "0.0011"
    assert [one["request_id"] for one in requests_of_trace(root, "a" * 32)["requests"]] == [span]
    (row,) = report(root, ["source", "dialect"])["rows"]
    assert row["dimensions"] == {"source": "span", "dialect": "openinference"}
