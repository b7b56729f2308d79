"""Spans taken in per second of one core: decoded, read, rated, written to a lane and synced, in batches of 512.

python benchmarks/ingest.py [SECONDS]
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tollbook.assembly.lanes import begin
from tollbook.assembly.prices import Raters
from tollbook.assembly.service import init
from tollbook.core.clock import now
from tollbook.ingest.entries import Credit, Writing
from tollbook.ingest.otlp import PROTOBUF, decode
from tollbook.journal.lane import Lane

BATCH = 512


def body(first: int) -> bytes:
    """A batch of spans with twenty attributes each."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(first, first + BATCH):
        span = scope.spans.add()
        span.trace_id, span.span_id = number.to_bytes(16, "big"), (number + 1).to_bytes(8, "big")
        span.start_time_unix_nano = time.time_ns()
        texts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": f"chatcmpl-{number:016x}",
        } | {f"app.attribute.{place}": "value" for place in range(12)}
        for name, value in texts.items():
            span.attributes.add(key=name).value.string_value = value
        for name, count in (("input_tokens", 900), ("output_tokens", 80), ("cache_read.input_tokens", 100)):
            span.attributes.add(key=f"gen_ai.usage.{name}").value.int_value = count
    return request.SerializeToString()


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as directory:
        book = init(Path(directory) / "book")
        name = book.new_lane_name("ingest")
        lane = Lane.create(
            book.lane_directory(name), begin(book.id, name, "ingest", "bench", "0" * 64, None), ballast=0
        )
        writing = Writing(Raters(book).at, lambda tenant, value, kind: value)
        bodies = [body(1 + BATCH * number) for number in range(20)]
        spent, done, until = 0.0, 0, time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.process_time()
            received = decode(bodies[done // BATCH % len(bodies)], PROTOBUF)
            for entry in writing.entries(received.spans, Credit("k", "acme"), now(), Counter()):
                lane.append("span.settled", entry.payload)
            lane.sync()
            spent += time.process_time() - started
            done += BATCH
        lane.close("done")
    print(f"{done} spans, {done / spent:,.0f} per second of one core, {spent / done * 1e6:.0f} us each")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
