"""Loading: exactly once, visible at once, one writer, whatever dies when."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from ledger_story import WORKER, Story, book_root, load

import tollbook.ledger
from tollbook.core.faults import BookLocked, BrokenPromise, NotFound
from tollbook.journal.replay import Batch
from tollbook.ledger import facts, find, location, tieout
from tollbook.ledger.digests import table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader, Writer
from tollbook.ledger.reader import Reader, position_of, read
from tollbook.ledger.report import report
from tollbook.ledger.schema import TABLES
from tollbook.ledger.tieout import check_totals
from tollbook.ledger.trace import trace

HERE = Path(__file__).parent


def told(positions: int, requests: int = 2) -> list[Batch]:
    """Batches whose requests are settled in the position after the one that opened them."""
    story, batches, open_ones = Story(), [], []
    for _ in range(positions):
        for opened in open_ones:
            story.settle(opened)
        open_ones = [story.open() for _ in range(requests)]
        batches.append(story.heads())
    return batches


def test_a_batch_is_loaded_once(tmp_path: Path) -> None:
    """What is in the ledger is skipped; what comes after is added; a hole is refused and changes nothing."""
    batches = told(4)
    with Loader(book_root(tmp_path)) as loader:
        assert loader.load(batches[:2]) == 2
        assert loader.load(batches[:3]) == 3
        with pytest.raises(BrokenPromise, match="at position 3 and was given 5"):
            loader.load([batches[3]._replace(position=5)])
        assert loader.position == 3
        assert loader.load(batches) == 4
    total = report(tmp_path, [])["total"]
    assert (total["requests"], total["attempts"], total["unsettled"]) == (8, 8, 2)


def test_a_loader_goes_on_where_the_last_one_was(tmp_path: Path) -> None:
    """The state of open attempts comes from the ledger: loading in one go and in three gives the same tables."""
    batches = told(5)
    load(tmp_path / "once", *batches)
    for some in (batches[:1], batches[:3], batches[3:]):
        load(tmp_path / "often", *some)
    digests = [read(tmp_path / name, table_digests) for name in ("once", "often")]
    assert digests[0] == digests[1]
    assert digests[0]["open_attempts"].rows == 2


def test_there_is_one_writer(tmp_path: Path) -> None:
    """A second loader is told who may be in its way."""
    with Loader(book_root(tmp_path)), pytest.raises(BookLocked, match="tollbook serve"):
        Loader(tmp_path)


def test_a_book_without_ledger_says_what_to_do(tmp_path: Path) -> None:
    """Readers of a book that was never loaded, or by another release only, get a next step."""
    with pytest.raises(NotFound, match="tollbook rebuild"):
        report(book_root(tmp_path), [])
    (location.ledgers(tmp_path) / "0-0.0.0").mkdir()
    location.switch(tmp_path, "0-0.0.0")
    with pytest.raises(NotFound, match="another release"):
        report(tmp_path, [])


def test_a_ledger_of_another_release_is_left_alone(tmp_path: Path) -> None:
    """The loader of a new release begins its own ledger beside the old one."""
    (location.ledgers(book_root(tmp_path)) / "0-0.0.0").mkdir()
    location.switch(tmp_path, "0-0.0.0")
    load(tmp_path, *told(1))
    assert location.current(tmp_path) == location.ledgers(tmp_path) / location.base_name()
    assert (location.ledgers(tmp_path) / "0-0.0.0").is_dir()


def test_a_book_may_be_moved(tmp_path: Path) -> None:
    """A ledger holds no path: it is read where the book lies now."""
    load(tmp_path / "here", *told(2))
    (tmp_path / "here").rename(tmp_path / "there")
    assert report(tmp_path / "there", [])["total"]["attempts"] == 4


def test_a_reader_sees_each_commit_at_once(tmp_path: Path) -> None:
    """A reader's connection that stays open sees every position as soon as `load` returns."""
    batches = told(6)
    with Loader(book_root(tmp_path)) as loader, Reader(tmp_path) as reader:
        for batch in batches:
            loader.load([batch])
            assert reader.read(position_of).number == batch.position


POLLER = """
import sys, time
from pathlib import Path
from tollbook.ledger.reader import Reader, position_of
with Reader(Path(sys.argv[1])) as reader:
    def query(lake):
        ((rows,),) = lake.rows("SELECT count(*) FROM attempts")
        ((charges,),) = lake.rows("SELECT count(*) FROM charges")
        return position_of(lake).number, rows, charges
    while True:
        number, rows, charges = reader.read(query)
        assert (rows, charges) == (2 * (number - 1), 4 * (number - 1)), (number, rows, charges)
        print(number, time.time(), flush=True)
        if number >= int(sys.argv[2]):
            break
"""


def test_another_process_reads_whole_states_while_it_loads(tmp_path: Path) -> None:
    """A polling process never sees a torn commit, and sees each within a second."""
    batches = told(25)
    with Loader(book_root(tmp_path)) as loader:
        loader.load(batches[:1])
        command = [sys.executable, "-c", POLLER, str(tmp_path), str(len(batches))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as poller:
            assert poller.stdout is not None
            poller.stdout.readline()
            for batch in batches[1:]:
                loader.load([batch])
                time.sleep(0.02)
            done = time.time()
            seen = [line.split() for line in poller.stdout]
        assert poller.returncode == 0
    number, instant = seen[-1]
    assert int(number) == len(batches) and float(instant) - done < 1


LOAD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_loader import told
from tollbook.ledger.loader import Loader
with Loader(Path(sys.argv[1])) as loader:
    print("ready", flush=True)
    for batch in told(int(sys.argv[3])):
        loader.load([batch])
        print(batch.position, flush=True)
"""


def kill_while_loading(root: Path, positions: int, delay: float) -> int:
    """Load in another process and kill it; the last position that it said was committed."""
    command = [sys.executable, "-c", LOAD, str(root), str(HERE), str(positions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as loading:
        assert loading.stdout is not None
        loading.stdout.readline()
        time.sleep(delay)
        os.kill(loading.pid, signal.SIGKILL)
        acknowledged = loading.stdout.read().split()
    return int(acknowledged[-1]) if acknowledged else 0


def expect_exactly_once(tmp_path: Path, delays: list[float], positions: int) -> None:
    batches = told(positions)
    root = book_root(tmp_path / "killed")
    acknowledged = 0
    for delay in delays:
        acknowledged = max(acknowledged, kill_while_loading(root, positions, delay))
        with Loader(root) as loader:
            assert loader.position >= acknowledged
    with Loader(root) as loader:
        loader.load(batches)
    assert read(root, table_digests) == read(load(tmp_path / "whole", *batches), table_digests)
    assert check_totals(root).different == []


def test_a_loader_killed_in_mid_commit_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """After kill -9 at several instants the tables are those of one undisturbed load."""
    expect_exactly_once(tmp_path, [0.01, 0.06, 0.13, 0.24], positions=60)


@pytest.mark.long
def test_a_loader_killed_many_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """The same over 60 kills."""
    expect_exactly_once(tmp_path, [0.005 + 0.011 * number for number in range(60)], positions=600)


def test_a_failed_commit_leaves_the_loader_where_it_was(tmp_path: Path) -> None:
    """A disk that refuses: nothing is half there, and the same batches load afterwards."""
    batches = told(3)
    with Loader(book_root(tmp_path)) as loader:
        loader.load(batches[:1])
        directory = location.require_current(tmp_path)
        data = directory / "data"
        data.rename(directory / "away")
        data.write_text("")
        with pytest.raises(duckdb.Error):
            loader.load(batches[1:])
        data.unlink()
        (directory / "away").rename(data)
        assert loader.position == 1
        assert loader.load(batches[1:]) == 3
    assert report(tmp_path, [])["total"]["attempts"] == 6


def test_no_file_holds_a_float(tmp_path: Path) -> None:
    """No Parquet file of any table has a DOUBLE, FLOAT or INT96 column: money would be rounded in silence."""
    story = Story()
    story.settle(story.open(tags={"a": "b"}), usage={"input": 1, "images": 2}, bound={"input": 3}, flags=["x"])
    story.open()
    story.close()
    root = load(tmp_path, story.heads())
    files = [str(path) for path in root.rglob("*.parquet")]
    assert len(files) >= 6
    with Lake(location.require_current(root), read_only=True) as lake:
        types = lake.rows("SELECT DISTINCT type FROM parquet_schema($1) WHERE type IS NOT NULL", [files])
    found = {name for (name,) in types}
    assert found and not found & {"DOUBLE", "FLOAT", "INT96"}


def test_the_schema_has_no_type_that_parquet_turns_into_floats() -> None:
    """No column is DOUBLE, FLOAT, HUGEINT or a time with a zone."""
    types = {column.type for table in TABLES for column in table.columns}
    assert not [name for name in types if re.search(r"DOUBLE|FLOAT|REAL|HUGEINT|WITH TIME ZONE|TIMESTAMPTZ", name)]


def test_no_statement_divides_or_averages() -> None:
    """DuckDB's `/`, `avg` and exponent literals are DOUBLE: no SQL text in the room has one."""
    texts = [path.read_text() for path in Path(tollbook.ledger.__file__).parent.glob("*.py")]
    strings = [text for source in texts for text in re.findall(r'"(?:[^"\\\n]|\\.)*"', source)]
    sql = [text for text in strings if re.search(r"\b(SELECT|sum\(|GROUP BY|INSERT|CAST)\b|sum\(", text)]
    assert len(sql) > 25
    assert not [text for text in sql if re.search(r"(?<!ducklake:sqlite:) / |\bavg\(|\d[eE][+-]?\d", text)]


def test_every_result_is_exact(tmp_path: Path) -> None:
    """What the statements of the room give holds no float."""
    root = load(tmp_path, *told(2))

    def types(lake: Lake) -> set[str]:
        statements = [tieout.FROM_ROWS, tieout.FROM_TOTALS, find._REQUEST_SUMS]
        found = {row[1] for statement in statements for row in lake.rows(f"DESCRIBE {statement}")}
        united = facts.facts("TRUE", with_route=True).replace("$position", "1")
        return found | {row[1] for row in lake.rows(f"DESCRIBE {united}")}

    assert not read(root, types) & {"DOUBLE", "FLOAT"}


def test_a_million_is_told_exactly(tmp_path: Path) -> None:
    """Sums beyond what 64 bits hold in picodollars stay exact to the last digit."""
    story = Story()
    for _ in range(40):
        story.settle(story.open(), rating=story.rating("999999.999999999999"))
    root = load(tmp_path, story.heads())
    assert report(root, [])["total"]["amount_usd"] == "39999999.99999999996"
    assert check_totals(root).different == []


def test_the_writer_recovers_what_is_open(tmp_path: Path) -> None:
    """Rows of open attempts are the same after a restart, tags and all."""
    story = Story()
    opened = story.open(tags={"b": "2", "a": "1"})
    root = load(tmp_path, story.heads())
    with Loader(root) as loader:
        loader.load([story.heads()])
    assert trace(root, opened.request.id)["request"]["tags"] == {"a": "1", "b": "2"}
    assert trace(root, opened.request.id)["entries"][0]["lane"] == WORKER


def test_a_new_connection_goes_on(tmp_path: Path) -> None:
    """A writer that opens a new connection between commits loses nothing."""
    from tollbook.ledger.housekeeping import Upkeep

    batches = told(9)
    directory = location.make(book_root(tmp_path), location.base_name())
    with Writer(directory, upkeep=Upkeep(commits=2, keep=0, reconnect=3)) as writer:
        for batch in batches:
            writer.load([batch])
    location.switch(tmp_path, directory.name)
    assert report(tmp_path, [])["total"]["attempts"] == 18
