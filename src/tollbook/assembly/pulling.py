"""Pulling a vendor's reports of usage and cost: day by day, each report one statement, as the vendor gave its pages.

A day that was pulled before and is told otherwise now replaces what was told; the same again changes nothing.
"""

import http.client
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tollbook.assembly.importing import Imported, Wanted, import_statement, prepared
from tollbook.core.clock import now
from tollbook.core.faults import BadInput, Fault
from tollbook.statements.admin import Report, following
from tollbook.statements.document import Head

PAGE_BYTES: Final = 64 * 1024 * 1024
PAGES: Final = 1000
PATIENCE_SECONDS: Final = 60.0
TRIES: Final = 4
LONGEST_WAIT: Final = 60.0
DAY: Final = 24 * 3600 * 1_000_000
_AGAIN: Final = frozenset((429, 500, 502, 503, 504, 529))


class PullFault(Fault):
    """A vendor did not give a report; what was pulled before stays."""

    code = "pull_failed"


class Account(NamedTuple):
    """Where a vendor's reports are and the admin key that opens them."""

    vendor: str
    origin: str
    key: str


class Pulled(NamedTuple):
    """What one report of one day became; `imported` None: the vendor had nothing for it."""

    kind: str
    day: int
    imported: Imported | None


def pull(
    root: Path,
    account: Account,
    reports: tuple[Report, ...],
    days: list[int],
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Pulled]:
    """Pull days (instants of their beginnings), each report of each, in order.

    Raises PullFault when the vendor does not answer as it should, naming address and status, never the key.
    """
    for day in days:
        for report in reports:
            pages = list(_pages(account, report, day, sleep))
            if not any(bucket.get("results") for page in pages for bucket in _decoded(page)["data"]):
                yield Pulled(report.kind, day, None)
                continue
            yield Pulled(report.kind, day, _take_in(root, account, report, day, pages))


def _take_in(root: Path, account: Account, report: Report, day: int, pages: list[bytes]) -> Imported:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"{report.kind}.json"
        path.write_bytes(b"[" + b",\n".join(pages) + b"]\n" if len(pages) > 1 else pages[0])
        wanted = Wanted(
            path=path,
            kind=report.kind,
            head=Head(vendor=account.vendor),
            observed=now(),
            grade="pulled",
            origin=report.address(account.origin, day, day + DAY, None),
        )
        with prepared(wanted) as one:
            return import_statement(root, wanted, one)


def _pages(account: Account, report: Report, day: int, sleep: Callable[[float], None]) -> Iterator[bytes]:
    name: str | None = None
    for _ in range(PAGES):
        address = report.address(account.origin, day, day + DAY, name)
        page = _get(address, report.headers(account.key), sleep)
        yield page
        name = following(_decoded(page, address))
        if name is None:
            return
    raise PullFault(f"{report.path}: more than {PAGES:,} pages for one day; nothing of it was taken in")


def _decoded(page: bytes, address: str = "") -> Any:
    try:
        document = msgspec.json.decode(page)
        following(document)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as fault:
        raise PullFault(f"{address}: {fault}; nothing of it was taken in") from None
    return document


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the admin key to another place."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _get(address: str, headers: dict[str, str], sleep: Callable[[float], None]) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    wait = 1.0
    for number in range(1, TRIES + 1):
        try:
            request = urllib.request.Request(address, headers=headers)  # noqa: S310  the configuration allows http(s) only
            with opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                page: bytes = answer.read(PAGE_BYTES + 1)
            if len(page) > PAGE_BYTES:
                raise PullFault(f"{address}: a page of more than {PAGE_BYTES:,} bytes")
            return page
        except urllib.error.HTTPError as fault:
            fault.close()
            if fault.code not in _AGAIN or number == TRIES:
                raise PullFault(f"{address}: the vendor answered {fault.code}; {_advice(fault.code)}") from None
            wait = _asked_wait(fault.headers.get("retry-after"), wait)
        except (OSError, http.client.HTTPException) as fault:
            if number == TRIES:
                raise PullFault(f"{address}: {fault}; nothing of it was taken in, try again later") from None
        sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT)
    raise AssertionError("the last try returns or raises")


def _advice(status: int) -> str:
    if status in (401, 403):
        return "look at `statements.secret` of the vendor: it must be an admin key"
    return "nothing of it was taken in, try again later"


def _asked_wait(told: str | None, usual: float) -> float:
    return min(float(told), LONGEST_WAIT) if told is not None and told.isascii() and told.isdigit() else usual


def days_of(since: int, until: int) -> list[int]:
    """The UTC days of a span. Raises BadInput when it has parts of days, or more than 400."""
    if since % DAY or until % DAY or since >= until:
        raise BadInput("--from and --to: whole UTC days are pulled, such as --from 2026-10-01 --to 2026-11-01")
    if until - since > 400 * DAY:
        raise BadInput("--from and --to: at most 400 days are pulled at once")
    return list(range(since, until, DAY))
