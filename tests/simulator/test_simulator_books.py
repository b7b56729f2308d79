"""The vendor's books: independent of the client, complete under aborts, exact."""

import json
import pathlib
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from tollbook.simulator import Settings, Simulator, account_of, read_books

ATTEMPT = "01940000-0000-7000-8000-000000000001.2"


def wait_for_bills(simulator: Simulator, count: int) -> None:
    """Until the vendor has billed as much, five seconds at most."""
    deadline = time.monotonic() + 5
    while len(simulator.books.billed) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def streaming_request(text: str) -> bytes:
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "stream": True}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-sim-a\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def leave_after(simulator: Simulator, text: str, received: bytes) -> None:
    """Ask for a stream, read until some bytes have come, and hang up."""
    address = urlsplit(simulator.url)
    with socket.create_connection((address.hostname, address.port), 5) as connection:
        connection.sendall(streaming_request(text))
        seen = b""
        while received not in seen:
            seen += connection.recv(65536)


def test_both_books_tell_of_one_request(ask: Any, simulator: Simulator) -> None:
    """The ids of the gateway and of the vendor, the account and never the key, the vendor's own usage, the amount."""
    headers = {"x-tollbook-attempt-id": ATTEMPT, "authorization": "Bearer sk-sim-secret"}
    answer = ask("[[sim input=1000 output=100 cache_read=10]]", headers=headers)
    (received,), (billed,) = simulator.books.received, simulator.books.billed
    assert (received.vendor, received.model_asked) == ("openai", "gpt-4o")
    assert received.vendor_request_id == billed.vendor_request_id == answer.headers["x-request-id"]
    assert received.attempt_id == billed.attempt_id == ATTEMPT
    assert received.request_id == billed.request_id == ATTEMPT[:-2]
    assert received.account == billed.account == account_of("sk-sim-secret")
    assert billed.response_id == answer.json["id"] and billed.usage == answer.json["usage"]
    # 1,000 x 2.50 + 10 x 1.25 + 100 x 10.00 dollars per million
    assert (billed.amount, billed.currency, billed.complete) == ("0.0035125", "USD", True)
    assert "secret" not in repr((received, billed))


def test_the_anthropic_bill_is_in_its_own_words(ask: Any, simulator: Simulator) -> None:
    """Disjoint classes, cache writes priced by their time to live, thinking as output."""
    text = "[[sim input=100 cache_read=1000 cache_write_5m=10 cache_write_1h=20 output=5 reasoning=3]]"
    usage = ask(text, vendor="anthropic").json["usage"]
    (billed,) = simulator.books.billed
    assert billed.usage == usage
    assert (usage["input_tokens"], usage["cache_creation_input_tokens"], usage["output_tokens"]) == (100, 30, 8)
    # 100 x 1.00 + 1,000 x 0.10 + 10 x 1.25 + 20 x 2.00 + 8 x 5.00 dollars per million
    assert billed.amount == "0.0002925"


@pytest.mark.parametrize(("rule", "output"), [("whole", 100), ("generated", 3)])
def test_a_client_that_leaves_is_billed_by_the_vendors_rule(rule: Any, output: int) -> None:
    """The whole answer by default; with the other setting, what was generated when the client left."""
    with Simulator(settings=Settings(abort_billing=rule, chunk_ms=20, chunk_tokens=1)) as simulator:
        leave_after(simulator, "[[sim input=50 output=100]]", b'"content":"')
        wait_for_bills(simulator, 1)
        (billed,) = simulator.books.billed
        usage = billed.usage
        assert usage["prompt_tokens"] == 50 and not billed.complete
        completion = usage["completion_tokens"]
        assert isinstance(completion, int)
        assert completion == output if rule == "whole" else completion < 50


@pytest.mark.parametrize("fault", ["cut", "cut_fin", "clean_end", "error_event"])
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_a_cut_stream_is_billed_by_the_vendors_rule(ask: Any, vendor: str, fault: str) -> None:
    """A stream the vendor itself cuts after three tokens: the whole answer, or those three."""
    outputs = []
    for rule in ("whole", "generated"):
        with Simulator(settings=Settings(abort_billing=rule, chunk_tokens=1)) as simulator:  # type: ignore[arg-type]
            ask(f"[[sim output=10 fault={fault} after=3]]", vendor=vendor, stream=True, to=simulator)
            (billed,) = simulator.books.billed
            assert not billed.complete
            outputs.append(billed.usage.get("completion_tokens", billed.usage.get("output_tokens")))
    assert outputs == [10, 3]


@pytest.mark.parametrize("reads", [True, False])
def test_generation_waits_for_a_client_that_does_not_read(reads: bool) -> None:
    """Eleven megabytes at full speed into a small buffer: generation stops, is billed so far when the client leaves,
    and goes on when it reads."""
    settings = Settings(abort_billing="generated", chunk_tokens=20_000, chunk_ms=1)
    with Simulator(settings=settings) as simulator, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        address = urlsplit(simulator.url)
        connection.connect((address.hostname, address.port))
        connection.sendall(streaming_request("[[sim output=2000000]]"))
        time.sleep(0.4)
        assert simulator.books.billed == []
        tail = b""
        while reads and not tail.endswith(b"0\r\n\r\n"):
            tail = tail[-100:] + connection.recv(2**20)
        connection.close()
        wait_for_bills(simulator, 1)
        (billed,) = simulator.books.billed
        assert billed.complete is reads is (billed.usage["completion_tokens"] == 2_000_000)


def test_every_abandoned_stream_is_billed_once(simulator: Simulator) -> None:
    """A hundred clients that leave at once: a hundred lines received, a hundred billed, no two with one id."""
    for number in range(100):
        leave_after(simulator, f"[[sim output=50 chunk_ms=5]] {number}", b"HTTP/1.1")
    wait_for_bills(simulator, 100)
    time.sleep(0.05)
    received, billed = simulator.books.received, simulator.books.billed
    assert sorted(line.vendor_request_id for line in received) == sorted(line.vendor_request_id for line in billed)
    assert len({line.vendor_request_id for line in billed}) == 100


def test_a_request_is_received_when_its_headers_are(simulator: Simulator) -> None:
    """A client that dies after the headers, in the middle of the body, stands in the received book, unbilled."""
    address = urlsplit(simulator.url)
    head = f"POST /v1/messages HTTP/1.1\r\nx-tollbook-attempt-id: {ATTEMPT}\r\ncontent-length: 100\r\n\r\n{{"
    with socket.create_connection((address.hostname, address.port), 5) as connection:
        connection.sendall(head.encode())
        deadline = time.monotonic() + 5
        while not simulator.books.received and time.monotonic() < deadline:
            time.sleep(0.01)
        (received,) = simulator.books.received
    assert (received.attempt_id, received.vendor, received.model_asked) == (ATTEMPT, "anthropic", None)
    assert simulator.books.billed == []


def test_the_bill_is_written_before_the_answer_ends(ask: Any, tmp_path: pathlib.Path) -> None:
    """Whoever has seen the end of an answer finds it billed, buffered and streamed, on file at once."""
    with Simulator(books=tmp_path) as simulator:
        for number in range(40):
            ask(stream=bool(number % 2), to=simulator)
            assert len(read_books(tmp_path)[1]) == number + 1


def test_books_on_file_are_continued(ask: Any, tmp_path: pathlib.Path) -> None:
    """A simulator started again appends, and gives no id twice; `reset` empties the files."""
    for _ in range(2):
        with Simulator(books=tmp_path, seed=3) as simulator:
            ask(to=simulator)
    received, billed = read_books(tmp_path)
    assert len({line.vendor_request_id for line in received}) == len(billed) == 2
    with Simulator(books=tmp_path) as simulator:
        simulator.reset()
        assert simulator.books.received == simulator.books.billed == []


def test_no_id_is_given_twice_over_runs(ask: Any, exchange: Any, tmp_path: pathlib.Path) -> None:
    """Not even when a run has given more ids than it received requests."""
    for looks in (3, 0):
        with Simulator(books=tmp_path, seed=3) as simulator:
            for _ in range(looks):
                exchange(simulator.url, b"GET /simulator/books HTTP/1.1\r\nconnection: close\r\n\r\n")
            for _ in range(4):
                ask(to=simulator)
    assert len({line.vendor_request_id for line in read_books(tmp_path)[0]}) == 8


def test_refused_requests_are_received_and_not_billed(ask: Any, simulator: Simulator) -> None:
    """Unknown key, no key, unknown model, missing member, broken body, unknown path: the vendor's own errors."""
    assert ask(headers={"authorization": "Bearer sk-real"}).status == 401
    assert ask(headers={"authorization": ""}, vendor="anthropic").status == 401
    unknown = ask(model="gpt-99")
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    assert ask(vendor="anthropic", max_tokens=None).json["error"]["message"] == "max_tokens: Field required"
    assert ask(messages=[]).status == ask(messages="x").status == ask(n=2).status == ask(max_tokens=0).status == 400
    assert (len(simulator.books.received), len(simulator.books.billed)) == (8, 0)


def test_the_same_seed_says_the_same(ask: Any) -> None:
    """Ids, texts and counts are a function of the seed and the requests; another seed says something else."""

    def run(seed: int) -> list[Any]:
        with Simulator(seed=seed, clock=lambda: 1_700_000_000_000_000) as simulator:
            answers = [ask(text, vendor=vendor, to=simulator) for text in "ab" for vendor in ("openai", "anthropic")]
            return [answer.data for answer in answers] + [simulator.books.received, simulator.books.billed]

    assert run(1) == run(1) != run(2)


def test_another_seed_gives_another_text(ask: Any) -> None:
    """Not only the ids differ: ten answers to one question under ten seeds are not all alike."""
    texts = set()
    for seed in range(10):
        with Simulator(seed=seed) as simulator:
            texts.add(ask("[[sim output=5]]", to=simulator).json["choices"][0]["message"]["content"])
    assert len(texts) > 5
