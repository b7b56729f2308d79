"""Spans of others, sent over OTLP to a served book: real processes."""

import gzip
import json
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

sys.path.append(str(Path(__file__).parent.parent / "gateway"))

from real_stage import ACME, CONFIG, PATIENCE, RealStage

from tollbook.journal.verify import verify
from tollbook.ledger.report import report
from tollbook.ledger.spans import ingest_status

KEY = "tb-ingest-canary-11aa"
GLOBEX_KEY = "tb-ingest-canary-22bb"


class SpanStage(RealStage):
    """The stage with a door for spans."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.door = f"127.0.0.1:{taken.getsockname()[1]}"
        keys = '[{name: acme-otel, tenant: acme, secret: "env:OTEL_ACME", workload: support},'
        keys += ' {name: globex-otel, tenant: globex, secret: "env:OTEL_GLOBEX"}]'
        super().__init__(directory, f'{CONFIG}ingest: {{http: "{self.door}", body_limit: 1MiB, keys: {keys}}}\n')
        self._secrets |= {"OTEL_ACME": KEY, "OTEL_GLOBEX": GLOBEX_KEY}

    def send(
        self, body: bytes, kind: str = "application/x-protobuf", key: str | None = KEY, encoding: str | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a POST to `/v1/traces`, tried until somebody listens."""
        headers = {"content-type": kind}
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        headers |= {"content-encoding": encoding} if encoding else {}
        until = time.monotonic() + PATIENCE
        while True:
            request = urllib.request.Request(f"http://{self.door}/v1/traces", body, headers)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as refused:
                return refused.code, refused.read()
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.05)

    def counted(self, source: str, requests: int) -> dict[str, Any]:
        """The report of a source, waited for until it has so many requests."""
        until = time.monotonic() + PATIENCE
        while True:
            rows = report(self.reader, ["source", "dialect"])["rows"]
            found = [row for row in rows if row["dimensions"]["source"] == source]
            if sum(row["requests"] for row in found) >= requests:
                return {row["dimensions"]["dialect"]: row for row in found}
            assert time.monotonic() < until, (rows, self.logs())
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpanStage]:
    with SpanStage(tmp_path_factory.mktemp("spans")) as running:
        yield running


def body_of(*spans: dict[str, Any], scope: str = "test") -> bytes:
    """An export request with spans given as `id`, `trace`, attributes and so on."""
    request = ExportTraceServiceRequest()
    scope_spans = request.resource_spans.add().scope_spans.add()
    scope_spans.scope.name = scope
    for facts in spans:
        span = scope_spans.spans.add()
        span.trace_id = bytes.fromhex(facts.get("trace", "ab" * 16))
        span.span_id = bytes.fromhex(facts["id"])
        span.start_time_unix_nano = time.time_ns() - 10**9
        span.end_time_unix_nano = time.time_ns()
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 100,
        }
        for name, value in (attributes | facts.get("attributes", {})).items():
            attribute = span.attributes.add()
            attribute.key = name
            if isinstance(value, int):
                attribute.value.int_value = value
            else:
                attribute.value.string_value = value
    return request.SerializeToString()


def test_a_span_becomes_a_priced_request(stage: SpanStage) -> None:
    """Protobuf, twice, once packed: one request of the key's tenant and workload, priced by our book."""
    body = body_of({"id": "01" * 8, "trace": "01" * 16, "attributes": {"tenant.id": "globex"}})
    assert stage.send(body) == (200, b"")
    assert stage.send(gzip.compress(body), encoding="gzip") == (200, b"")
    row = stage.counted("span", 1)["otel-1.37"]
    assert (row["requests"], row["usage"], row["amount_usd"]) == (1, {"input": 1000, "output": 100}, "0.00021")
    tenants = report(stage.reader, ["source", "tenant", "workload"])["rows"]
    assert {"source": "span", "tenant": "acme", "workload": "support"} in [one["dimensions"] for one in tenants]


def test_json_is_read_as_protobuf_is(stage: SpanStage) -> None:
    """Hexadecimal ids in any case, integers as text, unknown fields ignored, the answer in JSON."""
    span = {
        "traceId": "AA" * 16,
        "spanId": "BB" * 8,
        "startTimeUnixNano": str(time.time_ns()),
        "unheard": {"of": 1},
        "attributes": [
            {"key": "openinference.span.kind", "value": {"stringValue": "LLM"}},
            {"key": "llm.provider", "value": {"stringValue": "openai"}},
            {"key": "llm.model_name", "value": {"stringValue": "gpt-4o-mini"}},
            {"key": "llm.token_count.prompt", "value": {"intValue": "7"}},
            {"key": "llm.token_count.completion", "value": {"intValue": 3}},
        ],
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span, {"traceId": "00" * 16, "spanId": "x"}]}]}]}
    status, answer = stage.send(json.dumps(body).encode(), "application/json; charset=utf-8")
    assert status == 200
    assert json.loads(answer)["partialSuccess"]["rejectedSpans"] == "1"
    until = time.monotonic() + PATIENCE
    while "openinference" not in stage.counted("span", 1):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_is_wrong_is_refused_as_otlp_wants(stage: SpanStage) -> None:
    """Not retryable: no key 401, garbage 400, a bomb 413, another type 415; the process goes on."""
    body = body_of({"id": "05" * 8})
    assert stage.send(body, key=None)[0] == 401
    assert stage.send(body, key=ACME)[0] == 401
    assert stage.send(body[:-3])[0] == 400
    assert stage.send(b"\xff" * 100)[0] == 400
    assert stage.send(b"[1,2", "application/json")[0] == 400
    assert stage.send(b"[" * 100_000, "application/json")[0] == 400
    assert stage.send(gzip.compress(b"\0" * (8 << 20)), encoding="gzip")[0] == 413
    assert stage.send(gzip.compress(body)[:-9], encoding="gzip")[0] == 400
    assert stage.send(body, encoding="br")[0] == 400
    assert stage.send(body, "text/plain")[0] == 415
    assert stage.send(b"") == (200, b"")


def test_a_request_of_the_gateway_and_its_client_span_are_one(stage: SpanStage) -> None:
    """The client's span of a request that went through the gateway is a second evidence, shown beside it."""
    connection = stage.connect()
    question = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {ACME}", "content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(question), headers)
    answer = connection.getresponse()
    request_id = answer.headers["x-tollbook-request-id"]
    response_id = json.loads(answer.read())["id"]
    connection.close()
    attributes = {"gen_ai.response.id": response_id, "gen_ai.usage.input_tokens": 999_999}
    body = body_of({"id": "06" * 8, "trace": "06" * 16, "attributes": attributes})
    assert stage.send(body)[0] == 200
    until = time.monotonic() + PATIENCE
    while not (told := stage.find(request_id))["evidence"]:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert [one["reported"]["input"] for one in told["evidence"]] == [999_999]
    assert told["attempts"][0]["usage"]["input"] < 999_999
    usage = report(stage.reader, ["source"])["rows"]
    assert all(row["usage"].get("input", 0) < 999_999 for row in usage)


def test_spans_that_are_no_inference_leave_no_trace(stage: SpanStage) -> None:
    """Wrappers and tools are counted at the door and make no entry; rejected ids are told."""
    body = body_of({"id": "07" * 8, "attributes": {"gen_ai.operation.name": "invoke_agent"}})
    before = ingest_status(stage.reader)["provenance"]["control_totals"]["received"]
    status, answer = stage.send(body)
    assert (status, ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans) == (200, 0)
    time.sleep(1)
    assert ingest_status(stage.reader)["provenance"]["control_totals"]["received"] == before


def test_a_killed_receiver_loses_nothing_that_it_acknowledged(stage: SpanStage) -> None:
    """Kill -9 again and again while spans come in and are sent again: every acknowledged one is in the book once."""
    acknowledged = set()
    for number in range(60):
        span = f"c{number:015x}"
        if number % 15 == 7:
            os.kill(stage.child("ingesting").pid, signal.SIGKILL)
        for _ in range(2):
            if stage.send(body_of({"id": span, "trace": "cc" * 16}), key=GLOBEX_KEY)[0] == 200:
                acknowledged.add(span)
    assert len(acknowledged) == 60
    until = time.monotonic() + PATIENCE
    while ingest_status(stage.reader)["counted"].get("globex") != 60:
        assert time.monotonic() < until, (ingest_status(stage.reader), stage.logs()[-3000:])
        time.sleep(0.2)


def test_the_book_verifies(tmp_path: Path) -> None:
    """After a stop everything is chained and closed; no key of an emitter is written anywhere."""
    with SpanStage(tmp_path) as stage:
        assert stage.send(body_of({"id": "01" * 8}))[0] == 200
        stage.counted("span", 1)
    assert verify(stage.book).findings == []
    for path in stage.book.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()
