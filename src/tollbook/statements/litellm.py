"""LiteLLM's spend logs (`GET /spend/logs`): another gateway's record, one object for each call.

It is no vendor's word: `spend` is what LiteLLM's own price table says. Bodies, users and addresses in it are not read,
and the file is not kept. Prompt tokens include cached ones; they are taken apart where the log holds the usage object.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final

from tollbook.core.faults import BadInput
from tollbook.statements.document import Importer, Item, Line, Problem
from tollbook.statements.json_source import read_json
from tollbook.statements.members import Members


def _read(source: BinaryIO) -> Iterator[Item]:
    value = read_json(source)
    rows = value.get("data") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise BadInput("the file is no spend log of LiteLLM: expected a JSON list of objects with `request_id`")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            yield Problem(f"[{number}]", "is no object", "fetch the log again")
            continue
        found: list[Item] = []
        one = Members(f"[{number}]", row, found)
        begins, ends = one.instant("startTime"), one.instant("endTime")
        if begins is None:
            found.append(Problem(one.where, "has no instant `startTime`", "it was not read: fetch the log again"))
        else:
            yield from _lines(one, begins, begins + 1 if ends is None or ends <= begins else ends)
        yield from found


def _lines(one: Members, begins: int, ends: int) -> Iterator[Item]:
    facts: dict[str, Any] = {
        "where": one.where,
        "begins": begins,
        "ends": ends,
        "model": one.text("model"),
        "project": one.text("team_id"),
        "vendor_key": one.text("api_key"),
        "vendor_request_id": one.text("request_id"),
    }
    spend = one.number("spend")
    currency = None if spend is None else "USD"
    yield Line(kind="cost", item="spend", usage_class="spend", amount=spend, currency=currency, **facts)
    for usage_class, quantity in _quantities(one).items():
        if quantity is not None:
            yield Line(kind="usage", item="tokens", usage_class=usage_class, quantity=quantity, **facts)


def _quantities(one: Members) -> dict[str, Decimal | None]:
    prompt, completion = one.count("prompt_tokens"), one.count("completion_tokens")
    usage = one.part("metadata").part("usage_object")
    read = usage.count("cache_read_input_tokens")
    if read is None:
        read = usage.part("prompt_tokens_details").count("cached_tokens")
    written = usage.count("cache_creation_input_tokens")
    if prompt is None or (read is None and written is None):
        return {"prompt_tokens": prompt, "completion_tokens": completion}
    rest = prompt - (read or 0) - (written or 0)
    if rest < 0:
        one.problem("prompt_tokens", f"{prompt} is less than what was cached", "it is kept as the log has it")
        return {"prompt_tokens": prompt, "completion_tokens": completion}
    return {
        "input": rest,
        "input_cache_read": read,
        "input_cache_write": written,
        "completion_tokens": completion,
    }


IMPORTER: Final = Importer(
    kind="litellm",
    vendor="litellm",
    version=1,
    type="usage_export",
    read=_read,
    recognises=lambda head: b'"spend"' in head and b'"request_id"' in head and b'"startTime"' in head,
    meaning="LiteLLM's spend logs: another gateway's record, not a vendor's",
    may_hold_content=True,
)
