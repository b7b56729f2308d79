"""Reports: what is summed, by what, over which time, at which position."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ledger_story import BOOK, Story, load

from tollbook.core.clock import parse_instant
from tollbook.core.faults import BadInput, BrokenPromise, NotFound
from tollbook.core.money import parse_amount
from tollbook.core.vocabulary import DIMENSIONS
from tollbook.ledger.loader import Loader
from tollbook.ledger.reader import Reader, position_at
from tollbook.ledger.report import report

pytestmark = pytest.mark.xdist_group("report")

DST_START = parse_instant("2026-10-30T00:00:00Z")


@pytest.fixture(scope="module")
def day_book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, list[int]]]:
    """A book with a request at random instants of 5 days over which New York and Berlin stand at other offsets; and
    the instants at which the vendor's work began."""
    story, chance, occurred = Story(), Random(7), []
    for instant in sorted(DST_START + chance.randrange(5 * 86_400_000) * 1000 for _ in range(300)):
        story.now = instant
        opened = story.open(tenant=chance.choice(["acme", "beta"]))
        occurred.append(opened.recorded)
        story.settle(opened, rating=story.rating("0.25"))
    root = load(tmp_path_factory.mktemp("days"), story.heads())
    with Reader(root) as reader:
        yield reader, occurred


ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "America/Los_Angeles"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(("name", "form"), [("day", "%Y-%m-%d"), ("month", "%Y-%m"), ("hour", "%Y-%m-%dT%H:00%:z")])
def test_calendar_rows_are_those_of_the_zone(
    day_book: tuple[Reader, list[int]], zone: str, name: str, form: str
) -> None:
    """Each instant falls into the hour, day and month that the zone's clocks showed, also where they change."""
    reader, occurred = day_book
    clocks = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(ZoneInfo(zone)) for at in occurred
    ]
    expected = Counter(_form(clock, form) for clock in clocks)
    told = report(reader, [name], zone=zone)
    assert {row["dimensions"][name]: row["requests"] for row in told["rows"]} == expected
    assert told["total"]["requests"] == len(occurred)


def _form(clock: datetime, form: str) -> str:
    offset = clock.strftime("%z")
    return clock.strftime(form.replace("%:z", "")) + (f"{offset[:3]}:{offset[3:]}" if "%:z" in form else "")


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "America/Los_Angeles"])
def test_days_add_up_to_their_span(day_book: tuple[Reader, list[int]], zone: str) -> None:
    """Reports of single local days, each from midnight to midnight, add up to the report of all."""
    reader, _ = day_book
    midnights = [
        int(datetime(2026, month, day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000
        for month, day in ((10, 29), (10, 30), (10, 31), (11, 1), (11, 2), (11, 3), (11, 6))
    ]
    parts = [report(reader, [], since=since, until=until)["total"] for since, until in pairwise(midnights)]
    whole = report(reader, [])["total"]
    assert sum(part["requests"] for part in parts) == whole["requests"]
    assert sum(parse_amount(part["amount_usd"] or "0") for part in parts) == parse_amount(whole["amount_usd"])


def test_a_span_holds_its_beginning_and_not_its_end(day_book: tuple[Reader, list[int]]) -> None:
    """Periods are half-open: an instant on the border is in the later one only."""
    reader, occurred = day_book
    border = occurred[100]
    assert report(reader, [], until=border)["total"]["requests"] == 100
    assert report(reader, [], since=border)["total"]["requests"] == len(occurred) - 100


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Two tenants, retried, unpriced, refused, unsettled, euros, images, tags; and one that is still open."""
    story = Story()
    first = story.open(tags={"team": "a"}, user="u" * 43)
    story.fail(first)
    story.settle(
        story.again(first, reason="fallback", vendor="claude", model_sent="haiku"), usage={"images": 2, "input": 1}
    )
    story.settle(story.open(tenant="beta", stream=True), rating=story.rating("1", None, unpriced="no_row"))
    story.settle(story.open(tenant="beta"), rating=story.rating("2.5", currency="EUR"))
    story.bury(story.open())
    story.close()
    story.open(tenant="beta")
    with Reader(load(tmp_path_factory.mktemp("mixed"), story.heads())) as reader:
        yield reader


@pytest.mark.parametrize("name", [*DIMENSIONS, "tag:team", "tag:none"])
def test_every_dimension_of_the_word_list_adds_up(mixed: Reader, name: str) -> None:
    """By any dimension the rows add up to the same total."""
    told = report(mixed, [name])
    assert told["total"] == report(mixed, [])["total"]
    assert (told["total"]["requests"], told["total"]["attempts"]) == (6, 6)
    for measure in ("requests", "attempts", "unpriced", "unsettled", "unreported"):
        assert sum(row[measure] for row in told["rows"]) == told["total"][measure]
    for currency, amount in told["total"]["amounts"].items():
        parts = [parse_amount(row["amounts"][currency]) for row in told["rows"] if currency in row["amounts"]]
        assert sum(parts) == parse_amount(amount)
    for name_of_class, quantity in told["total"]["usage"].items():
        assert sum(row["usage"].get(name_of_class, 0) for row in told["rows"]) == quantity


def test_a_request_counts_where_its_last_attempt_does(mixed: Reader) -> None:
    """A fallen-back request is one request of the vendor that answered; the refused attempt counts as an attempt."""
    rows = {row["dimensions"]["vendor"]: row for row in report(mixed, ["vendor"], tenant="acme")["rows"]}
    assert (rows["claude"]["requests"], rows["claude"]["attempts"]) == (1, 1)
    assert (rows["openai"]["requests"], rows["openai"]["attempts"]) == (1, 2)
    assert (rows[None]["requests"], rows[None]["attempts"]) == (1, 0)


def test_currencies_are_never_mixed(mixed: Reader) -> None:
    """Totals stand per currency; dollars hold dollars only; the unpriced attempt is left out and counted."""
    row = next(row for row in report(mixed, ["tenant"])["rows"] if row["dimensions"]["tenant"] == "beta")
    assert row["amounts"] == {"EUR": "2.5"} and row["amount_usd"] is None
    assert (row["unpriced"], row["unsettled"]) == (1, 1)


def test_usage_has_a_class_only_where_it_was_reported(mixed: Reader) -> None:
    """A class that nobody reported is absent, one reported is there, images too."""
    rows = {row["dimensions"]["vendor"]: row["usage"] for row in report(mixed, ["vendor"])["rows"]}
    assert rows["claude"] == {"input": 1, "images": 2}
    assert rows[None] == {}


def test_the_route_of_a_request_covers_its_attempts(mixed: Reader) -> None:
    """The first attempt of a request is in the row of the whole request's route."""
    rows = report(mixed, ["route", "reason"], tenant="acme")["rows"]
    assert [row["attempts"] for row in rows if row["dimensions"] == {"route": "r", "reason": "first"}] == [1]


def test_provenance_says_how_it_was_made(mixed: Reader) -> None:
    """Parameters, position, books, rows and control totals; asked again, the bytes are the same."""
    told = report(mixed, ["tenant", "model"], zone="Europe/Berlin")
    made = told["provenance"]
    assert made["parameters"]["by"] == ["tenant", "model"] and made["parameters"]["tz"] == "Europe/Berlin"
    assert (made["position"]["number"], made["books"], made["rows"]) == (1, [BOOK], len(told["rows"]))
    assert made["control_totals"]["requests"] == told["total"]["requests"]
    assert json.dumps(told) == json.dumps(report(mixed, ["tenant", "model"], zone="Europe/Berlin"))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"by": ["colour"]}, "'colour'"),
        ({"by": ["tag:"]}, "'tag:'"),
        ({"by": ["tenant", "tenant"]}, "named twice"),
        ({"by": [], "on": "billed"}, "'billed'"),
        ({"by": [], "zone": "Mars/Olympus"}, "'Mars/Olympus'"),
        ({"by": [], "zone": "../../etc/passwd"}, "no such time zone"),
        ({"by": [], "amount": "effective"}, "'effective'"),
        ({"by": [], "since": 5, "until": 5}, "empty"),
        ({"by": [], "as_of": 77}, "no position 77"),
    ],
)
def test_a_wrong_word_is_named(mixed: Reader, asked: dict[str, Any], named: str) -> None:
    """Each wrong argument is told by name."""
    with pytest.raises(BadInput, match=named):
        report(mixed, **asked)


def test_a_position_gives_the_same_bytes_for_ever(tmp_path: Path) -> None:
    """A report as of a position, made when the position was the last one, is made again later to the same bytes: what
    was open then counts as open, what came later does not count."""
    story, made, instants = Story(), {}, {}
    chance = Random(3)
    open_ones = []
    with Loader(load(tmp_path)) as loader, Reader(tmp_path) as reader:
        for position in range(1, 7):
            for opened in [opened for opened in open_ones if chance.random() < 0.5]:
                open_ones.remove(opened)
                if chance.random() < 0.3:
                    story.bury(opened)
                elif chance.random() < 0.3:
                    story.fail(opened)
                    open_ones.append(story.again(opened))
                else:
                    story.settle(opened)
            open_ones += [story.open(tenant=chance.choice("ab")) for _ in range(3)]
            story.close()
            batch = story.heads()
            loader.load([batch])
            instants[position] = batch.recorded
            made[position] = [json.dumps(report(reader, by)) for by in (["tenant", "outcome"], ["vendor", "route"])]
        for position, texts in made.items():
            again = [
                json.dumps(report(reader, by, as_of=position)) for by in (["tenant", "outcome"], ["vendor", "route"])
            ]
            assert again == texts
            assert position_at(reader, instants[position]) == position
            assert position_at(reader, instants[position] + 1) == position
        with pytest.raises(NotFound, match="no position at or before"):
            position_at(reader, instants[1] - 1)


def test_a_lane_that_is_behind_is_named(tmp_path: Path) -> None:
    """A lane without a sign of life for more than five seconds makes what is reported incomplete, by name; a closed
    one does not."""
    story = Story()
    story.lane_opened("worker-x")
    story.settle(story.open(lane="worker-x"))
    story.settle(story.open(lane="worker-y"))
    one = story.heads()
    story.now += 6_000_000
    story.settle(story.open(lane="worker-y"))
    two = story.heads()
    story.lane_closed("worker-x")
    root = load(tmp_path, one, two, story.heads())
    incomplete = [report(root, [], as_of=number)["provenance"]["incomplete"] for number in (1, 2, 3)]
    assert "worker-x" not in incomplete[0]
    assert "worker-x" in incomplete[1] and "worker-y" not in incomplete[1]
    assert "worker-x" not in incomplete[2]


def test_rows_that_do_not_add_up_are_never_shown(mixed: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A total that differs from the sums of the same facts is a broken promise, not a report."""
    from tollbook.ledger.report import _Statements

    whole = _Statements.control
    monkeypatch.setattr(_Statements, "control", lambda self: whole(self).replace('sum("requests")', "count(*)"))
    with pytest.raises(BrokenPromise, match="do not add up"):
        report(mixed, ["tenant"])
