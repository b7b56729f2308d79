"""Finding what a text names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_story import Open, Story, load

from tollbook.core.faults import BadInput
from tollbook.core.identity import attempt_id, trace_id_of
from tollbook.journal.line import Line
from tollbook.ledger.find import find
from tollbook.ledger.reader import Reader

pytestmark = pytest.mark.xdist_group("find")

Told = tuple[Reader, Open, Open, Line]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A retried request with ids of all sorts, one that is open, and a reader."""
    story = Story()
    ids: dict[str, Any] = {"client_request_id": "c" * 43, "user": "u" * 43}
    first = story.open(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", **ids)
    story.settle(first, more=True, rating=story.rating("0.25"), vendor_request_id="req_1")
    settled = story.settle(story.again(first), vendor_request_id="req_2", response_id="chatcmpl-x")
    story.now += 5_000_000_000
    still_open = story.open(tenant="beta")
    with Reader(load(tmp_path_factory.mktemp("find"), story.heads())) as reader:
        yield reader, first, still_open, settled


def hits(reader: Reader, text: str, **bounds: Any) -> list[tuple[str, str, Any, Any]]:
    return [(hit["what"], hit["by"], hit["request_id"], hit["number"]) for hit in find(reader, text, **bounds)["hits"]]


def test_ids_of_requests_and_attempts_are_found(told: Told) -> None:
    """A whole request id, its beginning in any case, an attempt id: settled or open."""
    reader, first, still_open, _ = told
    for request in (first.request.id, still_open.request.id):
        assert ("request", "request_id", request, None) in hits(reader, request)
        assert ("attempt", "attempt_id", request, 1) in hits(reader, attempt_id(request, 1))
        assert ("request", "request_id", request, None) in hits(reader, f" {request[:13].upper()} ")
    assert hits(reader, first.request.id[:13]) != hits(reader, still_open.request.id[:13])


def test_trace_ids_are_found(told: Told) -> None:
    """The caller's trace id, and the one derived from the request id where the caller sent none."""
    reader, first, still_open, _ = told
    assert hits(reader, "0AF7651916CD43DD8448EB211C80319C") == [("request", "trace_id", first.request.id, None)]
    assert hits(reader, trace_id_of(still_open.request.id)) == [("request", "trace_id", still_open.request.id, None)]
    assert hits(reader, trace_id_of(first.request.id)) == []


def test_the_vendors_ids_are_found(told: Told) -> None:
    """The vendor's request id and the id in its answer lead to the attempt."""
    reader, first, _, _ = told
    assert hits(reader, "req_1") == [("attempt", "vendor_request_id", first.request.id, 1)]
    assert hits(reader, "chatcmpl-x") == [("attempt", "response_id", first.request.id, 2)]


def test_keyed_digests_find_what_the_caller_called_it(told: Told) -> None:
    """The caller's own request id and a user are found by the digests that whoever holds the keys makes."""
    reader, first, _, _ = told
    assert hits(reader, "order-7", digests=["c" * 43]) == [("request", "client_request_id", first.request.id, None)]
    assert hits(reader, "bob", digests=["u" * 43]) == [("request", "user", first.request.id, None)]
    assert hits(reader, "order-7") == []


def test_amounts_are_found_exactly(told: Told) -> None:
    """The amount of an attempt, a charge or a whole request, written with or without a dollar sign and zeros."""
    reader, first, _, _ = told
    request = first.request.id
    assert ("attempt", "amount", request, 1) in hits(reader, "$0.250")
    assert ("charge", "amount", request, 2) in hits(reader, "0.000003")
    assert hits(reader, "0.2500045") == [("request", "amount", request, None)]
    assert hits(reader, "0.2500045000001") == []
    assert hits(reader, "9" * 40) == []


def test_digests_of_entries_and_positions_are_found(told: Told) -> None:
    """An entry's digest leads to what it settled; a number to the position."""
    reader, first, _, settled = told
    assert ("attempt", "entry_digest", first.request.id, 2) in hits(reader, settled.digest)
    assert ("position", "number", None, 1) in hits(reader, "1")


def test_a_tenant_finds_only_its_own(told: Told) -> None:
    """Bound to a tenant, nothing of another's is found by any route, nor the book's positions."""
    reader, first, _, settled = told
    texts = [first.request.id, attempt_id(first.request.id, 1), "req_1", "chatcmpl-x", "0.25", settled.digest, "1"]
    for text in [*texts, first.request.id[:8], "0af7651916cd43dd8448eb211c80319c"]:
        found = find(reader, text, digests=["c" * 43, "u" * 43], tenant="beta")["hits"]
        assert all(hit["tenant"] == "beta" for hit in found)
        assert first.request.id not in str(found)


@pytest.mark.parametrize("text", ["", "   ", "x" * 300])
def test_a_text_that_names_nothing_is_refused(told: Told, text: str) -> None:
    """Nothing, or more than any id is long, is a mistake of the caller."""
    with pytest.raises(BadInput, match="can be found"):
        find(told[0], text)


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "\x00", "\u0660\u0661", "🙂" * 9])
def test_a_strange_text_finds_nothing(told: Told, text: str) -> None:
    """Whatever people paste is a value, never part of a statement."""
    assert hits(told[0], text) == []


def test_a_book_without_rows_has_no_hits(tmp_path: Path) -> None:
    """An empty ledger answers with no hits."""
    assert find(load(tmp_path, Story().heads()), "abcd")["hits"] == []
