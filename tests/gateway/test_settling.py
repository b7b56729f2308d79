"""From what happened on the wire to what is written down: outcomes, who bills, who bears, what is priced."""

from typing import Any

import msgspec
import pytest
from small_road import CONFIG, SECRET, body_bytes, callers, keyed

from tollbook import config
from tollbook.core.settings import Target, Timeouts
from tollbook.core.vocabulary import BEARERS, CAUSES, OUTCOMES
from tollbook.gateway import answer, charging
from tollbook.gateway.admission import Dimensions
from tollbook.gateway.attempt import Ending, UpstreamCall
from tollbook.gateway.message import Headers
from tollbook.gateway.refusal import Refusal
from tollbook.gateway.request import Admitted
from tollbook.gateway.settling import Facts, Settled, rate, settle, weakest
from tollbook.journal.entry import Attempt, Request
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater
from tollbook.providers.body import scan
from tollbook.providers.contract import Call, Prepared
from tollbook.providers.registry import ADAPTERS

SETTINGS = config.parse(CONFIG.format(vendor="http://127.0.0.1:9", gateway="", secret=SECRET))
USAGE = (
    b'{"prompt_tokens":1000,"completion_tokens":10,"total_tokens":1010,"prompt_tokens_details":{"cached_tokens":900}}'
)
WHOLE = b'{"id":"r1","model":"gpt-4o-2024-08-06","choices":[{"message":{"content":"ok"}}],"usage":' + USAGE + b"}"
NO_USAGE = b'{"id":"r1","model":"gpt-4o-2024-08-06","choices":[{"message":{"content":"four words of text"}}]}'
BODY = body_bytes("gpt-4o", "Hello.", max_tokens=50)


def admitted(body: bytes = BODY) -> Admitted:
    facts = Request(id="01900000-0000-7000-8000-000000000001", tenant="acme", key="k", endpoint="openai.chat")
    return Admitted(
        facts, msgspec.json.encode(facts), callers(SETTINGS)["key-acme"], Dimensions(), ADAPTERS[0],
        SETTINGS.models["smart"], Call(ADAPTERS[0].routes[0], {}, b"", [], body, scan(body)), b"", 0, True,
    )  # fmt: skip


class Nobody:
    """The owner of a call whose end is made up by the test."""

    def answering(self, attempt: UpstreamCall) -> None: ...

    def answer_data(self, data: bytes) -> None: ...

    def attempt_over(self, attempt: UpstreamCall, ending: Ending) -> None: ...


def settled(
    status: int | None,
    body: bytes = b"",
    *,
    lost: str | None = None,
    sent: bool = True,
    gone: bool = False,
    stream: list[bytes] | None = None,
    headers: Headers | None = None,
) -> Settled:
    """An attempt that ended so, on its last legs."""
    call = UpstreamCall(Nobody(), b"", Timeouts(), lambda: 1)
    call.status, call.headers = status, headers or []
    reader = None
    if stream is not None:
        reader = ADAPTERS[0].stream(Prepared(path="", body=b""))
        for piece in stream:
            reader.feed(piece)
        reader.flush()
    attempt = Attempt(number=1, vendor="openai", vendor_key="main", model_sent="gpt-4o", reason="first")
    ending, bearers = Ending(lost, sent), SETTINGS.charging_rules.bearers()
    facts = Facts(admitted(), attempt, None, call, ending, reader, body, gone, len(b"".join(stream or ())), bearers)
    return settle(facts, keyed).last("answer")


def sse(*data: bytes) -> list[bytes]:
    return [b"data: " + piece + b"\n\n" for piece in data]


DELTA = b'{"id":"c","model":"gpt-4o-2024-08-06","choices":[{"delta":{"content":"one two three four"}}]}'
LAST = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
COUNTED = b'{"choices":[],"usage":' + USAGE + b"}"
ERROR = b'{"error":{"type":"server_error","code":"overloaded","message":"SECRET PROMPT"}}'

CASES: list[tuple[str, dict[str, Any], tuple[str, str, bool | None, str, bool]]] = [
    # what happened, how, (outcome, basis, billable, borne_by, has usage)
    ("answered", {"status": 200, "body": WHOLE}, ("ok", "provider_reported", True, "tenant", True)),
    ("no usage", {"status": 200, "body": NO_USAGE}, ("ok", "estimated", True, "tenant", True)),
    ("not JSON", {"status": 200, "body": b"<html>"}, ("truncated", "estimated", True, "tenant", True)),
    ("empty", {"status": 200}, ("truncated", "estimated", True, "tenant", True)),
    ("cut", {"status": 200, "body": WHOLE[:40], "lost": "reset"}, ("truncated", "estimated", True, "platform", True)),
    ("stream cut at once", {"status": 200, "stream": [], "lost": "reset"},
     ("truncated", "estimated", True, "platform", True)),
    ("400", {"status": 400, "body": ERROR}, ("client_error", "computed", False, "tenant", False)),
    ("401", {"status": 401}, ("client_error", "computed", False, "tenant", False)),
    ("429", {"status": 429}, ("rate_limited", "computed", False, "tenant", False)),
    ("500", {"status": 500, "body": ERROR}, ("vendor_error", "computed", False, "platform", False)),
    ("500 cut", {"status": 500, "lost": "reset"}, ("vendor_error", "computed", False, "platform", False)),
    ("529", {"status": 529}, ("vendor_error", "computed", False, "platform", False)),
    ("redirect", {"status": 302}, ("vendor_error", "estimated", None, "platform", True)),
    ("error in 200", {"status": 200, "body": ERROR}, ("vendor_error", "estimated", None, "platform", True)),
    ("refused", {"status": None, "lost": "refused", "sent": False},
     ("connect_failed", "computed", False, "platform", False)),
    ("dns", {"status": None, "lost": "dns", "sent": False}, ("connect_failed", "computed", False, "platform", False)),
    ("connect timeout", {"status": None, "lost": "connect_timeout", "sent": False},
     ("connect_failed", "computed", False, "platform", False)),
    ("lost unanswered", {"status": None, "lost": "reset"}, ("vendor_error", "estimated", None, "platform", True)),
    ("timeout", {"status": None, "lost": "timeout"}, ("timeout", "estimated", None, "platform", True)),
    ("idle", {"status": 200, "lost": "idle_timeout"}, ("timeout", "estimated", None, "platform", True)),
    ("never sent", {"status": None, "lost": "client_gone", "sent": False},
     ("not_sent", "computed", False, "platform", False)),
    ("journal", {"status": None, "lost": "journal_unavailable", "sent": False},
     ("not_sent", "computed", False, "platform", False)),
    ("gone, drained", {"status": 200, "body": WHOLE, "gone": True},
     ("client_gone", "provider_reported", True, "tenant", True)),
    ("gone, cut by the vendor", {"status": 200, "lost": "reset", "gone": True},
     ("truncated", "estimated", True, "tenant", True)),
    ("cancelled", {"status": 200, "lost": "cancelled", "gone": True}, ("cancelled", "estimated", True, "tenant", True)),
    ("cancelled before an answer", {"status": None, "lost": "cancelled", "gone": True},
     ("cancelled", "estimated", None, "tenant", True)),
    ("drained to the limit", {"status": 200, "lost": "drain_limit", "gone": True},
     ("cancelled", "estimated", True, "tenant", True)),
    ("streamed", {"status": 200, "stream": sse(DELTA, LAST, COUNTED, b"[DONE]")},
     ("ok", "provider_reported", True, "tenant", True)),
    ("streamed without usage", {"status": 200, "stream": sse(DELTA, LAST, b"[DONE]")},
     ("ok", "estimated", True, "tenant", True)),
    ("stream without its end (P3)", {"status": 200, "stream": sse(DELTA)},
     ("truncated", "estimated", True, "tenant", True)),
    ("stream cut", {"status": 200, "stream": sse(DELTA), "lost": "reset"},
     ("truncated", "estimated", True, "tenant", True)),
    ("error in the stream", {"status": 200, "stream": sse(DELTA, ERROR)},
     ("vendor_error", "estimated", None, "platform", True)),
    ("too large", {"status": 200, "lost": "answer_too_large"}, ("vendor_error", "estimated", None, "platform", True)),
    ("stopped", {"status": 200, "lost": "stopped"}, ("cancelled", "estimated", True, "platform", True)),
]  # fmt: skip


@pytest.mark.parametrize(("how", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_ending_has_its_words(how: dict[str, Any], expected: tuple[str, str, bool | None, str, bool]) -> None:
    """Outcome, basis, whether the vendor bills it, who bears it and whether there is a usage: one table (X3, L44)."""
    end = settled(**how)
    settlement = end.settlement
    found = (end.outcome, end.basis, settlement.billable, settlement.borne_by, end.usage is not None)
    assert found == expected
    assert (end.basis == "estimated") == (settlement.method is not None)
    assert "SECRET" not in msgspec.json.encode(settlement).decode()


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_no_ending_is_a_silent_zero(case: tuple[str, dict[str, Any], Any]) -> None:
    """What may be billed has a positive amount or none; zero stands only where the vendor bills nothing (L8)."""
    end = settled(**case[1])
    rate(Rater(base_book()), end, "openai", "openai.chat/1", "acme")
    if end.settlement.billable is False:
        assert end.expected == end.recharge == 0
        assert end.rating is not None
        assert end.rating.charges == []
    else:
        assert end.expected is not None
        assert end.expected > 0


def test_amounts_are_exact() -> None:
    """1,000 input of which 900 cached, and 10 output on gpt-4o are 0.001475 dollars to the last digit (L51)."""
    end = settled(200, WHOLE)
    rate(Rater(base_book()), end, "openai", "openai.chat/1", "acme")
    assert end.expected == end.recharge == 1_475_000_000
    assert end.usage == {"input": 100, "input_cache_read": 900, "output": 10}
    head = answer.buffered_head(200, [], admitted(), [Target(vendor="v", model="m")], [end], 5)
    assert b"\r\nx-tollbook-cost-usd: 0.001475\r\ncontent-length: 5\r\n\r\n" in head


def test_what_another_attempt_followed_is_the_platforms() -> None:
    """The tenant never pays for an attempt that we made again, whatever its outcome; the vendor may bill it (X3)."""
    end = settled(200, WHOLE[:40], lost="reset").followed("retry")
    rate(Rater(base_book()), end, "openai", "openai.chat/1", "acme")
    assert end.settlement.borne_by == "platform"
    assert end.settlement.next == "retry"
    assert end.settlement.billable is True
    assert (end.expected or 0) > 0
    assert end.recharge == 0


def test_every_outcome_has_a_bearer() -> None:
    """The rules of who pays are data that covers the whole word list but `open`, whoever caused it (L44)."""
    bearers = SETTINGS.charging_rules.bearers()
    assert set(bearers) == {(outcome, cause) for outcome in OUTCOMES if outcome != "open" for cause in CAUSES}
    assert set(bearers.values()) <= set(BEARERS)
    assert set(charging.NOT_BILLED) <= set(OUTCOMES)
    ours = ("repeated", "hedged", "gateway")
    assert {bearer for (_, cause), bearer in bearers.items() if cause in ours} == {"platform"}


def test_a_request_is_known_as_weakly_as_its_weakest_attempt() -> None:
    """Basis of a request (X19)."""
    assert weakest([settled(200, WHOLE)]) == "provider_reported"
    assert weakest([settled(500), settled(200, WHOLE)]) == "computed"
    assert weakest([settled(200, WHOLE), settled(None, lost="timeout")]) == "estimated"
    assert weakest([]) == "unreported"


def test_words_of_a_vendor_are_bounded_and_printable() -> None:
    """Ids and names from outside cannot carry control characters, or grow."""
    body = b'{"id":"a\\u001b[31m","model":"' + b"m" * 250 + b'","choices":[],"usage":' + USAGE + b"}"
    settlement = settled(200, body, headers=[(b"x-request-id", b"r\xff" + b"x" * 300)]).settlement
    assert settlement.response_id == "a?[31m"
    assert settlement.model_served == "m" * 128
    assert len(settlement.vendor_request_id or "") == 128


def test_backoff_doubles_for_retries_and_not_for_fallbacks() -> None:
    """A fallback goes to another target at once."""
    assert [answer.backoff(0.2, tried, "retry") for tried in (1, 2, 3)] == [0.2, 0.4, 0.8]
    assert answer.backoff(0.2, 2, "fallback") == 0


def test_a_client_gets_a_vendors_headers_but_for_those_withheld() -> None:
    """Framing, cookies, the operator's accounts and anything that looks like ours stay here."""
    vendors: Headers = [
        (b"content-type", b"application/json"), (b"x-request-id", b"req_1"), (b"x-ratelimit-remaining", b"1"),
        (b"openai-organization", b"org-secret"), (b"set-cookie", b"a=b"), (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"), (b"content-length", b"5"), (b"x-tollbook-cost-usd", b"0"),
        (b"anthropic-organization-id", b"org"), (b"keep-alive", b"1"),
    ]  # fmt: skip
    end = settled(200, NO_USAGE)
    rate(Rater(base_book()), end, "openai", "openai.chat/1", "acme")
    passed = answer.stream_head(200, vendors, admitted(), [Target(vendor="v", model="m")])
    assert passed.decode().split("\r\n") == [
        "HTTP/1.1 200 OK", "content-type: application/json", "x-request-id: req_1", "x-ratelimit-remaining: 1",
        f"x-tollbook-request-id: {admitted().facts.id}", "x-tollbook-attempts: 1", "x-tollbook-route: v/m",
        "transfer-encoding: chunked", "", "",
    ]  # fmt: skip


def test_an_error_of_ours_says_whether_to_try_again() -> None:
    """What may have been billed is not to be bought again by a client library that retries by itself."""
    fault = Refusal(503, "journal_unavailable", "m")
    plain = answer.error(ADAPTERS[0], fault, "id")
    assert b"retry-after: 1\r\n" in plain
    assert b"x-should-retry" not in plain
    billed = answer.error(ADAPTERS[0], fault, "id", may_be_billed=True)
    assert b"x-should-retry: false\r\n" in billed
    assert b"retry-after" not in billed
