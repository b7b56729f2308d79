"""Housekeeping: files, snapshots and query times stay flat however many commits there are."""

import time
from pathlib import Path
from typing import Any

import pytest
from ledger_story import Story, book_root

from tollbook.core.faults import BrokenPromise
from tollbook.ledger import location
from tollbook.ledger import reader as readers
from tollbook.ledger.digests import table_digests
from tollbook.ledger.housekeeping import FILE_LIMIT, SNAPSHOT_LIMIT, Figures, Upkeep, figures
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Writer
from tollbook.ledger.reader import Reader
from tollbook.ledger.report import report
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace


class Course:
    """A writer that commits again and again, and what was measured on the way."""

    def __init__(self, root: Path, upkeep: Upkeep, every: int = 1) -> None:
        """`every`: one commit in so many has requests; the others have a position only."""
        self.every = every
        self.root = book_root(root)
        self.story = Story()
        self.upkeep = upkeep
        self.loaded = 0
        self.most = Figures(0, {})

    def run(self, commits: int, requests: int) -> None:
        directory = location.make(self.root, location.base_name())
        location.switch(self.root, directory.name)
        with Writer(directory, upkeep=self.upkeep) as writer:
            for number in range(commits):
                for _ in range(requests if number % self.every == 0 else 0):
                    self.story.settle(self.story.open())
                    self.loaded += 1
                writer.load([self.story.heads()])
                if number % 10 == 0:
                    self._look(writer.lake)

    def _look(self, lake: Lake) -> None:
        found = figures(lake)
        files = {name: max(count, self.most.files.get(name, 0)) for name, count in found.files.items()}
        self.most = Figures(max(found.snapshots, self.most.snapshots), files)

    def query_seconds(self) -> float:
        """The quickest of several reports and traces on an open connection."""
        opened = self.story.open()
        self.story.settle(opened)
        with Reader(self.root) as reader:
            request_id = reader.read(lambda lake: str(lake.rows("SELECT max(request_id) FROM requests")[0][0]))
            took = []
            for _ in range(5):
                begun = time.perf_counter()
                report(reader, ["tenant", "model"])
                trace(reader, request_id)
                took.append(time.perf_counter() - begun)
        self.story.pending.clear()
        self.story.sequences.clear()
        return min(took)


def test_files_and_snapshots_stay_few(tmp_path: Path) -> None:
    """Over 300 commits the figures stay near what one round of housekeeping brings, and no row is lost by it."""
    course = Course(tmp_path, Upkeep(commits=20, keep=1, large_every=5, snapshots=60, reconnect=90), every=6)
    course.run(300, 2)
    assert course.most.snapshots <= 100
    assert max(course.most.files.values()) <= 60
    on_disk = len(list(tmp_path.rglob("*.parquet")))
    assert on_disk <= 400
    assert report(tmp_path, [])["total"]["requests"] == course.loaded
    assert check_totals(tmp_path).different == []


@pytest.mark.long
def test_twenty_thousand_commits_leave_queries_as_quick_as_before(tmp_path: Path) -> None:
    """20,000 commits with 5 s for readers: at most 2,000 snapshots and 500 live files per table, flat query times."""
    course = Course(tmp_path, Upkeep(keep=5, large_every=120))
    course.run(1000, 5)
    early = course.query_seconds()
    course.run(19_000, 5)
    late = course.query_seconds()
    course.most.check()
    assert late / early < 3
    assert report(tmp_path, [])["total"]["requests"] == course.loaded


def test_merged_files_hold_the_same_rows(tmp_path: Path) -> None:
    """A ledger that was swept all the time has the digests of one that never was."""
    digests = []
    for name, commits in (("swept", 3), ("plain", 10_000)):
        course = Course(tmp_path / name, Upkeep(commits=commits, keep=0, reconnect=7))
        course.run(20, 2)
        with Reader(course.root) as reader:
            digests.append(reader.read(table_digests))
    assert digests[0] == digests[1]


def test_a_reader_survives_the_removal_of_old_files(tmp_path: Path) -> None:
    """A connection that stays open asks again when its files were merged away."""
    course = Course(tmp_path, Upkeep(commits=1, keep=0))
    course.run(1, 1)
    with Reader(course.root) as reader:
        assert report(reader, [])["total"]["requests"] == 1
        course.story.sequences.clear()
        course.run(4, 1)
        assert report(reader, [])["total"]["requests"] == course.loaded


def test_a_reader_opens_its_connection_anew_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks for days does not keep what it learned of every state of the catalog; its answers stay the same."""
    course = Course(tmp_path, Upkeep())
    course.run(1, 2)
    opened: list[Path] = []

    def open_lake(directory: Path, *, read_only: bool) -> Lake:
        opened.append(directory)
        return Lake(directory, read_only=read_only)

    monkeypatch.setattr(readers, "Lake", open_lake)
    monkeypatch.setattr(readers, "REOPEN_AFTER", 3)
    with Reader(course.root) as reader:
        totals = [report(reader, [])["total"]["requests"] for _ in range(7)]
        assert totals == [2] * 7 and len(opened) == 3


def test_the_last_position_is_one_that_the_state_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statistics may know of a commit that came after the state that is read: a report still finds its position."""
    course = Course(tmp_path, Upkeep())
    course.run(3, 1)
    rows = Lake.rows

    def ahead(self: Lake, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return [(4,)] if sql == "SELECT max(number) FROM positions" else rows(self, sql, *parameters)

    monkeypatch.setattr(Lake, "rows", ahead)
    with Reader(course.root) as reader:
        assert report(reader, [])["provenance"]["position"]["number"] == 3


def test_what_killed_commits_left_is_removed_at_start(tmp_path: Path) -> None:
    """A file that no snapshot knows is gone after the next start; the others stay."""
    course = Course(tmp_path, Upkeep())
    course.run(1, 1)
    (orphan,) = list(tmp_path.rglob("attempts/*.parquet"))
    copy = orphan.with_name("ducklake-00000000-0000-7000-8000-000000000000.parquet")
    copy.write_bytes(orphan.read_bytes())
    course.run(0, 0)
    assert not copy.exists() and orphan.exists()


@pytest.mark.parametrize(
    ("found", "named"),
    [
        (Figures(SNAPSHOT_LIMIT + 1, {}), "2001 snapshots"),
        (Figures(1, {"attempts": FILE_LIMIT + 1}), "attempts has 501 files"),
    ],
)
def test_figures_beyond_the_limits_are_a_broken_promise(found: Figures, named: str) -> None:
    """What `doctor` checks: the figure, its limit and a next step."""
    with pytest.raises(BrokenPromise, match=named):
        found.check()
    Figures(SNAPSHOT_LIMIT, {"attempts": FILE_LIMIT}).check()
