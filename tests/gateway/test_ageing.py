"""An attempt whose worker died is settled by estimate after its time, once, and by evidence when that comes."""

from pathlib import Path
from typing import Any

import pytest

from tollbook import config
from tollbook.assembly.ageing import Ageing, Usual, guess, match
from tollbook.assembly.service import init
from tollbook.core.clock import SECOND, now
from tollbook.journal.closing import examine, unsettled
from tollbook.journal.entry import FORMAT, Attempt, LaneBegin, Rating, Request, RequestEntry, Settlement, encode_payload
from tollbook.journal.lane import Lane
from tollbook.journal.recording import BookLane
from tollbook.journal.replay import replay
from tollbook.ledger.digests import table_digests
from tollbook.ledger.items import open_items
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader
from tollbook.ledger.reader import read
from tollbook.ledger.rebuild import rebuild
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace
from tollbook.pricing.book import base_book
from tollbook.pricing.rate import Rater

REQUEST = Request(id="01900000-0000-7000-8000-000000000001", tenant="acme", key="k", endpoint="openai.chat")
HOURS = 3_600 * SECOND
GUESSES: list[tuple[dict[str, Any], Usual, tuple[dict[str, int], dict[str, int]] | None]] = [
    ({}, Usual(0, 0, 0), None),
    ({"body_bytes": 401}, Usual(0, 0, 0), ({"input": 101}, {"input": 401})),
    ({"body_bytes": 400, "output_limit": 50}, Usual(0, 0, 0),
     ({"input": 100, "output": 50}, {"input": 400, "output": 50})),
    ({"body_bytes": 400, "output_limit": 50}, Usual(3, 900, 100),
     ({"input": 100, "output": 34}, {"input": 400, "output": 50})),
    ({"output_limit": 20}, Usual(3, 900, 100), ({"input": 300, "output": 20}, {"output": 20})),
    ({}, Usual(3, 901, 100), ({"input": 301, "output": 34}, {})),
]  # fmt: skip


@pytest.mark.parametrize(("opening", "usual", "expected"), GUESSES)
def test_a_guess_stays_within_its_bound(
    opening: dict[str, Any], usual: Usual, expected: tuple[dict[str, int], dict[str, int]] | None
) -> None:
    """From the body's size, the limit asked and the model's usual: never above the limit, nothing from nothing."""
    guessed = guess(Attempt(number=1, vendor="v", vendor_key="k", model_sent="m", **opening), usual)
    assert (guessed and (guessed.usage, guessed.bound)) == expected
    assert guessed is None or all(guessed.usage[name] <= most for name, most in guessed.bound.items())


class Scene:
    """A book with one attempt that nobody settled, its writer and its ledger."""

    def __init__(self, directory: Path) -> None:
        self.book = init(directory / "book")
        self.root = self.book.root
        self.settings = config.parse(
            "book: ./book\nvendors: {openai: {format: openai, base_url: 'https://api.openai.com/v1', "
            "keys: [{name: main, secret: 'env:X'}]}}",
            base=directory,
        )
        lane = self.lane("worker")
        attempt = Attempt(
            number=1, vendor="openai", vendor_key="main", model_sent="gpt-4o-mini", body_bytes=4_000, output_limit=1_000
        )
        lane.append("request.opened", encode_payload(RequestEntry(request=REQUEST, attempt=attempt)))
        lane.close("stopped")
        (self.unsettled,) = unsettled(examine(lane.directory))
        supervisor = self.lane("supervisor")
        supervisor.append("attempt.unsettled", encode_payload(self.unsettled))
        supervisor.close("stopped")
        self.writer = BookLane.open(self.book, release="t")
        self.keeper = self.writer.keeper()
        self.loader = Loader(self.root)
        self.load()

    def lane(self, role: str) -> Lane:
        name = self.book.new_lane_name(role)
        begin = LaneBegin(
            book=self.book.id, lane=name, role=role, format=FORMAT, release="t", configuration="c", host="h", process=1
        )
        return Lane.create(self.book.lane_directory(name), begin, ballast=0)

    def load(self) -> Lake:
        while self.writer.advance(self.keeper) is not None:
            pass
        self.loader.load(replay(self.root, self.loader.position))
        return self.loader.lake

    def ageing(self, hours: int) -> Ageing:
        """A scribe so many hours later."""
        return Ageing(self.book, self.writer, self.settings, lambda: now() + hours * HOURS)

    def attempt(self) -> dict[str, Any]:
        found: dict[str, Any] = trace(self.root, REQUEST.id)["attempts"][0]
        return found

    def close(self) -> None:
        self.loader.close()
        self.writer.close("stopped")


def test_after_its_time_it_is_estimated_and_evidence_replaces_it(tmp_path: Path) -> None:
    """72 hours, then an entry with method and bound; once, whoever asks again; evidence stands instead (L10)."""
    scene = Scene(tmp_path)
    assert scene.ageing(71).age(scene.load()) == 0
    assert scene.attempt()["usage_basis"] == "unreported"
    ageing = scene.ageing(73)
    assert (ageing.age(scene.load()), ageing.age(scene.load())) == (1, 0)
    assert scene.ageing(100).age(scene.load()) == 0
    aged = scene.attempt()
    assert (aged["outcome"], aged["usage_basis"], aged["borne_by"]) == ("unsettled", "estimated", "platform")
    assert aged["usage"] == {"input": 1_000, "output": 1_000}
    assert aged["usage_bound"] == {"input": 4_000, "output": 1_000}
    assert "body bytes/4" in aged["usage_method"]
    assert (aged["amounts"]["expected"], aged["amounts"]["recharge"]) == ("0.00075", "0")
    assert [item["state"] for item in open_items(scene.root)["unsettled"]] == ["aged"]

    opening = scene.unsettled.settlement
    assert opening is not None
    usage = {"input": 900, "output": 10}
    found = Rater(base_book()).rate("openai", "gpt-4o-mini", usage, opening.opened)
    settlement = Settlement(
        opened=opening.opened, sequence=opening.sequence, outcome="ok", basis="invoiced", usage=usage, billable=True
    )
    rating = Rating(book=base_book().digest, adapter="test/1", charges=found.charges, number=2)
    match(scene.writer, scene.unsettled, settlement, rating)
    scene.load()
    matched = scene.attempt()
    assert (matched["outcome"], matched["usage_basis"], matched["usage"]) == ("ok", "invoiced", usage)
    assert matched["amounts"]["expected"] == "0.000141"
    assert open_items(scene.root)["unsettled"] == []
    assert scene.ageing(200).age(scene.load()) == 0
    before = read(scene.root, table_digests)
    scene.close()
    rebuild(scene.root)
    assert read(scene.root, table_digests) == before
    assert check_totals(scene.root).different == []


def test_a_scribe_that_begins_anew_ages_nothing_twice(tmp_path: Path) -> None:
    """What a former scribe wrote is in the ledger before the next one looks."""
    scene = Scene(tmp_path)
    assert scene.ageing(73).age(scene.load()) == 1
    scene.close()
    scene.writer = BookLane.open(scene.book, release="t")
    scene.keeper = scene.writer.keeper()
    scene.loader = Loader(scene.root)
    assert scene.ageing(73).age(scene.load()) == 0
    scene.close()
