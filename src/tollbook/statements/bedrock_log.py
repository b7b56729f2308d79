"""Amazon Bedrock's model invocation log (JSON Lines): one object for each call, with its request id.

Bodies of requests and answers stand in it: they are not read, and the file is not kept. Counts of cached tokens are in
real logs though not in the documented schema; the vendor counts input, read and written apart.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO, Final

from tollbook.core.faults import BadInput
from tollbook.statements.document import Importer, Item, Line, Problem
from tollbook.statements.json_source import read_json
from tollbook.statements.members import Members

LINE_LIMIT: Final = 32 * 1024 * 1024
_COUNTS: Final = (
    ("input", "inputTokenCount", "input"),
    ("input", "cacheReadInputTokenCount", "input_cache_read"),
    ("input", "cacheWriteInputTokenCount", "input_cache_write"),
    ("output", "outputTokenCount", "output"),
)


def _read(source: BinaryIO) -> Iterator[Item]:
    number = 0
    while line := source.readline(LINE_LIMIT):
        number += 1
        if len(line) == LINE_LIMIT:
            raise BadInput(f"line {number} has more than {LINE_LIMIT:,} bytes: this is no invocation log")
        if line.strip():
            yield from _call(line, f"line {number}")


def _call(line: bytes, where: str) -> Iterator[Item]:
    try:
        value = read_json(io.BytesIO(line))
    except BadInput as fault:
        yield Problem(where, str(fault), "the line was not read: fetch the log again")
        return
    if not isinstance(value, dict) or value.get("schemaType") != "ModelInvocationLog":
        yield Problem(where, "is no entry of an invocation log", "the line was not read")
        return
    found: list[Item] = []
    one = Members(where, value, found)
    at = one.instant("timestamp")
    if at is None:
        found.append(Problem(where, "has no instant `timestamp`", "the line was not read: fetch the log again"))
    else:
        yield from _lines(one, at)
    yield from found


def _lines(one: Members, at: int) -> Iterator[Line]:
    role = one.part("identity").text("arn") or ""
    failed = one.text("errorCode")
    for part, name, usage_class in _COUNTS:
        quantity = one.part(part).count(name)
        if quantity is not None:
            yield Line(
                where=one.where,
                begins=at,
                ends=at + 1,
                kind="usage",
                item=" ".join(filter(None, (one.text("operation"), failed))),
                usage_class=usage_class,
                quantity=quantity,
                account=one.text("accountId"),
                vendor_key=role if "role/" in role else None,
                model=one.text("modelId"),
                region=one.text("inferenceRegion") or one.text("region"),
                vendor_request_id=one.text("requestId"),
            )


def _recognises(head: bytes) -> bool:
    return b'"ModelInvocationLog"' in head and not head.lstrip().startswith(b"[")


IMPORTER: Final = Importer(
    kind="bedrock_log",
    vendor="aws",
    version=1,
    type="usage_export",
    read=_read,
    recognises=_recognises,
    meaning="Amazon Bedrock's model invocation log, JSON Lines",
    may_hold_content=True,
)
