"""Anthropic beside its messages: batches and their results, files, iterations of other models."""

import json
from typing import Any

import anthropic.types.beta
import anthropic.types.messages
import pytest
from recorded_wire import WIRE, call_of, usage_of

from tollbook.core.faults import BadInput
from tollbook.providers.anthropic_batches import AnthropicBatch, AnthropicBatchCreate, read_result
from tollbook.providers.anthropic_files import AnthropicCount, AnthropicFile, AnthropicUpload
from tollbook.providers.anthropic_messages import AnthropicMessages
from tollbook.providers.body import AmbiguousBody, BillingFieldRefused
from tollbook.providers.contract import Prepared, Reading, Share, VendorObject
from tollbook.providers.registry import BY_FORMAT

CREATE = AnthropicBatchCreate()
MESSAGES = AnthropicMessages()
MESSAGE: dict[str, Any] = json.loads((WIRE / "anthropic/message.json").read_text())


def batch(*models: str, **params: object) -> bytes:
    requests = [
        {"custom_id": f"r{place}", "params": {"max_tokens": 1, "model": model, "messages": [], **params}}
        for place, model in enumerate(models)
    ]
    return json.dumps({"requests": requests}).encode()


def test_a_batch_asks_for_one_model_everywhere() -> None:
    """The model of every request is the target's, and not another byte changes."""
    body = batch("alias", "alias")
    call = call_of(CREATE, body)
    assert CREATE.model(call) == "alias"
    prepared = CREATE.prepare(call, 'claude "x"')
    assert prepared.body == body.replace(b'"alias"', b'"claude \\"x\\""')
    assert CREATE.prepare(call, "alias").body is body


def test_two_models_in_one_batch_are_refused() -> None:
    """A batch goes to one target: two models would need two."""
    with pytest.raises(BadInput, match="one and the same model"):
        CREATE.model(call_of(CREATE, batch("a", "b")))


@pytest.mark.parametrize(
    "body",
    [
        b'{"requests":7}',
        b'{"requests":[7]}',
        b'{"requests":[{"params":{"model":"a","model":"b"}}]}',
        b'{"requests":[{"params":{"model":"a"},"params":{"model":"b"}}]}',
    ],
)
def test_a_batch_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    """What holds for a message's body holds for each request of a batch."""
    call = call_of(CREATE, body)
    for judge in (CREATE.model, lambda call: CREATE.prepare(call, "m")):
        with pytest.raises(AmbiguousBody):
            judge(call)


@pytest.mark.parametrize("body", [b"{}", b'{"requests":[]}', b'{"requests":[{}]}', b'{"requests":[{"params":{}}]}'])
def test_a_batch_without_a_model_is_refused(body: bytes) -> None:
    """Nobody could say what it costs."""
    with pytest.raises(BadInput):
        CREATE.model(call_of(CREATE, body))


def test_a_request_of_a_batch_cannot_choose_who_is_billed() -> None:
    """A billing policy is refused inside a batch as in a message."""
    with pytest.raises(BillingFieldRefused):
        CREATE.prepare(call_of(CREATE, batch("m", billing_policy={"bill_to": "user_profile"})), "m")


def test_objects_of_a_batch_are_found() -> None:
    """What a message may name, a request of a batch may name; a batch in a path is one itself."""
    found = CREATE.objects(call_of(CREATE, batch("m", container="container_1")))
    assert found == [VendorObject("container", "container_1")]
    assert AnthropicBatch().objects(call_of(AnthropicBatch(), b"", batch="msgbatch_1")) == [
        VendorObject("batch", "msgbatch_1")
    ]


def test_a_batch_that_was_made_is_the_tenants() -> None:
    """The id of the answer becomes a vendor object; making a batch uses nothing yet."""
    body = json.dumps(
        {
            "id": "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF", "type": "message_batch", "processing_status": "in_progress",
            "request_counts": {"processing": 2, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
            "created_at": "2026-11-20T10:00:00Z", "expires_at": "2026-11-21T10:00:00Z", "ended_at": None,
            "cancel_initiated_at": None, "archived_at": None, "results_url": None,
        }
    ).encode()  # fmt: skip
    anthropic.types.messages.MessageBatch.model_validate_json(body)
    reading = CREATE.read(200, [], body)
    assert reading.made == [VendorObject("batch", "msgbatch_013Zva2CMHLNnXjNJJKqJ2EF")]
    assert reading.usage is None and reading.complete


def result(kind: str, **said: object) -> bytes:
    line = json.dumps({"custom_id": "r1", "result": {"type": kind, **said}}).encode()
    anthropic.types.messages.MessageBatchIndividualResponse.model_validate_json(line)
    return line


def test_a_result_that_succeeded_is_read_as_its_message() -> None:
    """Usage, model, id and tier are those of the message; no content stays."""
    message = MESSAGE | {"usage": MESSAGE["usage"] | {"service_tier": "batch"}}
    said = read_result(result("succeeded", message=message))
    alone = MESSAGES.read(200, [], json.dumps(message).encode())
    assert (said.custom_id, said.kind) == ("r1", "succeeded")
    assert said.reading == alone and said.reading.usage
    assert said.reading.tier == "batch"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            result("errored", error={"type": "error", "error": {"type": "invalid_request_error", "message": "secret"}}),
            "invalid_request_error",
        ),
        (result("canceled"), "canceled"),
        (result("expired"), "expired"),
    ],
)
def test_results_that_are_not_billed_used_nothing(line: bytes, error: str) -> None:
    """What errored, was cancelled or expired has an empty usage, which is known, and no message of the vendor's."""
    said = read_result(line)
    assert said.kind == error or said.kind == "errored"
    assert said.reading == Reading(usage={}, basis="provider_reported", complete=False, error=error)


@pytest.mark.parametrize(
    "line", [b"", b"\xff", b"[]", b"{}", b'{"result":7}', b'{"result":{"type":"new"}}', b'{"result":{"type":7}}']
)
def test_a_result_that_cannot_be_read_says_so(line: bytes) -> None:
    """An unreadable line is never taken for one that cost nothing."""
    said = read_result(line)
    assert said.kind == "unreadable"
    assert said.reading.usage is None and "unreadable_body" in said.reading.flags


def test_a_succeeded_result_without_a_message_is_unreported() -> None:
    """A message that is missing has no usage, rather than an empty one."""
    reading = read_result(b'{"custom_id":"r1","result":{"type":"succeeded"}}').reading
    assert reading.usage is None and not reading.complete


def counts(kind: str, given: int, made: int, model: str | None = None, **more: int) -> dict[str, object]:
    entry: dict[str, object] = {
        "type": kind, "input_tokens": given, "output_tokens": made,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **more,
    }  # fmt: skip
    return entry if model is None else entry | {"model": model}


SERVED = MESSAGE["model"]


def with_iterations(given: int, made: int, *entries: dict[str, object], **more: object) -> bytes:
    top = {"input_tokens": given, "output_tokens": made, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    body = json.dumps(MESSAGE | {"usage": {**top, **more, "iterations": list(entries)}}).encode()
    anthropic.types.beta.BetaMessage.model_validate_json(body)
    return body


CASES: dict[str, tuple[bytes, dict[str, int], list[Share], list[str]]] = {
    "the turns of a tool loop": (
        with_iterations(30, 9, counts("message", 10, 4, SERVED), counts("message", 20, 5)),
        {"input": 30, "output": 9}, [], [],
    ),
    "a compaction is added": (
        with_iterations(20, 5, counts("compaction", 9000, 700, cache_read_input_tokens=50), counts("message", 20, 5)),
        {"input": 9020, "output": 705, "input_cache_read": 50}, [], [],
    ),
    "an advisor has its own price": (
        with_iterations(20, 5, counts("advisor_message", 400, 60, "claude-opus-5-5"), counts("message", 20, 5)),
        {"input": 20, "output": 5}, [Share("claude-opus-5-5", {"input": 400, "output": 60})], [],
    ),
    "an advisor of the same model is beside it all the same": (
        with_iterations(20, 5, counts("advisor_message", 400, 60, SERVED), counts("message", 20, 5)),
        {"input": 20, "output": 5}, [Share(SERVED, {"input": 400, "output": 60})], [],
    ),
    "a declined hop inside the top level is taken out": (
        with_iterations(50, 12, counts("message", 20, 2, "claude-opus-5-5"), counts("message", 30, 10, SERVED)),
        {"input": 30, "output": 10}, [Share("claude-opus-5-5", {"input": 20, "output": 2})], [],
    ),
    "a declined hop beside the top level is added": (
        with_iterations(30, 10, counts("message", 20, 2, "claude-opus-5-5"), counts("message", 30, 10, SERVED)),
        {"input": 30, "output": 10}, [Share("claude-opus-5-5", {"input": 20, "output": 2})], [],
    ),
    "entries that do not fit": (
        with_iterations(30, 10, counts("message", 7, 7)),
        {"input": 30, "output": 10}, [], ["iterations"],
    ),
    "an advisor without a name": (
        with_iterations(20, 5, counts("message", 20, 5)).replace(
            b'"iterations": [', b'"iterations": [{"type":"advisor_message","input_tokens":1,"output_tokens":1},'
        ),
        {"input": 20, "output": 5}, [], ["iterations"],
    ),
    "an entry of a new type": (
        with_iterations(20, 5, counts("message", 20, 5)).replace(b'"iterations": [', b'"iterations": [{"type":"new"},'),
        {"input": 20, "output": 5}, [], ["iterations"],
    ),
    "no list": (
        with_iterations(20, 5).replace(b'"iterations": []', b'"iterations": 7'),
        {"input": 20, "output": 5}, [], ["iterations"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_iterations(case: str) -> None:
    """Every sampling is counted once, at its model's price; what does not fit is flagged."""
    body, usage, shares, flags = CASES[case]
    reading = MESSAGES.read(200, [], body)
    assert usage_of(reading) == usage
    assert sorted(reading.shares) == sorted(shares)
    assert reading.flags == flags


def test_a_fallback_model_is_the_one_that_served() -> None:
    """The entry of a fallback names the served model, and thinking stays with what it did."""
    body = with_iterations(
        70, 40,
        counts("message", 20, 2, SERVED), counts("fallback_message", 50, 38, "claude-haiku-5-5"),
        output_tokens_details={"thinking_tokens": 30},
    )  # fmt: skip
    reading = MESSAGES.read(200, [], body)
    assert reading.model_served == "claude-haiku-5-5"
    assert usage_of(reading) == {"input": 50, "output": 8, "output_reasoning": 30}
    assert reading.shares == [Share(SERVED, {"input": 20, "output": 2})]


def test_iterations_are_read_in_streams() -> None:
    """The same iterations, told at the end of a stream, give the same usage and shares."""
    body, usage, shares, _ = CASES["an advisor has its own price"]
    message = json.loads(body)
    report = message.pop("usage")
    start = {"type": "message_start", "message": message | {"content": [], "usage": report | {"iterations": None}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": report}
    reader = MESSAGES.stream(Prepared(path="", body=b""))
    for event in (start, end, {"type": "message_stop"}):
        reader.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    assert (reader.reading().usage, reader.reading().shares) == (usage, shares)


BLOCKS = [
    {"type": "text", "text": "Here."},
    {
        "type": "bash_code_execution_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": {
            "type": "bash_code_execution_result",
            "stdout": "", "stderr": "", "return_code": 0,
            "content": [{"type": "bash_code_execution_output", "file_id": "file_1"}],
        },
    },
]  # fmt: skip
MADE = [VendorObject("container", "container_1"), VendorObject("file", "file_1")]


def test_what_tools_left_behind_is_the_tenants() -> None:
    """The container that tools ran in and the files they made belong to the tenant that asked."""
    container = {"id": "container_1", "expires_at": "2026-11-20T10:00:00Z"}
    body = json.dumps(MESSAGE | {"content": BLOCKS, "container": container}).encode()
    anthropic.types.Message.model_validate_json(body)
    assert MESSAGES.read(200, [], body).made == MADE
    reader = MESSAGES.stream(Prepared(path="", body=b""))
    events = [{"type": "content_block_start", "index": 1, "content_block": block} for block in BLOCKS]
    ends = [{"type": "message_delta", "delta": {"stop_reason": "end_turn", "container": container}, "usage": {}}] * 2
    for event in (*events, *ends):
        reader.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    assert sorted(reader.reading().made) == MADE


def test_files() -> None:
    """A file in a path, and one that was uploaded, are vendor objects; a form is not judged as JSON."""
    assert AnthropicFile().objects(call_of(AnthropicFile(), b"", file="file_1")) == [VendorObject("file", "file_1")]
    assert AnthropicUpload().scan([], b"--boundary").values == {}
    assert AnthropicUpload().read(200, [], b'{"id":"file_1","type":"file"}').made == [VendorObject("file", "file_1")]


def test_counting_asks_the_targets_model() -> None:
    """Counting tokens is free, goes to the model that was asked for, and names no one else's objects."""
    count = AnthropicCount()
    call = call_of(count, b'{"model":"alias","messages":[],"container":"c1"}')
    assert (count.model(call), count.purpose) == ("alias", "free")
    assert count.prepare(call, "claude-x").body == b'{"model":"claude-x","messages":[],"container":"c1"}'
    assert count.objects(call) == [VendorObject("container", "c1")]


def test_everything_is_found_below_the_mount_too() -> None:
    """A client with `/anthropic` as its base address finds every operation, at the vendor's own path."""
    for adapter in BY_FORMAT["anthropic"]:
        below = {
            (one.method, one.path.removeprefix("/anthropic")) for one in adapter.routes if "/anthropic/" in one.path
        }
        assert below == {(one.method, one.upstream) for one in adapter.routes}
