"""What the pages of Anthropic's usage report and cost report have in common: buckets between two instants."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

from tollbook.core.faults import BadInput
from tollbook.statements.document import Item, Problem
from tollbook.statements.json_source import read_json
from tollbook.statements.members import Members


class Result(NamedTuple):
    """One result, and the period of its bucket in microseconds."""

    begins: int
    ends: int
    members: Members


_NO_PERIOD: Final = "starting_at and ending_at are no period"


def results(source: BinaryIO, found: list[Item]) -> Iterator[Result]:
    """The results of one page, or of several in a JSON list; problems go to `found`.

    Raises BadInput when the file is no such page.
    """
    value = read_json(source)
    pages = value if isinstance(value, list) else [value]
    for number, page in enumerate(pages):
        if not isinstance(page, dict) or not isinstance(page.get("data"), list) or "has_more" not in page:
            where = f"[{number}]" if isinstance(value, list) else "the file"
            raise BadInput(f"{where} is no page of Anthropic's API: expected an object with `data` and `has_more`")
    for number, page in enumerate(pages):
        where = f"[{number}]." if isinstance(value, list) else ""
        for place, bucket in enumerate(page["data"]):
            yield from _bucket(bucket, f"{where}data[{place}]", found)
    if pages and pages[-1].get("has_more"):
        found.append(Problem("has_more", "the vendor has further pages", "fetch them and import them all together"))


def _bucket(bucket: Any, where: str, found: list[Item]) -> Iterator[Result]:
    if not isinstance(bucket, dict):
        found.append(Problem(where, "is no object", "fetch the page again"))
        return
    members = Members(where, bucket, found)
    begins, ends = members.instant("starting_at"), members.instant("ending_at")
    if begins is None or ends is None or begins >= ends:
        found.append(Problem(where, _NO_PERIOD, "its results were not read: fetch the page again"))
        return
    inside = bucket.get("results")
    if not isinstance(inside, list):
        members.problem("results", "is no list", "fetch the page again")
        return
    for number, one in enumerate(inside):
        place = f"{where}.results[{number}]"
        if isinstance(one, dict):
            yield Result(begins, ends, Members(place, one, found))
        else:
            found.append(Problem(place, "is no object", "fetch the page again"))
