"""The vendors' reports of usage and cost, made from their own books: OpenAI's and Anthropic's admin APIs.

Shapes, parameters, limits and paging are those of the vendors' documentation. A report is of all accounts; each account
stands in it as a key. What was billed within the vendor's lag is not in it yet.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from tollbook.core.clock import parse_instant
from tollbook.core.faults import BadInput
from tollbook.simulator import anthropic_reports, openai_reports
from tollbook.simulator.books import Billed
from tollbook.simulator.call import Call
from tollbook.simulator.delivery import json_reply
from tollbook.simulator.reply import Reply

REPORT_PATH: Final = "/v1/organization"
ADMIN_KEYS: Final = ("sk-admin-sim-", "sk-ant-admin-sim-")

_REPORTS: Final[dict[str, Callable[[Call, Sequence[Billed]], dict[str, Any]]]] = {
    "/v1/organization/usage/completions": openai_reports.usage,
    "/v1/organization/costs": openai_reports.costs,
    "/v1/organizations/usage_report/messages": anthropic_reports.usage,
    "/v1/organizations/cost_report": anthropic_reports.costs,
}


def report(call: Call, billed: Sequence[Billed], settled: int) -> Reply:
    """Answer one of the admin APIs from the lines that were billed by `settled` (microseconds)."""
    key = (call.header(b"authorization") or "").removeprefix("Bearer ") or call.header(b"x-api-key") or ""
    if not key.startswith(ADMIN_KEYS):
        return _reply(call, 401, {"error": {"message": "an admin key is needed", "type": "authentication_error"}})
    made = _REPORTS.get(call.path)
    if made is None or call.method != "GET":
        told = f"no report {call.method} {call.path}; known: GET {', GET '.join(_REPORTS)}"
        return _reply(call, 404, {"error": {"message": told, "type": "not_found_error"}})
    kept = [one for one in billed if parse_instant(one.instant) <= settled]
    try:
        return _reply(call, 200, made(call, kept))
    except BadInput as fault:
        return _reply(call, 400, {"error": {"message": str(fault), "type": "invalid_request_error"}})


def _reply(call: Call, status: int, value: object) -> Reply:
    return json_reply(status, msgspec.json.encode(value), keep_alive=call.keep_alive)
