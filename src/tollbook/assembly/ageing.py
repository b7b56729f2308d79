"""Attempts that nobody settled: after their time they are settled by estimate, until the vendor's evidence comes.

The book keeps no prompt, so the estimate rests on what the opening says of the request (its size, its output limit) and
on what the vendor reported for other attempts of the same model. Nothing is overwritten: the attempt's opening, the
entry that says it was unsettled, the estimate and the evidence all stay, and the last one counts.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from tollbook.assembly.prices import Raters
from tollbook.core.charging import UNSETTLED
from tollbook.core.clock import SECOND, Clock, now
from tollbook.core.settings import Settings
from tollbook.core.usage import Usage
from tollbook.gateway.rating import Conditions, rated
from tollbook.journal.book import Book
from tollbook.journal.entry import Attempt, Rating, RequestEntry, Settlement, decode_request
from tollbook.journal.recording import BookLane
from tollbook.journal.tail import read_lane
from tollbook.ledger.items import due
from tollbook.ledger.lake import Lake

ADAPTER: Final = "tollbook.ageing/1"
METHOD: Final = "aged v1"
BYTES_PER_TOKEN: Final = 4


class Usual(NamedTuple):
    """What the vendor reported for settled attempts of a model: how many, and their input and output tokens."""

    attempts: int
    input: int
    output: int


class Guess(NamedTuple):
    """An estimated usage, how it was made, and the most it can be."""

    usage: Usage
    method: str
    bound: Usage


def guess(attempt: Attempt, usual: Usual) -> Guess | None:
    """The usage of an attempt of which only the opening is known; None when there is nothing to estimate by.

    Input is the body's bytes by four, output the mean of the model's settled attempts, else the limit that the request
    set. No token has less than a byte and no answer is longer than its limit, so these are the bounds; what the vendor
    reads beside the body (an image by its address, a search) is in none, and a class without a bound has none known.
    """
    usage: Usage = {}
    bound: Usage = {}
    how = []
    size, limit = attempt.body_bytes, attempt.output_limit
    if size is not None:
        usage["input"], bound["input"] = -(-size // BYTES_PER_TOKEN), size
        how.append("input of body bytes/4")
    elif usual.attempts:
        usage["input"] = -(-usual.input // usual.attempts)
        how.append(f"input as the mean of {usual.attempts} attempts")
    if usual.attempts:
        mean = -(-usual.output // usual.attempts)
        usage["output"] = mean if limit is None else min(mean, limit)
        how.append(f"output as the mean of {usual.attempts} attempts")
    elif limit is not None:
        usage["output"] = limit
        how.append("output as its limit")
    if limit is not None:
        bound["output"] = limit
    return Guess(usage, f"{METHOD}, {', '.join(how)}", bound) if usage else None


def match(lane: BookLane, unsettled: RequestEntry, settlement: Settlement, rating: Rating) -> None:
    """Put on record what the vendor's evidence says of an attempt that was unsettled.

    `settlement` has the basis of the evidence, and names the opening as the unsettled entry does; `rating` has a number
    above that of what stood before. Raises JournalUnavailable.
    """
    entry = RequestEntry(
        request=unsettled.request, attempt=unsettled.attempt, settlement=settlement, rating=rating, lane=unsettled.lane
    )
    lane.append("attempt.matched", entry)


class Ageing:
    """Settles by estimate what has been unsettled for too long. The scribe's: it writes into the book's lane."""

    def __init__(self, book: Book, lane: BookLane, settings: Settings, clock: Clock = now) -> None:
        self._book: Final = book
        self._lane: Final = lane
        self._settings: Final = settings
        self._clock: Final = clock
        self._aged: Final[set[tuple[str, int]]] = set()
        self._raters: Final = Raters(book)

    def age(self, lake: Lake) -> int:
        """Write `attempt.aged` for every attempt whose time has come; how many were written.

        `lake` must hold what this process has written before. Raises JournalUnavailable.
        """
        oldest = self._clock() - self._settings.journal.unsettled_after * SECOND
        by_lane: defaultdict[str, set[int]] = defaultdict(set)
        for row in due(lake, oldest):
            if (row["opened_lane"], row["opened_sequence"]) not in self._aged:
                by_lane[row["lane"]].add(row["sequence"])
        entries = [
            entry for name, numbers in by_lane.items() for entry in _entries(self._book.lane_directory(name), numbers)
        ]
        return sum(self._age(lake, entry) for entry in entries)

    def _age(self, lake: Lake, unsettled: RequestEntry) -> bool:
        attempt, opened = unsettled.attempt, unsettled.settlement
        assert attempt is not None and opened is not None and unsettled.lane is not None
        self._aged.add((unsettled.lane, opened.sequence))
        guessed = guess(attempt, _usual(lake, unsettled.request.endpoint, attempt.model_sent))
        if guessed is None:
            return False
        rules = self._settings.charging_rules
        settlement = Settlement(
            opened=opened.opened,
            sequence=opened.sequence,
            outcome="unsettled",
            basis="estimated",
            usage=guessed.usage,
            method=guessed.method,
            bound=guessed.bound,
            borne_by=rules.bearers()[UNSETTLED],
            next="give_up",
            charging=rules.id,
        )
        entry = RequestEntry(
            request=unsettled.request,
            attempt=attempt,
            settlement=settlement,
            rating=self._rating(attempt, unsettled.request.tenant, settlement),
            lane=unsettled.lane,
        )
        self._lane.append("attempt.aged", entry)
        return True

    def _rating(self, attempt: Attempt, tenant: str, settlement: Settlement) -> Rating:
        vendor = self._settings.vendors.get(attempt.vendor)
        rater = self._raters.at(settlement.opened)
        assert settlement.usage is not None
        conditions = Conditions(
            party=attempt.vendor if vendor is None else vendor.billing,
            at=settlement.opened,
            tenant=tenant,
            tenant_bears=settlement.borne_by == "tenant",
        )
        return rated(rater, ADAPTER, attempt.model_sent, settlement.usage, conditions).rating


def _entries(directory: Path, numbers: set[int]) -> list[RequestEntry]:
    """Some entries of a lane."""
    return [decode_request(line.bytes) for line in read_lane(directory) if line.sequence in numbers]


def _usual(lake: Lake, endpoint: str, model: str) -> Usual:
    found: list[tuple[Any, ...]] = lake.rows(
        "SELECT count(*), coalesce(sum(input), 0), coalesce(sum(output), 0) + coalesce(sum(output_reasoning), 0) "
        "FROM attempts WHERE endpoint = $1 AND model_sent = $2 AND basis = 'provider_reported' AND attempts = 1",
        [endpoint, model],
    )
    return Usual(*map(int, found[0]))
