"""What a claim is about: requests found by the ids that people have, and the case that is opened about them."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.core.faults import BadInput, NotFound
from tollbook.core.identity import is_request_id
from tollbook.ledger.find import find
from tollbook.ledger.reader import Reader
from tollbook.ledger.trace import trace

Document = dict[str, Any]

COLUMNS: Final = ("request_id", "vendor_request_id", "response_id", "trace_id")
"""Columns of a tenant's own records by which a request is found, the best first."""
ROW_LIMIT: Final = 10_000
FILE_LIMIT: Final = 16 * 1024 * 1024


class Matched(NamedTuple):
    """The requests of one tenant that a claim is about; of records, how many there were and which were not matched."""

    tenant: str
    requests: list[str]
    rows: int | None = None
    missed: tuple[tuple[int, str], ...] = ()


def of_id(root: Path, text: str, tenant: str | None) -> Matched:
    """What one id names: of a request, of a trace, of a vendor. Raises NotFound, BadInput for the ids of several."""
    with Reader(root) as reader:
        owner, requests = named(reader, text, tenant)
    return Matched(owner, requests)


def of_records(root: Path, path: Path, tenant: str | None) -> Matched:
    """What a tenant's own records name: a CSV file with a header. Each row is matched, or it is said why not.

    Raises BadInput when the file cannot be read, or names requests of several tenants.
    """
    matched: dict[str, None] = {}
    owners: dict[str, int] = {}
    missed, count = [], 0
    with Reader(root) as reader:
        for number, ids in rows_of(path):
            count = number
            why = "no id that we know: " + ", ".join(COLUMNS)
            for text in ids:
                try:
                    owner, requests = named(reader, text, tenant)
                except NotFound:
                    why = f"no request is known by {text[:64]}"
                    continue
                except BadInput as fault:
                    why = str(fault)
                    continue
                owners.setdefault(owner, number)
                repeated = [one for one in requests if one in matched]
                why = f"the same request as another row: {repeated[0]}" if repeated else ""
                matched.update(dict.fromkeys(requests))
                break
            if why:
                missed.append((number, why))
    if len(owners) > 1:
        raise BadInput(
            f"{path}: the records are of {len(owners)} tenants ({', '.join(sorted(owners)[:5])}); one a case"
        )
    if not matched:
        first = f"; row {missed[0][0]}: {missed[0][1]}" if missed else ""
        raise NotFound(f"{path}: none of its {count:,} rows names a request of ours{first}")
    return Matched(next(iter(owners)), list(matched), count, tuple(missed[:100]))


def open_case(
    root: Path, matched: Matched, claim: str, by: str | None, expected: Document | None, key: str | None = None
) -> Document:
    """Have the case opened by the book's writer."""
    from tollbook.assembly.service import ask_book

    done: Document = ask_book(
        root,
        "case.open",
        {
            "tenant": matched.tenant,
            "requests": matched.requests,
            "claim": claim,
            "by": by,
            "key": key,
            "expected": expected,
            "rows": matched.rows,
            "missed": matched.missed,
        },
    )
    return done


def named(reader: Reader, text: str, tenant: str | None) -> tuple[str, list[str]]:
    """The tenant and the requests that an id names."""
    wanted = text.strip()
    if is_request_id(wanted.lower()):
        return trace(reader, wanted, tenant=tenant)["request"]["tenant"], [wanted.lower()]
    by_ids = ("request_id", "attempt_id", "trace_id", "vendor_request_id", "response_id")
    hits = [hit for hit in find(reader, wanted, tenant=tenant)["hits"] if hit["by"] in by_ids]
    tenants = sorted({hit["tenant"] for hit in hits})
    if not hits:
        raise NotFound(f"no request is known by {wanted[:64]!r}; `tollbook find` looks further")
    if len(tenants) > 1:
        raise BadInput(f"{wanted[:64]!r} names requests of {len(tenants)} tenants: say which, with --tenant")
    return tenants[0], list(dict.fromkeys(hit["request_id"] for hit in hits))


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and ids of each row of a CSV file."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadInput(f"--csv: {path} cannot be read: {fault}") from None
    if len(data) > FILE_LIMIT:
        raise BadInput(f"--csv: {path} is larger than {FILE_LIMIT} bytes; split it")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        known = [name for name in COLUMNS if name in (reader.fieldnames or ())]
        if not known:
            raise BadInput(f"--csv: {path} has no column by which a request is known: {', '.join(COLUMNS)}")
        for number, row in enumerate(reader, start=1):
            if number > ROW_LIMIT:
                raise BadInput(f"--csv: {path} has more than {ROW_LIMIT:,} rows; split it")
            yield number, [value.strip() for name in known if (value := row[name]) and value.strip()]
    except csv.Error as fault:
        raise BadInput(f"--csv: {path}, line {reader.line_num}: {fault}") from None
