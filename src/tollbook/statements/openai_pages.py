"""What the pages of OpenAI's usage and costs APIs have in common: buckets of whole seconds with results in them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final, NamedTuple

from tollbook.core.faults import BadInput
from tollbook.statements.document import Problem
from tollbook.statements.json_source import read_json

SECOND: Final = 1_000_000


class Result(NamedTuple):
    """One result, its place in the file, and the period of its bucket in microseconds."""

    where: str
    begins: int
    ends: int
    members: dict[str, Any]


def results(source: BinaryIO) -> Iterator[Result | Problem]:
    """The results of one page, or of several pages in a JSON list. Raises BadInput when the file is no such page."""
    value = read_json(source)
    pages = value if isinstance(value, list) else [value]
    for number, page in enumerate(pages):
        where = f"[{number}]" if isinstance(value, list) else ""
        if not isinstance(page, dict) or page.get("object") != "page" or not isinstance(page.get("data"), list):
            raise BadInput(f"{where or 'the file'} is no page of OpenAI's API: expected object `page` with `data`")
    for number, page in enumerate(pages):
        where = f"[{number}]." if isinstance(value, list) else ""
        for place, bucket in enumerate(page["data"]):
            yield from _bucket(bucket, f"{where}data[{place}]")
    if pages and pages[-1].get("has_more"):
        yield Problem("has_more", "the vendor has further pages", "fetch them and import them all together")


def text(result: Result, name: str) -> str | None:
    """A member that is text; anything else is not said."""
    value = result.members.get(name)
    return value if isinstance(value, str) and value else None


def texts_are_texts(result: Result, names: tuple[str, ...]) -> Iterator[Problem]:
    """A problem for each member that should be text and is something else."""
    for name in names:
        if not isinstance(result.members.get(name), str | None):
            yield Problem(f"{result.where}.{name}", "is no text", "the line is kept without it")


def _bucket(bucket: Any, where: str) -> Iterator[Result | Problem]:
    begins = _whole(bucket.get("start_time")) if isinstance(bucket, dict) else None
    ends = _whole(bucket.get("end_time")) if isinstance(bucket, dict) else None
    if begins is None or ends is None or not 0 <= begins < ends < 2**33:
        told = "start_time and end_time are no period in seconds"
        yield Problem(where, told, "its results were not read: fetch the page again")
        return
    found = bucket.get("results", bucket.get("result"))
    if not isinstance(found, list):
        yield Problem(f"{where}.results", "is no list", "fetch the page again")
        return
    for number, members in enumerate(found):
        place = f"{where}.results[{number}]"
        if isinstance(members, dict):
            yield Result(place, begins * SECOND, ends * SECOND, members)
        else:
            yield Problem(place, "is no object", "fetch the page again")


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else None
