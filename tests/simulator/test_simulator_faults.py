"""Each fault, as a client sees it on the wire."""

import time
from typing import Any

import pytest

from tollbook.simulator import FAULTS, Simulator

CHUNKS = "output=10 chunk_tokens=1"
USAGE: dict[str, Any] = {"stream_options": {"include_usage": True}}


def contents(events: list[Any]) -> int:
    """Content chunks of either vendor."""
    openai = [event for event in events if event != "[DONE]" and event.get("choices")]
    texts = [event for event in openai if event["choices"][0]["delta"].get("content")]
    return len(texts) + sum(event != "[DONE]" and event.get("type") == "content_block_delta" for event in events)


@pytest.mark.parametrize("fault", sorted(name for name in FAULTS if name.isdigit()))
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_status_faults_answer_with_their_status(ask: Any, simulator: Simulator, vendor: str, fault: str) -> None:
    """A status fault gives that status and an error body, and nothing is billed."""
    answer = ask(f"[[sim fault={fault}]]", vendor=vendor)
    assert answer.status == int(fault)
    assert answer.json["error"]["message"]
    assert answer.headers.get("retry-after") == ("1" if fault == "429" else None)
    assert len(simulator.books.received) == 1 and simulator.books.billed == []


def test_a_status_fault_can_name_the_wait_and_be_billed(ask: Any, simulator: Simulator) -> None:
    """`retry_after` is the header's value; `billed` is a vendor that charges for what it failed to deliver."""
    answer = ask("[[sim fault=503 retry_after=0 billed=true output=7]]")
    assert (answer.status, answer.headers["retry-after"]) == (503, "0")
    (billed,) = simulator.books.billed
    assert billed.usage["completion_tokens"] == 7 and not billed.complete


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize(("fault", "end"), [("cut", "reset"), ("cut_fin", "fin"), ("clean_end", "fin")])
def test_a_stream_ends_in_its_middle(ask: Any, vendor: str, fault: str, end: str) -> None:
    """Three ways to break off after three content chunks: RST, FIN inside the HTTP message, a complete message."""
    answer = ask(f"[[sim {CHUNKS} fault={fault} after=3]]", vendor=vendor, stream=True)
    assert answer.status == 200 and answer.end == end
    assert contents(answer.events) == 3
    assert answer.data.endswith(b"0\r\n\r\n") is (fault == "clean_end")
    assert b"[DONE]" not in answer.data and b"message_stop" not in answer.data


def test_where_a_stream_ends_can_be_anywhere(ask: Any) -> None:
    """Before the first content, after half of it (not told), after all of it, and all but the terminal event."""
    seen = {}
    for after in ("after=0", "", "after=10", "after=11"):
        events = ask(f"[[sim {CHUNKS} fault=clean_end {after}]]", stream=True, **USAGE).events
        seen[after] = (contents(events), any(event.get("usage") for event in events), "[DONE]" in events)
    assert seen == {
        "after=0": (0, False, False),
        "": (5, False, False),
        "after=10": (10, False, False),
        "after=11": (10, True, False),
    }


@pytest.mark.parametrize(("fault", "end"), [("cut", "reset"), ("cut_fin", "fin")])
def test_a_buffered_answer_ends_in_its_middle(ask: Any, fault: str, end: str) -> None:
    """Fewer bytes come than `content-length` says."""
    answer = ask(f"[[sim fault={fault} after=20]]")
    assert answer.end == end and len(answer.body) == 20 < int(answer.headers["content-length"])


@pytest.mark.parametrize("stream", [True, False])
def test_connections_can_break_before_the_body(ask: Any, simulator: Simulator, stream: bool) -> None:
    """`drop` sends nothing, `cut_before_body` the headers only; the work is billed both times."""
    assert ask("[[sim fault=drop]]", stream=stream)[:] == (b"", "reset")
    answer = ask("[[sim fault=cut_before_body]]", stream=stream)
    assert answer.status == 200 and answer.body == b"" and answer.end == "reset"
    assert [billed.complete for billed in simulator.books.billed] == [False, False]


def test_a_request_is_accepted_billed_and_never_answered(ask: Any, simulator: Simulator) -> None:
    """The bill is written at once, although the client hears nothing until it gives up."""
    assert ask("[[sim output=9 fault=accept_then_timeout]]", timeout=1)[:] == (b"", "silence")
    (billed,) = simulator.books.billed
    assert billed.usage["completion_tokens"] == 9


def test_a_connection_is_refused_as_often_as_told(ask: Any, simulator: Simulator) -> None:
    """`refuse` resets new connections before a byte is read: they are in no book."""
    simulator.install([{"do": "refuse", "times": 2}])
    assert [ask().end for _ in range(3)] == ["reset", "reset", "fin"]
    assert len(simulator.books.received) == 1


@pytest.mark.parametrize("command", ["fault=slow_first_byte ms=200", "first_byte_ms=200"])
def test_the_first_byte_can_be_slow(ask: Any, command: str) -> None:
    """The head waits too: nothing is known before the first byte."""
    start = time.monotonic()
    assert ask(f"[[sim {command}]]").status == 200
    assert time.monotonic() - start >= 0.2


@pytest.mark.parametrize("command", ["fault=slow_chunks ms=30", "chunk_ms=30"])
def test_chunks_can_be_slow(ask: Any, simulator: Simulator, command: str) -> None:
    """Ten content chunks of 30 ms each take 0.3 s, all arrive, and the answer is billed as complete."""
    start = time.monotonic()
    answer = ask(f"[[sim {CHUNKS} {command}]]", stream=True)
    assert contents(answer.events) == 10 and answer.events[-1] == "[DONE]"
    assert time.monotonic() - start >= 0.3
    assert [billed.complete for billed in simulator.books.billed] == [True]


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
@pytest.mark.parametrize("faults", ["no_space", "crlf", "comments", "multiline", "tiny", "no_space,crlf,multiline"])
def test_bent_event_streams_say_the_same(ask: Any, vendor: str, faults: str) -> None:
    """Spaces, line ends, comments, split lines and single bytes change the text of a stream, not its meaning."""
    commands = "".join(f"[[sim fault={fault}]]" for fault in faults.split(","))
    filler = "[[sim input=9 output=10 chunk_tokens=2]]"
    bent = ask(filler + commands, vendor=vendor, stream=True, **USAGE)
    plain = ask(filler, vendor=vendor, stream=True, **USAGE)
    assert bent.body != plain.body or faults == "tiny"
    assert [str(event)[:30] for event in bent.events[2:]] != [] and len(bent.events) == len(plain.events)
    usages = [[event.get("usage") for event in answer.events if event != "[DONE]"] for answer in (bent, plain)]
    assert usages[0] == usages[1] and any(usages[0])
    if "no_space" in faults:
        assert b"data: " not in bent.body and b"data:" in bent.body
    if "crlf" in faults:
        assert b"\r\n\r\n" in bent.body and bent.body.count(b"\n") == bent.body.count(b"\r\n")
    if faults == "comments":
        assert bent.body.startswith(b": ")
    if "multiline" in faults:
        assert bent.body.count(b"data:") > plain.body.count(b"data:")
    if faults == "tiny":
        assert bent.data.count(b"\r\n1\r\n") == len(bent.body)


def usages(events: list[Any]) -> list[Any]:
    """The usage of every event that has the member, in order."""
    holders = [event.get("message", event) for event in events if event != "[DONE]"]
    return [holder["usage"] for holder in holders if "usage" in holder]


def test_openai_usage_can_be_missing_or_null(ask: Any) -> None:
    """Absent and null are two things, buffered and streamed."""
    assert "usage" not in ask("[[sim fault=usage_missing]]").json
    assert ask("[[sim fault=usage_null]]").json["usage"] is None
    assert usages(ask("[[sim fault=usage_missing]]", stream=True, **USAGE).events) == []
    assert set(usages(ask("[[sim fault=usage_null]]", stream=True, **USAGE).events)) == {None}


def test_anthropic_usage_can_be_missing_or_null(ask: Any) -> None:
    """Absent and null are two things, buffered and streamed."""
    assert "usage" not in ask("[[sim fault=usage_missing]]", vendor="anthropic").json
    assert ask("[[sim fault=usage_null]]", vendor="anthropic").json["usage"] is None
    assert usages(ask("[[sim fault=usage_missing]]", vendor="anthropic", stream=True).events) == []
    assert usages(ask("[[sim fault=usage_null]]", vendor="anthropic", stream=True).events) == [None, None]


def test_openai_usage_can_stand_elsewhere(ask: Any) -> None:
    """Zero in the first chunk, cumulative in each, or beside the choices of the last: one request, one truth."""
    command = "[[sim input=20 output=4 chunk_tokens=2 fault={}]]"
    first = usages(ask(command.format("usage_zero_first"), stream=True, **USAGE).events)
    assert first[0]["total_tokens"] == 0 and first[-1]["total_tokens"] == 24
    each = usages(ask(command.format("usage_cumulative"), stream=True, **USAGE).events)
    assert [usage and usage["completion_tokens"] for usage in each] == [None, 2, 4, None, 4]
    last = ask(command.format("usage_with_choices"), stream=True, **USAGE).events
    assert last[-2]["usage"]["total_tokens"] == 24 and last[-2]["choices"][0]["finish_reason"] == "stop"


def test_anthropic_usage_can_stand_elsewhere(ask: Any) -> None:
    """Only in the first event, only in the last, zero in either, or repeated: one request, one truth."""

    def pairs(fault: str) -> list[Any]:
        text = f"[[sim input=20 cache_read=5 output=4 chunk_tokens=2 {fault}]]"
        return [
            (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"])
            for usage in usages(ask(text, vendor="anthropic", stream=True).events)
        ]

    assert pairs("") == [(20, 5, 1), (20, 5, 4)]
    assert pairs("fault=delta_only") == [(20, 5, 4)]
    assert pairs("fault=delta_zero_input") == [(20, 5, 1), (0, 0, 4)]
    assert pairs("fault=usage_zero_first") == [(0, 0, 0), (20, 5, 4)]
    assert pairs("fault=usage_cumulative") == [(20, 5, 1), (20, 5, 2), (20, 5, 4), (20, 5, 4)]


def test_another_model_can_answer_and_is_billed(ask: Any, simulator: Simulator) -> None:
    """The served model stands in the answer, and its price on the bill: 1,000 tokens of gpt-4o-mini."""
    answer = ask("[[sim input=1000 output=0 fault=served_model served=gpt-4o-mini]]")
    assert answer.json["model"] == "gpt-4o-mini-2024-07-18"
    assert simulator.books.billed[0].amount == "0.00015"
    assert ask("[[sim fault=served_model]]").json["model"] != "gpt-4o-2024-08-06"


def test_a_better_tier_can_be_served_as_the_standard_one(ask: Any, simulator: Simulator) -> None:
    """Priority as asked, priority asked as `fast`, and priority asked but default served and billed."""
    text = "[[sim input=1000000 output=0]]"
    tiers = [ask(text, service_tier=tier).json["service_tier"] for tier in ("priority", "fast", "auto")]
    tiers.append(ask(text + "[[sim fault=tier_downgrade]]", service_tier="priority").json["service_tier"])
    assert tiers == ["priority", "priority", "default", "default"]
    assert [billed.amount for billed in simulator.books.billed] == ["4.25", "4.25", "2.5", "2.5"]


def test_input_can_be_read_from_a_cache(ask: Any) -> None:
    """Half of it, or as many tokens as told but never more than there are; the total stays the same."""
    seen = []
    for options in ("", "tokens=30", "tokens=900"):
        usage = ask(f"[[sim input=100 fault=cached {options}]]").json["usage"]
        seen.append((usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]))
    assert seen == [(100, 50), (100, 30), (100, 100)]
    usage = ask("[[sim input=100 fault=cached]]", vendor="anthropic").json["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (50, 50)
