"""The admin APIs: reports of usage and cost from the vendor's own books, in pages, as the vendors serve them."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tollbook.core.clock import parse_instant
from tollbook.simulator import Settings, Simulator

ASKED = "[[sim input=300 output=40]]"


def post(vendor: Simulator, path: str, key: str, **body: Any) -> None:
    body = {"messages": [{"role": "user", "content": f"Hello. {ASKED}"}]} | body
    heads = {"authorization": f"Bearer {key}"} if "chat" in path else {"x-api-key": key}
    heads |= {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    with urllib.request.urlopen(urllib.request.Request(f"{vendor.url}{path}", json.dumps(body).encode(), heads)) as got:
        got.read()


def report(vendor: Simulator, path: str, key: str = "sk-admin-sim-x", **asked: Any) -> list[dict[str, Any]]:
    """All buckets of a report, page by page; numbers exact."""
    buckets: list[dict[str, Any]] = []
    page: dict[str, str] = {}
    while True:
        query = urllib.parse.urlencode(asked | page, doseq=True)
        heads = {"authorization": f"Bearer {key}"}
        with urllib.request.urlopen(urllib.request.Request(f"{vendor.url}{path}?{query}", headers=heads)) as got:
            told = json.load(got, parse_float=Decimal)
        buckets += told["data"]
        if not told["has_more"]:
            return buckets
        page = {"page": told["next_page"]}


@pytest.fixture
def busy() -> Any:
    with Simulator() as vendor:
        for key in ("sk-sim-one", "sk-sim-two", "sk-sim-two"):
            post(vendor, "/v1/chat/completions", key, model="gpt-4o-mini")
        post(vendor, "/v1/messages", "sk-sim-one", model="claude-haiku-4-5", max_tokens=99)
        yield vendor


def test_openai_reports_are_the_books(busy: Simulator) -> None:
    """Tokens, requests and money by key come to the billed lines; ungrouped dimensions are null; buckets are paged."""
    billed = [one for one in busy.books.billed if one.vendor == "openai"]
    day = parse_instant(billed[0].instant) // 1_000_000 // 86_400 * 86_400
    asked = {"start_time": day - 86_400, "end_time": day + 86_400, "limit": 1}
    usage = report(busy, "/v1/organization/usage/completions", **asked, **{"group_by[]": ["api_key_id", "model"]})
    assert [bucket["start_time"] for bucket in usage] == [day - 86_400, day]
    found = {one["api_key_id"]: one for one in usage[1]["results"]}
    assert Counter(one.account for one in billed) == {key: one["num_model_requests"] for key, one in found.items()}
    assert sum(one["output_tokens"] for one in found.values()) == 120
    assert {one["service_tier"] for one in found.values()} == {None}
    costs = report(busy, "/v1/organization/costs", **asked, **{"group_by[]": ["api_key_id", "line_item"]})
    total = sum(one["amount"]["value"] for bucket in costs for one in bucket["results"])
    assert total == sum(Decimal(one.amount) for one in billed)
    assert {one["line_item"] for one in costs[1]["results"]} == {
        "gpt-4o-mini-2024-07-18, input",
        "gpt-4o-mini-2024-07-18, output",
    }


def test_anthropic_reports_are_the_books(busy: Simulator) -> None:
    """The same in Anthropic's shapes: no count of requests, amounts in cents as text."""
    (billed,) = (one for one in busy.books.billed if one.vendor == "anthropic")
    asked = {"starting_at": f"{billed.instant[:10]}T00:00:00Z", "limit": 31}
    groups = {"group_by[]": ["api_key_id", "model", "service_tier"]}
    (usage,) = (
        one
        for bucket in report(busy, "/v1/organizations/usage_report/messages", **asked, **groups)
        for one in bucket["results"]
    )
    assert (usage["api_key_id"], usage["model"], usage["output_tokens"]) == (billed.account, billed.model_served, 40)
    costs = report(busy, "/v1/organizations/cost_report", **asked, **{"group_by[]": ["description"]})
    amounts = [one["amount"] for bucket in costs for one in bucket["results"]]
    assert all(isinstance(amount, str) for amount in amounts)
    assert sum(map(Decimal, amounts)) == Decimal(billed.amount) * 100


def test_a_report_lags_and_needs_an_admin_key(busy: Simulator) -> None:
    """What was just billed is not in it yet; a key that may only ask models is 401; bad parameters are 400."""
    with Simulator(settings=Settings(report_lag_ms=60_000)) as slow:
        post(slow, "/v1/chat/completions", "sk-sim-one", model="gpt-4o-mini")
        day = parse_instant(slow.books.billed[0].instant) // 1_000_000 // 86_400 * 86_400
        assert not any(one["results"] for one in report(slow, "/v1/organization/costs", start_time=day))
    for path, key, code in (
        ("/v1/organization/costs?start_time=0", "sk-sim-one", 401),
        ("/v1/organization/costs", "sk-admin-sim-x", 400),
        ("/v1/organization/costs?start_time=0&bucket_width=1h", "sk-admin-sim-x", 400),
        ("/v1/organization/costs?start_time=0&limit=181", "sk-admin-sim-x", 400),
        ("/v1/organizations/cost_report?starting_at=yesterday", "sk-admin-sim-x", 400),
        ("/v1/organization/users", "sk-admin-sim-x", 404),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(
                urllib.request.Request(f"{busy.url}{path}", headers={"authorization": f"Bearer {key}"})
            )
        assert refused.value.code == code, path
