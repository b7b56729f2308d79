"""Anthropic's usage report (`GET /v1/organizations/usage_report/messages`): disjoint counts by minute, hour or day.

It has no count of requests. A key of null is the Console's Workbench, a workspace of null the default one.
"""

from collections.abc import Iterator
from typing import BinaryIO, Final

from tollbook.statements.anthropic_pages import Result, results
from tollbook.statements.document import Importer, Item, Line

_TOKENS: Final = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "input_cache_read",
    "output_tokens": "output",
}
_WRITES: Final = {
    "ephemeral_5m_input_tokens": "input_cache_write_5m",
    "ephemeral_1h_input_tokens": "input_cache_write_1h",
}
_TOOLS: Final = {"web_search_requests": "web_searches"}


def _read(source: BinaryIO) -> Iterator[Item]:
    found: list[Item] = []
    for result in results(source, found):
        yield from _lines(result)
        yield from found
        found.clear()
    yield from found


def _lines(result: Result) -> Iterator[Item]:
    whole = result.members
    parts = ((whole, _TOKENS), (whole.part("cache_creation"), _WRITES), (whole.part("server_tool_use"), _TOOLS))
    for members, classes in parts:
        for name, usage_class in classes.items():
            quantity = members.count(name)
            if quantity is not None:
                tier = whole.text("service_tier")
                yield Line(
                    where=whole.where,
                    begins=result.begins,
                    ends=result.ends,
                    kind="usage",
                    item=name,
                    usage_class=usage_class,
                    quantity=quantity,
                    project=whole.text("workspace_id"),
                    vendor_key=whole.text("api_key_id"),
                    model=whole.text("model"),
                    region=whole.text("inference_geo"),
                    tier=tier,
                    processing="batch" if tier == "batch" else None,
                    context=whole.text("context_window"),
                )


IMPORTER: Final = Importer(
    kind="anthropic_usage",
    vendor="anthropic",
    version=1,
    type="usage_export",
    read=_read,
    recognises=lambda head: b'"cache_read_input_tokens"' in head and b'"starting_at"' in head,
    meaning="Anthropic's usage report, one page or a JSON list of pages",
    final_days=30,
)
