"""What to ask a vendor's admin API for a day's usage and cost, and how a page says that another follows.

Sources: OpenAI, API reference of `organization/usage` and `organization/costs`; Anthropic, Admin API reference of
`usage_report/messages` and `cost_report`.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from msgspec import Struct

from tollbook.core.clock import SECOND, format_instant


class Report(Struct, frozen=True, kw_only=True):
    """One report: the kind of statement its pages are, its path, the query for a span of instants, and the headers that
    carry the admin key."""

    kind: str
    path: str
    query: Callable[[int, int], list[tuple[str, str]]]
    headers: Callable[[str], dict[str, str]]

    def address(self, origin: str, since: int, until: int, page: str | None) -> str:
        """Where a page of it is."""
        asked = [*self.query(since, until), *([("page", page)] if page is not None else [])]
        return f"{origin}{self.path}?{urlencode(asked)}"


def following(page: Any) -> str | None:
    """The name of the page after this one; None when it is the last. Raises ValueError when it is no page."""
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise ValueError("the answer is no page of a report")
    if not page.get("has_more"):
        return None
    name = page.get("next_page")
    if not isinstance(name, str) or not name:
        raise ValueError("a page says that another follows, and does not name it")
    return name


def _openai(*groups: str) -> Callable[[int, int], list[tuple[str, str]]]:
    def query(since: int, until: int) -> list[tuple[str, str]]:
        asked = [("start_time", str(since // SECOND)), ("end_time", str(until // SECOND)), ("bucket_width", "1d")]
        return [*asked, *(("group_by[]", name) for name in groups)]

    return query


def _anthropic(*groups: str) -> Callable[[int, int], list[tuple[str, str]]]:
    def query(since: int, until: int) -> list[tuple[str, str]]:
        asked = [("starting_at", _second(since)), ("ending_at", _second(until)), ("bucket_width", "1d")]
        return [*asked, *(("group_by[]", name) for name in groups)]

    return query


def _second(instant: int) -> str:
    return format_instant(instant)[:19] + "Z"


def _bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def _anthropic_key(key: str) -> dict[str, str]:
    return {"x-api-key": key, "anthropic-version": "2023-06-01"}


REPORTS: Final = {
    "openai": (
        Report(
            kind="openai_usage",
            path="/v1/organization/usage/completions",
            query=_openai("project_id", "api_key_id", "model", "batch", "service_tier"),
            headers=_bearer,
        ),
        Report(
            kind="openai_costs",
            path="/v1/organization/costs",
            query=_openai("project_id", "api_key_id", "line_item"),
            headers=_bearer,
        ),
    ),
    "anthropic": (
        Report(
            kind="anthropic_usage",
            path="/v1/organizations/usage_report/messages",
            query=_anthropic("api_key_id", "workspace_id", "model", "service_tier", "context_window", "inference_geo"),
            headers=_anthropic_key,
        ),
        Report(
            kind="anthropic_costs",
            path="/v1/organizations/cost_report",
            query=_anthropic("workspace_id", "description"),
            headers=_anthropic_key,
        ),
    ),
}
"""By wire format: the reports that a day is pulled from."""
ORIGINS: Final = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}
"""By wire format: where the vendor serves them, unless told."""
