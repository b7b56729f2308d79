"""Every operation in every form, and each way in which it can end: what is on the wire, what is in the books."""

import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from simulator_cases import CASES, OPERATIONS, STREAMS, Case

from tollbook.core.clock import SECOND
from tollbook.simulator import ENDINGS, FAULTS, Books, Settings, Simulator
from tollbook.simulator.catalogue import ROUTES
from tollbook.simulator.rulebook import Rulebook
from tollbook.simulator.service import Service

MANUAL = pathlib.Path(__file__).parent.parent.parent / "docs" / "simulator.md"
ATTEMPT = "01940000-0000-7000-8000-000000000001"
NO_CONTENT = {"embeddings", "embed", "rerank"}


@pytest.fixture(scope="module")
def vendor() -> Iterator[Simulator]:
    with Simulator(seed=5) as running:
        yield running


@pytest.fixture
def send(vendor: Simulator, exchange: Any) -> Any:
    vendor.reset()
    return lambda case, *commands, headers="": exchange(vendor.url, case.request(*commands, headers=headers), 1)


def only(vendor: Simulator) -> tuple[Any, Any, Any]:
    """The one line of each book, the bill None when there is none."""
    deadline = time.monotonic() + 5
    while not vendor.books.ended and time.monotonic() < deadline:
        time.sleep(0.005)
    (received,), (ended,) = vendor.books.received, vendor.books.ended
    billed = vendor.books.billed
    assert len(billed) <= 1 and ended.billed == bool(billed)
    return received, ended, billed[0] if billed else None


def test_no_operation_is_left_out() -> None:
    """The cases are all the operations there are."""
    assert {(case.vendor, case.operation) for case in CASES} == OPERATIONS


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_is_in_all_books(vendor: Simulator, send: Any, case: Case) -> None:
    """Received with its ids, format and operation; ended as answered; billed with counts in plain terms."""
    answer = send(case, headers=f"x-tollbook-attempt-id: {ATTEMPT}.3\r\n")
    received, ended, billed = only(vendor)
    assert answer.status == 200 and answer.end == "fin"
    assert (received.vendor, received.operation) == (case.vendor, case.operation)
    assert received.attempt_id == ended.attempt_id == billed.attempt_id == f"{ATTEMPT}.3"
    assert received.vendor_request_id == ended.vendor_request_id == billed.vendor_request_id
    assert (ended.status, ended.ending, billed.complete) == (200, "answered", True)
    assert (billed.format, billed.operation) == (received.format, case.operation)
    assert billed.counts and all(billed.counts.values()) and billed.usage
    assert (billed.amount == "0") is (case.vendor == "vllm")
    if case.vendor not in ("gemini", "cohere"):
        assert received.vendor_request_id in answer.data.decode("latin-1")


@pytest.mark.parametrize("status", ["400", "401", "429", "500", "503"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_refusal_is_the_vendors_and_free(vendor: Simulator, send: Any, case: Case, status: str) -> None:
    """The status, a JSON body of the vendor's shape, the wait of a 429; nothing is billed."""
    answer = send(case, f"fault={status}")
    _, ended, billed = only(vendor)
    assert (answer.status, ended.status, ended.ending, billed) == (int(status), int(status), "answered", None)
    assert answer.headers.get("retry-after") == ("1" if status == "429" else None)
    body = answer.json
    assert body.get("error", body)["message"]
    assert ("x-amzn-errortype" in answer.headers) is (case.vendor == "bedrock")


@pytest.mark.parametrize(("fault", "end"), [("cut", "reset"), ("cut_fin", "fin")])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_breaks_off(vendor: Simulator, send: Any, case: Case, fault: str, end: str) -> None:
    """In the middle, by RST or FIN: the HTTP message is incomplete, the work is billed."""
    answer = send(case, f"fault={fault}")
    _, ended, billed = only(vendor)
    assert answer.status == 200 and answer.end == end
    assert (ended.ending, billed.complete) == ("broken_off", False)
    if case.stream:
        assert not answer.data.endswith(b"0\r\n\r\n")
    else:
        assert len(answer.body) < int(answer.headers["content-length"])


@pytest.mark.parametrize("fault", ["clean_end", "error_event"])
@pytest.mark.parametrize("case", STREAMS, ids=str)
def test_a_stream_ends_without_its_end(vendor: Simulator, send: Any, case: Case, fault: str) -> None:
    """A complete HTTP message that lacks the terminal event, or that has an error in its place."""
    whole = send(case).body
    vendor.reset()
    answer = send(case, f"fault={fault} after=1")
    _, ended, billed = only(vendor)
    assert answer.data.endswith(b"0\r\n\r\n") and (ended.ending, billed.complete) == ("broken_off", False)
    assert len(answer.body) < len(whole)
    told = b"rror" in answer.body[-400:] or b"xception" in answer.body[-400:] or b"ERROR" in answer.body[-400:]
    assert told is (fault == "error_event")


@pytest.mark.parametrize(
    ("fault", "status", "ending", "end"),
    [
        ("drop", None, "unanswered", "reset"),
        ("cut_before_body", 200, "broken_off", "reset"),
        ("accept_then_timeout", None, "unanswered", "silence"),
    ],
)
def test_work_is_billed_although_nothing_arrives(
    vendor: Simulator, exchange: Any, fault: str, status: int | None, ending: str, end: str
) -> None:
    """For every operation: no answer, or no more than its headers, and a bill all the same."""
    for case in CASES:
        vendor.reset()
        answer = exchange(vendor.url, case.request(f"fault={fault}"), 0.1 if end == "silence" else 1)
        _, ended, billed = only(vendor)
        assert (answer.end, ended.status, ended.ending, billed.complete) == (end, status, ending, False), str(case)
        assert answer.body == b""


def test_the_first_byte_can_be_slow_everywhere(vendor: Simulator, exchange: Any) -> None:
    """Every operation, buffered and streamed, waits before its head."""
    for case in CASES:
        start = time.monotonic()
        assert exchange(vendor.url, case.request("fault=slow_first_byte ms=30"), 2).status == 200, str(case)
        assert time.monotonic() - start >= 0.03, str(case)


def test_a_repeated_request_is_two_lines(vendor: Simulator, send: Any) -> None:
    """Two attempts of one request, and two clients with one body: each is received, billed and ended by itself."""
    case = CASES[0]
    for number in (1, 2):
        send(case, headers=f"x-tollbook-attempt-id: {ATTEMPT}.{number}\r\n")
    send(case)
    books = vendor.books
    assert [line.attempt_id for line in books.received] == [f"{ATTEMPT}.1", f"{ATTEMPT}.2", None]
    assert (
        len({line.vendor_request_id for line in books.billed}) == len({line.response_id for line in books.billed}) == 3
    )
    assert [line.ending for line in books.ended] == ["answered"] * 3


def test_a_client_that_leaves_ends_its_request(vendor: Simulator, exchange: Any) -> None:
    """In the middle of a stream, and while its request waits for the one before: one ended line each."""
    vendor.reset()
    case = STREAMS[0]
    request = case.request("chunk_ms=900").replace(b"connection: close\r\n", b"")
    exchange(vendor.url, request + request, 0.3)
    deadline = time.monotonic() + 5
    while len(vendor.books.ended) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [line.ending for line in vendor.books.ended] == ["client_gone"] * 2
    assert sorted(line.billed for line in vendor.books.ended) == [False, True]
    assert {line.ending for line in vendor.books.ended} <= set(ENDINGS)


def usage_faults() -> list[str]:
    return [name for name in FAULTS if name.startswith(("usage_", "delta_"))]


def effects(case: Case) -> list[str]:
    """The faults of usage that change an answer."""

    def answer(*commands: str) -> bytes:
        head, _, body = case.request("output=6", "chunk_tokens=2", "cache_read=3", *commands).partition(b"\r\n\r\n")
        lines = (line.partition(b": ") for line in head.split(b"\r\n")[1:])
        path, _, query = case.path.partition("?")
        # A vendor of its own for each, with a clock that stands still: only the fault can make a difference.
        service = Service(Settings(seed=5), Rulebook(5), Books(), clock=lambda: SECOND)
        call = service.call("POST", path, {name: value for name, _, value in lines}, True, True, query)
        call.body = body
        reply = service.reply(call)
        return reply.head + b"".join(piece for piece, _ in reply.pieces)

    plain = answer()
    return [name for name in usage_faults() if answer(f"fault={name}") != plain]


def rows(heading: str) -> list[list[str]]:
    """The rows of the manual's table under a heading, each as its cells."""
    section = MANUAL.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_manual_lists_every_path() -> None:
    """One row for each operation of each vendor, with all its paths."""
    paths: dict[tuple[str, str, str], list[str]] = {}
    for route in ROUTES.table:
        target = route.target
        key = (target.vendor.name, target.vendor.format, target.name)
        paths.setdefault(key, []).append(f"`{route.method} {route.path}`")
    assert rows("Formats") == [[*key, "<br>".join(found)] for key, found in paths.items()]


def test_the_manual_says_which_faults_of_usage_a_form_can_show() -> None:
    """One row for each form of each operation, one column for each fault: what the wire says, measured."""
    measured = []
    for case in CASES:
        shown = effects(case)
        marks = ["yes" if name in shown else "" for name in usage_faults()]
        measured.append([case.vendor, case.operation, "streamed" if case.stream else "buffered", *marks])
    assert rows("Faults of usage") == measured
