"""Writes `journal-v1-spans/`: a small book with spans of others, the same bytes at every run.

It was run once, when that kind of entry was released; the book is never written anew.

    python tests/golden/make_v1_spans.py DIRECTORY
"""

import sys
from pathlib import Path

from make_v1 import PRICES, START, Maker, tell_answers, tell_births

from tollbook.journal.entry import (
    Attempt,
    Close,
    Rating,
    Request,
    RequestEntry,
    Settlement,
    SpanEvidence,
    encode_payload,
)

ANSWER = "chatcmpl-0123456789abcdef"


def span(number: int, tokens: int, grade: str, parent: str | None = None) -> RequestEntry:
    """The span of that number; all but the third name one answer."""
    usage = None if grade == "bare" else {"input": tokens, "output": 2}
    charges = [("input", tokens, "0.000001", f"0.{tokens:06d}", f"0.{tokens:06d}", f"0.{tokens:06d}", "row")]
    basis = "unreported" if usage is None else "provider_reported"
    return RequestEntry(
        request=Request(
            id=f"0199e0c5-0000-7000-8000-0000000000{number:02d}",
            tenant="acme",
            key="otel",
            endpoint="otlp.span",
            model_asked="fast",
            traceparent=f"00-{'a' * 32}-{number:016x}-01",
        ),
        attempt=Attempt(number=1, vendor="openai", vendor_key="", model_sent="fast"),
        settlement=Settlement(
            opened=START,
            sequence=-1,
            outcome="ok",
            basis=basis,
            usage=usage,
            response_id=None if number == 3 else ANSWER,
            flags=["dropped_attributes"] if grade == "partial" else None,
        ),
        rating=None if usage is None else Rating(book=PRICES, adapter="otel-1.37/1", charges=charges),
        close=Close(outcome="ok", basis=basis, route="openai/fast", reason=None),
        span=SpanEvidence(
            trace_id="a" * 32,
            span_id=f"{number:016x}",
            dialect="otel-1.37",
            operation="chat",
            grade=grade,
            content=f"{number:064x}",
            parent=parent,
            convention="nested",
            scope="test@1",
            reported={"input": tokens},
            costs=[("gen_ai.usage.cost", "0.1", "USD")],
            ended=START + 5,
            dropped=int(grade == "partial"),
        ),
    )


def make(root: Path) -> None:
    book = Maker(root)
    tell_births(book)
    tell_answers(book, book.worker(3))
    for entry in (span(1, 10, "partial"), span(2, 20, "complete"), span(3, 50, "partial")):
        book.book.append("span.settled", encode_payload(entry))
    book.heads()
    for entry in (span(4, 50, "complete", f"{3:016x}"), span(2, 20, "complete"), span(5, 0, "bare")):
        book.book.append("span.settled", encode_payload(entry))
    book.heads()
    for leftover in [*root.rglob("lock"), *root.rglob("ballast")]:
        leftover.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
