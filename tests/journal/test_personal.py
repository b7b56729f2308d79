"""People can be forgotten: a value that was erased is in no file under the book, and everything still verifies."""

import multiprocessing
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from bookmaking import ACTOR, START, ToldClock, begin_lane, make_book, open_writer, serve_request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.core.digest import keyed_digest
from tollbook.core.faults import BadInput
from tollbook.journal import personal
from tollbook.journal.book import Book
from tollbook.journal.entry import PersonalErased
from tollbook.journal.personal import PersonalDirectory, PersonalKeys, PersonalWriter, ensure_keys, shown
from tollbook.journal.tail import read_lane
from tollbook.journal.verify import verify

LANE = "worker-20261123T122000Z-00000001"
USER = "alice.liddell@wonderland.example"
YEAR = 365 * 86_400


@pytest.fixture
def clock() -> ToldClock:
    return ToldClock()


@pytest.fixture
def book(tmp_path: Path, clock: ToldClock) -> Book:
    return make_book(tmp_path, clock)


@pytest.fixture
def directory(book: Book) -> Iterator[PersonalDirectory]:
    opened = PersonalDirectory(book.root)
    yield opened
    opened.close()


def worker(book: Book, clock: ToldClock, lane: str = LANE) -> PersonalWriter:
    return PersonalWriter(book.root, lane, clock=clock)


def files_with(root: Path, value: str) -> list[str]:
    """The files under the book that hold a value's bytes."""
    return [
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and value.encode() in path.read_bytes()
    ]


def test_a_digest_is_the_keyed_one_of_the_tenants_year(book: Book, clock: ToldClock) -> None:
    """Equal values group within a tenant and a year, and nowhere else."""
    writer = worker(book, clock)
    digest = writer.digest("acme", USER, "user")
    assert digest == keyed_digest(PersonalKeys(book.root).of("acme", 2026), USER)
    assert writer.digest("acme", USER, "client_request_id") == digest
    assert writer.digest("other", USER, "user") != digest
    assert writer.key("acme") == PersonalKeys(book.root).of("acme", 2026)
    clock.forward(YEAR)
    assert writer.digest("acme", USER, "user") != digest
    assert writer.key("acme") == PersonalKeys(book.root).of("acme", 2027)


def test_values_reach_the_directory(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """What a worker met is known by its digest once it was handed over and absorbed; the inbox is then empty."""
    writer = worker(book, clock)
    digests = {writer.digest("acme", f"user {number} \u00e9\n\u2028", "user"): number for number in range(700)}
    writer.rotate()
    assert directory.absorb() == 700
    assert directory.absorb() == 0
    assert list((book.root / "personal" / "inbox").iterdir()) == []
    values = directory.values(digests)
    assert values == {digest: f"user {number} \u00e9\n\u2028" for digest, number in digests.items()}
    with_reader = PersonalDirectory(book.root, read_only=True)
    assert with_reader.values(digests) == values
    with_reader.close()


def test_a_value_is_handed_over_once_a_second_and_not_twice(
    book: Book, clock: ToldClock, directory: PersonalDirectory
) -> None:
    """A user met again is not written again; what came in the same second waits; closing hands over the rest."""
    writer = worker(book, clock)
    inbox = book.root / "personal" / "inbox"
    for _ in range(3):
        writer.digest("acme", "a", "user")
        writer.rotate()
    assert len(list(inbox.iterdir())) == 1
    writer.digest("acme", "b", "user")
    writer.rotate()
    assert len(list(inbox.iterdir())) == 1
    clock.forward(1)
    writer.rotate()
    writer.digest("acme", "c", "user")
    writer.close()
    assert len(list(inbox.iterdir())) == 3
    assert directory.absorb() == 3


def test_several_lanes_and_a_restart_do_not_disturb_each_other(
    book: Book, clock: ToldClock, directory: PersonalDirectory
) -> None:
    """Two workers that meet the same user give the same digest, and the directory has it once."""
    first, second = worker(book, clock), worker(book, clock, LANE[:-1] + "2")
    assert first.digest("acme", USER, "user") == second.digest("acme", USER, "user")
    first.close()
    second.close()
    assert directory.absorb() == 1


def test_names_tell_the_known_the_unknown_and_the_erased(
    book: Book, clock: ToldClock, directory: PersonalDirectory
) -> None:
    """A value, `user-` and six letters, or `erased-` and six letters; nothing else ever stands for a person."""
    writer = worker(book, clock)
    known, erased = writer.digest("acme", "bob", "user"), writer.digest("acme", USER, "user")
    unknown = keyed_digest(b"k" * 32, "nobody")
    writer.close()
    directory.absorb()
    directory.erase("acme", USER, clock=clock)
    assert directory.names([known, erased, unknown]) == {
        known: "bob",
        erased: f"erased-{erased[:6]}",
        unknown: f"user-{unknown[:6]}",
    }
    assert shown(known, None) == f"user-{known[:6]}"


def test_a_value_is_found_in_all_years(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """The same person has a digest a year; finding gives them all, for this tenant alone."""
    writer = worker(book, clock)
    digests = {}
    for year in ("2026", "2027", "2028"):
        digests[writer.digest("acme", USER, "user")] = year
        writer.digest("acme-2026", USER, "user")
        clock.forward(YEAR)
    assert directory.find("acme", USER) == digests
    assert directory.find("acme", USER, until=2027) == {d: y for d, y in digests.items() if y != "2028"}
    assert directory.find("nobody", USER) == {}


def test_the_erased_is_in_no_file(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """Directory, journal of the database, inbox, values not yet handed over: after erasing none holds the value."""
    chance = random.Random(5)
    writer = worker(book, clock)
    others = [f"user-{chance.randbytes(chance.randrange(4, 200)).hex()}" for _ in range(3000)]
    for number, other in enumerate(others):
        writer.digest("acme", other, "user")
        if number == 1500:
            writer.digest("acme", USER, "user")
    writer.rotate()
    directory.absorb()
    writer.digest("acme", USER, "client_request_id")
    clock.forward(1)
    writer.rotate()
    writer.digest("acme", USER, "tag")
    assert files_with(book.root, USER) != []
    erasure = directory.erase("acme", USER, clock=clock)
    assert files_with(book.root, USER) == []
    assert erasure.values == 1
    assert erasure.digests == directory.find("acme", USER)
    writer.close()
    directory.absorb()
    assert files_with(book.root, USER) == []
    assert len(directory.values(writer.digest("acme", other, "user") for other in others)) == 3000


def test_the_erased_does_not_come_back(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """A worker that meets an erased user again writes nothing of it; a new year's key is a new beginning."""
    directory.find("acme", USER)
    ensure_keys(book.root, ["acme"], [2025, 2026, 2027])
    directory.erase("acme", USER, clock=clock)
    for lane in "12":
        writer = worker(book, clock, LANE[:-1] + lane)
        writer.digest("acme", USER, "user")
        writer.close()
    assert files_with(book.root, USER) == []
    assert directory.absorb() == 0
    assert directory.remember("acme", USER, "user", clock=clock) in directory.find("acme", USER)
    assert files_with(book.root, USER) == []
    clock.forward(YEAR)
    writer.digest("acme", USER, "user")
    writer.close()
    assert directory.absorb() == 1


def test_erasing_one_leaves_the_others(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """Another tenant's user of the same name, and one whose name contains it, stay."""
    writer = worker(book, clock)
    kept = [writer.digest("other", "bob", "user"), writer.digest("acme", "bobby", "user")]
    writer.digest("acme", "bob", "user")
    writer.close()
    directory.absorb()
    assert directory.erase("acme", "bob", clock=clock).values == 1
    assert directory.values(kept) == dict(zip(kept, ["bob", "bobby"], strict=True))
    assert directory.erase("acme", "bob", clock=clock).values == 0


def test_an_erasure_is_an_entry_and_the_book_verifies(book: Book, clock: ToldClock) -> None:
    """The chain keeps the digests and says that values were erased, by whom and, as a digest, why."""
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    directory = PersonalDirectory(book.root)
    people = worker(book, clock)
    lane = begin_lane(book, "worker", clock)
    digest = people.digest("acme", USER, "user")
    serve_request(lane, user=digest)
    people.close()
    writer.advance(keeper)
    before = verify(book.root, clock=clock).after_anchor.expected
    with pytest.raises(BadInput, match="must not hold the value"):
        writer.erase(directory, "acme", USER, f"{USER} asked", ACTOR)
    entry = writer.erase(directory, "acme", USER, "asked by mail", ACTOR)
    assert (entry.tenant, entry.digests, entry.values, entry.actor) == ("acme", {digest: "2026"}, 1, ACTOR)
    assert directory.names([digest, entry.basis]) == {digest: f"erased-{digest[:6]}", entry.basis: "asked by mail"}
    writer.advance(keeper)
    lane.close("stopped")
    writer.advance(keeper)
    writer.close("stopped")
    assert [line.kind for line in read_lane(book.lane_directory(writer.name))].count("personal.erased") == 1
    assert digest.encode() in b"".join(line.bytes for line in read_lane(lane.directory))
    assert files_with(book.root, USER) == []
    found = verify(book.root, clock=clock)
    assert found.findings == []
    assert found.after_anchor.expected == before
    directory.close()


def test_erasures_are_done_again_after_a_restore(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """A directory from a backup made before forgets again what the journal says was erased."""
    writer = worker(book, clock)
    digest = writer.digest("acme", USER, "user")
    other = writer.digest("acme", "bob", "user")
    writer.close()
    directory.absorb()
    erasure = PersonalErased(tenant="acme", digests={digest: "2026"}, values=1, basis="b", actor=ACTOR)
    assert directory.reapply([erasure]) == 1
    assert files_with(book.root, USER) == []
    assert directory.names([digest, other]) == {digest: f"erased-{digest[:6]}", other: "bob"}
    assert directory.reapply([erasure]) == 0
    assert directory.reapply([]) == 0


def test_an_erasure_that_was_interrupted_is_completed(
    book: Book, clock: ToldClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between listing a digest as erased and removing its value, the next opening removes it."""
    writer = worker(book, clock)
    writer.digest("acme", USER, "user")
    writer.close()
    directory = PersonalDirectory(book.root)
    directory.absorb()
    with monkeypatch.context() as patch:
        patch.setattr(PersonalDirectory, "_delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            directory.erase("acme", USER, clock=clock)
    directory.close()
    assert files_with(book.root, USER) != []
    PersonalDirectory(book.root).close()
    assert files_with(book.root, USER) == []


def test_a_draft_of_a_killed_worker_is_removed(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """A worker killed in the middle of handing over leaves a part of a file; it does not outlive an erasure."""
    (book.root / "personal" / "inbox" / f"{LANE}-000000.tmp").write_text(f'{{"value":"{USER}')
    directory.erase("acme", USER, clock=clock)
    assert files_with(book.root, USER) == []


def test_a_file_cut_by_a_power_loss_is_absorbed_as_far_as_it_goes(
    book: Book, clock: ToldClock, directory: PersonalDirectory
) -> None:
    """The whole lines of an inbox file count; a part of a line at its end, or blanks, do not stop the others."""
    writer = worker(book, clock)
    digests = [writer.digest("acme", name, "user") for name in ("ann", "bob")]
    writer.close()
    [file] = (book.root / "personal" / "inbox").iterdir()
    file.write_bytes(bytes(100) + b"\n" + file.read_bytes()[:-10])
    assert directory.absorb() == 1
    assert directory.values(digests) == {digests[0]: "ann"}


def test_an_erased_value_in_an_old_inbox_is_dropped(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """An inbox file from before an erasure, as a restore brings it back, does not bring the value back."""
    writer = worker(book, clock)
    digest = writer.digest("acme", USER, "user")
    writer.close()
    [file] = (book.root / "personal" / "inbox").iterdir()
    old = file.read_bytes()
    directory.erase("acme", USER, clock=clock)
    file.write_bytes(old)
    assert directory.absorb() == 0
    assert directory.values([digest]) == {}
    assert files_with(book.root, USER) == []


@pytest.mark.parametrize("value", [USER, "bob", "x" * 40 + USER * 200])
def test_no_copy_stays_in_pages_of_the_database(
    book: Book, clock: ToldClock, directory: PersonalDirectory, value: str
) -> None:
    """SQLite leaves copies of rows that it moved between pages, rarely; here it is made to leave the row itself."""
    assert any(leaves_a_copy(book, directory, value, clock) for _ in range(20)), "SQLite left nothing to be removed"
    directory.erase("acme", value, clock=clock)
    assert files_with(book.root, value[-20:]) == []


def leaves_a_copy(book: Book, directory: PersonalDirectory, value: str, clock: ToldClock) -> bool:
    """Whether a row's bytes stay in the file after a deletion that does not overwrite them: not where SQLite happens to
    put its page together anew, which depends on the keys around it."""
    for _ in range(50):
        directory.remember("acme", os.urandom(8).hex(), "user", clock=clock)
    directory.remember("acme", value, "user", clock=clock)
    directory._writable.execute("PRAGMA secure_delete = OFF")
    directory._writable.execute("DELETE FROM people WHERE value = ?", [value])
    directory._writable.commit()
    return files_with(book.root, value[-20:]) != []


def test_a_hand_over_and_an_erasure_do_not_overlap(
    book: Book, clock: ToldClock, directory: PersonalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker caught between its look at the list and its writing is waited for, and its file taken."""
    writer = worker(book, clock)
    writer.digest("acme", USER, "user")
    looked = threading.Event()
    real = PersonalWriter._write

    def slow(self: PersonalWriter, lines: bytes) -> None:
        looked.set()
        time.sleep(0.3)
        real(self, lines)

    monkeypatch.setattr(PersonalWriter, "_write", slow)
    thread = threading.Thread(target=writer.close)
    thread.start()
    assert looked.wait(10)
    directory.find("acme", USER)
    directory._forget(directory.find("acme", USER), USER)
    assert files_with(book.root, USER) == []
    thread.join()
    assert files_with(book.root, USER) == []


def live_worker(root: Path, lane: str, met: Event, stop: Event) -> None:
    """A worker that meets the same user and strangers all the time, with memory for few."""
    personal._CACHED = 4
    instant = START

    def clock() -> int:
        nonlocal instant
        instant += 300_000
        return instant

    writer = PersonalWriter(root, lane, clock=clock)
    chance = random.Random(lane)
    while not stop.is_set():
        writer.digest("acme", USER, "user")
        writer.digest("acme", f"stranger {chance.random()}", "user")
        writer.rotate()
        met.set()
        time.sleep(0.0005)
    writer.close()


def test_erasing_under_live_workers(book: Book, clock: ToldClock, directory: PersonalDirectory) -> None:
    """While workers meet the user without a pause, the value is in no file from the moment that erasing returns."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    met = [context.Event() for _ in range(2)]
    workers = [
        context.Process(target=live_worker, args=(book.root, f"{LANE[:-1]}{number}", event, stop))
        for number, event in enumerate(met)
    ]
    for process in workers:
        process.start()
    try:
        assert all(event.wait(30) for event in met)
        deadline = time.monotonic() + 30
        while not directory.values(directory.find("acme", USER)):
            assert time.monotonic() < deadline
            directory.absorb()
        directory.erase("acme", USER, clock=clock)
        for _ in range(5):
            assert holders(book.root) == []
            directory.absorb()
            time.sleep(0.02)
    finally:
        stop.set()
        for process in workers:
            process.join(30)
    directory.absorb()
    assert holders(book.root) == []
    assert [process.exitcode for process in workers] == [0, 0]


def holders(root: Path) -> list[str]:
    """Files with the user's bytes, while workers make and the directory removes files."""
    found = []
    for place, _, names in os.walk(root):
        for name in names:
            try:
                if USER.encode() in Path(place, name).read_bytes():
                    found.append(name)
            except FileNotFoundError:
                continue
    return found


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(["meet", "rotate", "absorb", "erase", "restart"])), max_size=60
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_erased_stays_erased_in_any_order_of_events(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, str]]
) -> None:
    """After any course of meetings, hand-overs and erasures: the erased is nowhere, everybody else is known."""
    clock = ToldClock()
    root = make_book(tmp_path_factory.mktemp("any"), clock).root
    directory, writer = PersonalDirectory(root), PersonalWriter(root, LANE, clock=clock)
    met: dict[str, str] = {}
    erased: set[str] = set()
    for restarts, (number, event) in enumerate(events):
        value = f"<person {number:02d} of {number * 7919:06d}>" * (1 + number % 5)
        if event == "meet":
            met[value] = writer.digest("acme", value, "user")
        elif event == "rotate":
            clock.forward(1)
            writer.rotate()
        elif event == "absorb":
            directory.absorb()
        elif event == "erase":
            directory.erase("acme", value, clock=clock)
            if directory.find("acme", value):
                erased.add(value)
                assert files_with(root, value) == []
        else:
            writer.close()
            directory.close()
            directory = PersonalDirectory(root)
            writer = PersonalWriter(root, f"{LANE[:-3]}1{restarts:02d}", clock=clock)
    writer.close()
    directory.absorb()
    for value in erased:
        assert files_with(root, value) == []
    known = {digest: value for value, digest in met.items() if value not in erased}
    assert directory.values(met.values()) == known
    directory.close()


def test_keys_are_made_once_and_are_private(book: Book) -> None:
    """A key is 32 random bytes of its own file (0600), the same for whoever asks."""
    ensure_keys(book.root, ["acme", "a/b"], [2026, 2027])
    files = sorted((book.root / "keys" / "personal").iterdir())
    assert [file.name for file in files] == [
        "a%2Fb-2026.key",
        "a%2Fb-2027.key",
        "acme-2026.key",
        "acme-2027.key",
    ]
    before = [file.read_bytes() for file in files]
    assert len(set(before)) == 4
    assert {len(key) for key in before} == {32}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    ensure_keys(book.root, ["acme", "a/b"], [2026, 2027])
    assert [file.read_bytes() for file in files] == before
    assert PersonalKeys(book.root).of("acme", 2027) == before[3]
    files[3].write_bytes(b"short")
    with pytest.raises(BadInput, match="holds 5"):
        PersonalKeys(book.root).of("acme", 2027)


def test_processes_that_make_a_key_at_once_agree(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """When another process made the key in between, its key is taken, not a second one."""
    real = os.link

    def other_first(source: Path, target: Path) -> None:
        target.write_bytes(b"o" * 32)
        real(source, target)

    monkeypatch.setattr(os, "link", other_first)
    assert PersonalKeys(book.root).of("acme", 2026) == b"o" * 32
    assert [path.name for path in (book.root / "keys" / "personal").iterdir()] == ["acme-2026.key"]


def test_a_full_disk_keeps_values_waiting(
    book: Book, clock: ToldClock, directory: PersonalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that cannot be handed over wait, and the fault is told; requests are not troubled."""
    writer = worker(book, clock)
    digest = writer.digest("acme", USER, "user")
    real = os.open

    def fail(path: Path, *arguments: int) -> int:
        if str(path).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return real(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        writer.rotate()
    assert writer.fault is not None
    assert "No space left" in writer.fault
    clock.forward(1)
    writer.rotate()
    assert writer.fault is None
    directory.absorb()
    assert directory.values([digest]) == {digest: USER}


def test_values_that_wait_too_long_are_given_up_and_met_again(
    book: Book, clock: ToldClock, directory: PersonalDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded while the disk refuses; what was given up is written when it is met again."""
    monkeypatch.setattr(personal, "_GIVE_UP_BYTES", 1000)
    writer = worker(book, clock)
    digests = [writer.digest("acme", f"user {number}", "user") for number in range(20)]
    inbox = book.root / "personal" / "inbox"
    inbox.rename(book.root / "personal" / "away")
    writer.rotate()
    assert writer.fault is not None
    (book.root / "personal" / "away").rename(inbox)
    clock.forward(1)
    writer.rotate()
    assert directory.absorb() == 0
    assert writer.digest("acme", "user 3", "user") == digests[3]
    clock.forward(1)
    writer.rotate()
    directory.absorb()
    assert directory.values(digests) == {digests[3]: "user 3"}


def test_the_database_keeps_nothing_of_what_it_deletes(book: Book, directory: PersonalDirectory) -> None:
    """Deleted bytes are overwritten and no journal of them stays: the settings that this rests on are in force."""
    assert directory._writable.execute("PRAGMA secure_delete").fetchone() == (1,)
    assert directory._writable.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
    path = book.root / "personal" / "directory.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    reader = PersonalDirectory(book.root, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._insert([{"digest": "d", "tenant": "t", "year": "y", "kind": "k", "value": "v", "recorded": 1}])
    reader.close()


def test_reading_where_nothing_was_met_yet(book: Book) -> None:
    """A book without a directory has no values, and says so of every digest."""
    reader = PersonalDirectory(book.root, read_only=True)
    assert reader.values(["abcdefghi"]) == {}
    assert reader.names(["abcdefghi"]) == {"abcdefghi": "user-abcdef"}
    reader.close()
