"""Verifying: what was changed, dropped, cut or taken away is named, and what cannot be proven is measured."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import zstandard
from bookmaking import (
    START,
    ToldClock,
    abandon,
    begin_lane,
    make_book,
    open_writer,
    reap,
    register,
    serve_request,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import BadInput
from tollbook.journal import inspection
from tollbook.journal.book import Book
from tollbook.journal.entry import (
    ConfigurationLoaded,
    Heads,
    LaneOpened,
    ObjectNamed,
    SegmentSealed,
    encode_payload,
    lane_seed,
)
from tollbook.journal.finding import FINDINGS
from tollbook.journal.line import encode_line
from tollbook.journal.objects import ObjectStore
from tollbook.journal.sealing import Sealer
from tollbook.journal.segment import segments
from tollbook.journal.verify import Verification, verify

pytestmark = pytest.mark.xdist_group("verify")


class Made(NamedTuple):
    """A book and its lanes by what they are for; and a checkpoint kept when half of it was written."""

    root: Path
    supervisor: str
    sealed: str
    open: str
    died: str
    writer: str
    anchor: bytes
    now: int

    def lane(self, name: str) -> Path:
        return self.root / "lanes" / name

    def verify(self, **options: bytes) -> Verification:
        return verify(self.root, clock=lambda: self.now, **options)

    def codes(self, **options: bytes) -> list[tuple[str, str | None, int | None]]:
        return [(found.code, found.lane, found.sequence) for found in self.verify(**options).findings]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A book with a sealed lane, an open one of two segments, one whose writer was killed, and an object."""
    clock = ToldClock()
    book = make_book(tmp_path_factory.mktemp("original"), clock)
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    supervisor = begin_lane(book, "supervisor", clock)
    named = ObjectStore(book.root).put(b"the configuration")
    supervisor.append("configuration.loaded", encode_payload(ConfigurationLoaded(digest=named.sha256, object=named)))
    first = writer.advance(keeper)
    assert first is not None
    sealed = begin_lane(book, "worker", clock, segment_bytes=2500, heads=first.digest)
    opened = begin_lane(book, "worker", clock, segment_bytes=2500)
    died = begin_lane(book, "spare", clock)
    for lane in (sealed, opened, died):
        register(supervisor, lane.name, lane.name.partition("-")[0])
    for lane in (sealed, opened):
        for _ in range(6):
            serve_request(lane)
        lane.heartbeat()
        writer.advance(keeper)
    sealed.close("stopped")
    reap(supervisor, sealed.directory, reason="ended")
    writer.advance(keeper)
    sealer = Sealer(book, writer, keeper)
    assert sealer.seal_next() is not None
    anchor = (book.root / "checkpoints" / "latest").read_bytes()
    while sealer.seal_next():
        pass
    for lane in (opened, died):
        for _ in range(6):
            serve_request(lane)
    abandon(died)
    with segments(died.directory)[-1].path.open("ab") as file:
        file.write(b'{"v":1,"p":"torn')
    reap(supervisor, died.directory, "spare")
    opened.close("stopped")
    reap(supervisor, opened.directory, reason="ended")
    supervisor.close("stopped")
    writer.advance(keeper)
    writer.close("stopped")
    return Made(
        book.root, supervisor.name, sealed.name, opened.name, died.name, writer.name, anchor, clock.instant + 10**9
    )


@pytest.fixture
def made(original: Made, tmp_path: Path) -> Made:
    """A copy of it to be harmed."""
    return copied(original, tmp_path)


def copied(original: Made, directory: Path) -> Made:
    shutil.copytree(original.root, directory / "book")
    return original._replace(root=directory / "book")


def rewrite(made: Made, lane: str, change: Callable[[list[bytes]], list[bytes]], segment: int = -1) -> None:
    """Change the lines of a lane's segment."""
    path = segments(made.lane(lane))[segment].path
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().splitlines())))


def test_a_whole_book_verifies(original: Made) -> None:
    """A book that nobody touched has no findings, and its figures are those of its files."""
    found = original.verify(checkpoint=original.anchor)
    assert found.findings == []
    assert found.lanes == 5
    lines = [
        line
        for directory in (original.root / "lanes").iterdir()
        for segment in segments(directory)
        for line in read_segment(segment.path)
    ]
    assert found.entries == len(lines)
    assert found.bytes == sum(len(line) + 1 for line in lines)
    assert found.position == found.checkpoint > found.anchor > 0


def read_segment(path: Path) -> list[bytes]:
    data = path.read_bytes()
    if path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return data.splitlines()


def test_what_lies_after_a_checkpoint_is_measured(original: Made) -> None:
    """Entries, seconds and money after the last checkpoint, and after the one that left the building."""
    found = original.verify(checkpoint=original.anchor)
    # After the last checkpoint the writer only ended its lane.
    assert found.after_checkpoint.entries == 1
    assert found.after_checkpoint.expected == {}
    # After the anchor came 12 requests of two entries, worth 0.000125 each, and what lanes say of themselves.
    assert found.after_anchor.expected == {"USD": "0.0015"}
    assert 24 < found.after_anchor.entries < 40
    assert found.after_anchor.seconds == 1
    without = original.verify()
    assert without.anchor == 0
    assert without.after_anchor.expected == {"USD": "0.003"}
    assert without.after_anchor.entries == without.entries - without.position


@pytest.mark.parametrize("place", range(0, 340, 17))
def test_one_byte_changed_names_its_entry(made: Made, place: int) -> None:
    """Whichever byte of an entry is changed, that entry is named, and only that one."""

    def change(lines: list[bytes]) -> list[bytes]:
        line = lines[3]
        lines[3] = line[:place] + bytes([line[place] ^ 1]) + line[place + 1 :]
        return lines

    rewrite(made, made.died, change)
    [(code, lane, sequence)] = made.codes()
    assert (lane, sequence) == (made.died, 3)
    assert code in ("entry_changed", "entry_renumbered", "entries_swapped", "entry_missing", "entry_inserted")


def changed(line: bytes) -> bytes:
    """The line with another payload."""
    assert line.count(b'"acme"') == 1
    return line.replace(b'"acme"', b'"acmf"')


@pytest.mark.parametrize("block", [1, 100, 700, 1500])
def test_what_is_named_does_not_depend_on_how_it_is_read(
    made: Made, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed entry is named by what follows it, also when that is in the next block that is read."""
    monkeypatch.setattr(inspection, "_BLOCK", block)
    rewrite(made, made.died, lambda lines: [*lines[:4], changed(lines[4]), *lines[5:]])
    assert made.codes() == [("entry_changed", made.died, 4)]
    rewrite(made, made.died, lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]])
    assert made.codes() == [("entries_swapped", made.died, 3)]


@pytest.mark.parametrize(
    ("change", "wanted", "says"),
    [
        (lambda lines: [*lines[:4], changed(lines[4]), *lines[5:]], ("entry_changed", 4), "was changed"),
        (lambda lines: lines[:4] + lines[5:], ("entry_missing", 4), "entries 4 to 4 are missing"),
        (lambda lines: lines[:4] + lines[7:], ("entry_missing", 4), "entries 4 to 6 are missing"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], ("entries_swapped", 4), "entry 5 stands in"),
        (lambda lines: [*lines[:4], lines[3], *lines[4:]], ("entry_inserted", 3), "one of the two was inserted"),
        (
            lambda lines: [*lines[:4], lines[4].replace(b'"n":4,', b'"n":6,'), *lines[5:]],
            ("entry_renumbered", 4),
            "bears the number 6",
        ),
        (lambda lines: [*lines[:4], b"not an entry", *lines[4:]], ("entry_changed", 4), "does not begin as an entry"),
        (lambda lines: [b"", *lines], ("entry_changed", 0), "does not begin as an entry"),
        (lambda lines: lines[1:], ("entry_missing", 0), "entries 0 to 0 are missing"),
    ],
)
def test_each_harm_has_its_name(
    made: Made, change: Callable[[list[bytes]], list[bytes]], wanted: tuple[str, int], says: str
) -> None:
    """Changed, dropped, swapped, inserted and renumbered lines are told apart; the first bad entry is named."""
    rewrite(made, made.died, change)
    [found] = made.verify().findings
    assert (found.code, found.lane, found.sequence) == (wanted[0], made.died, wanted[1])
    assert says in found.message
    assert "restore" in found.message


def test_a_forged_continuation_is_found(made: Made) -> None:
    """An entry put in with a chain that was made anew from there on does not fit the heads."""

    def forge(lines: list[bytes]) -> list[bytes]:
        forged = lines[:4]
        for line in [changed(lines[4]), *lines[5:]]:
            fields = json.loads(line)
            payload = line[line.index(b'"k":') :].split(b",", 1)[1][:-1]
            forged.append(encode_line(sha256_hex(forged[-1]), fields["n"], fields["t"], fields["k"], payload))
        return forged

    rewrite(made, made.died, forge)
    assert made.codes() == [("entry_changed", made.died, json.loads(last_line(made, made.died))["n"])]


def last_line(made: Made, lane: str) -> bytes:
    return read_segment(segments(made.lane(lane))[-1].path)[-1]


def test_a_lane_that_is_gone_is_named(made: Made) -> None:
    """A lane whose directory was removed is missing, once, by name, whatever it was for."""
    for lane in (made.sealed, made.open, made.died):
        shutil.rmtree(made.lane(lane))
        assert ("lane_missing", lane, None) in made.codes()
    assert [code for code, _, _ in made.codes()].count("lane_missing") == 3


def test_a_supervisors_lane_that_is_gone_is_named(made: Made) -> None:
    """Nobody registers the supervisor's own lane but heads: they are enough."""
    shutil.rmtree(made.lane(made.supervisor))
    assert ("lane_missing", made.supervisor, None) in made.codes()


def test_the_books_own_lane_cannot_go_unnoticed(made: Made) -> None:
    """Without the book's lane there are no heads, and the signed checkpoint says that there were."""
    shutil.rmtree(made.lane(made.writer))
    [found] = [found for found in made.verify().findings if found.code == "checkpoint_differs"]
    assert "has only 0" in found.message


def test_a_lane_cut_at_an_entry_boundary_is_named(made: Made) -> None:
    """A lane cut between two entries chains well, and ends before what heads say."""
    count = len(read_segment(segments(made.lane(made.died))[-1].path))
    rewrite(made, made.died, lambda lines: lines[:-4])
    assert made.codes() == [("lane_cut", made.died, count - 4)]


def test_a_segment_that_is_gone_is_named(made: Made) -> None:
    """A middle segment that is gone leaves a gap, a last one a lane that was cut."""
    found = segments(made.lane(made.sealed))
    gap = json.loads(read_segment(found[1].path)[0])["n"]
    found[1].path.unlink()
    assert ("entry_missing", made.sealed, gap) in made.codes()
    for segment in found[2:]:
        segment.path.unlink()
    assert made.codes() == [("lane_cut", made.sealed, gap)]


def test_heads_that_were_removed_are_named(made: Made) -> None:
    """The end of the book's own lane can be cut at an entry; the signature says how far it went."""
    rewrite(made, made.writer, lambda lines: lines[:-3])
    codes = made.codes()
    assert ("checkpoint_differs", None, None) in codes
    # Nobody says that the writer's lane ended; its writer is dead.
    assert ("lane_not_closed", made.writer, len(read_segment(segments(made.lane(made.writer))[0].path)) - 1) in codes


def test_a_tail_cut_after_the_checkpoint_cannot_be_seen_but_is_measured(made: Made, tmp_path: Path) -> None:
    """What no heads cover can be cut without a trace; how much that is at any time, verify says."""
    book, clock = Book.open(made.root), ToldClock(made.now)
    writer = open_writer(book, clock)
    keeper = writer.keeper()
    lane = begin_lane(book, "worker", clock)
    writer.advance(keeper)
    before = verify(made.root, clock=clock).after_checkpoint
    clock.forward(7)
    for _ in range(5):
        serve_request(lane)
    beyond = verify(made.root, clock=clock).after_checkpoint
    assert (before.entries, before.expected) == (0, {})
    assert (beyond.entries, beyond.seconds, beyond.expected) == (10, 8, {"USD": "0.000625"})
    path = segments(lane.directory)[-1].path
    path.write_bytes(path.read_bytes().split(b"\n", 1)[0] + b"\n")
    assert verify(made.root, clock=clock).findings == []


def test_heads_in_the_middle_are_named(made: Made) -> None:
    """One heads entry less breaks the lane's chain and the order of heads."""

    def drop(lines: list[bytes]) -> list[bytes]:
        at = [number for number, line in enumerate(lines) if b'"k":"heads"' in line][1]
        return lines[:at] + lines[at + 1 :]

    rewrite(made, made.writer, drop)
    codes = {code for code, _, _ in made.codes()}
    assert {"entry_missing", "heads_out_of_order", "checkpoint_differs"} <= codes


def test_a_forged_checkpoint_is_named(made: Made) -> None:
    """A checkpoint without the book's signature, or of other heads, is not taken."""
    latest = made.root / "checkpoints" / "latest"
    note = latest.read_bytes()
    latest.write_bytes(note.replace(b"\n", b"\n1", 1))
    assert made.codes() == [("checkpoint_unusable", None, None)]
    latest.write_bytes(note)
    forged = made.anchor.replace(b"\n", b"\n1", 1)
    assert made.codes(checkpoint=forged) == [("checkpoint_unusable", None, None)]
    with pytest.raises(BadInput, match="not a signed note"):
        made.verify(checkpoint=b"hello")


def test_a_book_written_anew_does_not_fit_a_checkpoint_kept_elsewhere(made: Made, tmp_path: Path) -> None:
    """Whoever holds the key can make a book that verifies; against a head that left the building it does not."""
    before = made.anchor
    book = Book.open(made.root)
    shutil.rmtree(made.root / "lanes")
    shutil.rmtree(made.root / "checkpoints")
    for place in ("lanes", "checkpoints"):
        (made.root / place).mkdir()
    clock = ToldClock(START)
    for _ in range(6):
        writer = open_writer(book, clock)
        writer.advance(writer.keeper())
        writer.close("stopped")
    assert made.verify().findings == []
    [found] = made.verify(checkpoint=before).findings
    assert found.code == "checkpoint_differs"
    assert "another root" in found.message


def test_a_cut_book_does_not_fit_a_longer_checkpoint_kept_elsewhere(original: Made, made: Made) -> None:
    """An outside checkpoint of more heads than the book has is a cut record."""
    later = (original.root / "checkpoints" / "latest").read_bytes()
    (made.root / "checkpoints" / "latest").write_bytes(made.anchor)
    rewrite(made, made.writer, lambda lines: lines[: lines.index(heads_line(lines, signed_size(made.anchor))) + 1])
    [found] = [found for found in made.verify(checkpoint=later).findings if found.code == "checkpoint_differs"]
    assert "the end of its record was cut" in found.message


def signed_size(note: bytes) -> int:
    return int(note.split(b"\n")[1])


def heads_line(lines: list[bytes], number: int) -> bytes:
    return next(line for line in lines if b'"k":"heads","number":%d,' % number in line)


def test_a_sealed_segment_with_other_lines_is_named(made: Made) -> None:
    """What a sealed segment holds is compared with its seal, even when it is packed well."""
    path = segments(made.lane(made.sealed))[1].path
    assert path.suffix == ".zst"
    lines = read_segment(path)
    number = json.loads(lines[2])["n"]
    lines[2] = lines[2].replace(b'"acme"', b'"acmf"')
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(content))
    assert made.codes()[0] == ("entry_changed", made.sealed, number)
    path.write_bytes(path.read_bytes()[:-9])
    assert made.codes()[0][1] == made.sealed


def test_a_seal_is_checked_to_the_last_newline(made: Made) -> None:
    """A change that leaves every entry as it is, is still not what was sealed."""
    for segment, code in ((0, "lane_torn"), (-1, "segment_differs")):
        path = segments(made.lane(made.sealed))[segment].path
        content = b"\n".join(read_segment(path))
        path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(content))
        assert (code, made.sealed) in [(found, lane) for found, lane, _ in made.codes()]


def test_a_lane_of_another_book_is_named(made: Made, tmp_path: Path) -> None:
    """A lane carried over from another book is found by what its first line is bound to."""
    clock = ToldClock(made.now)
    other = make_book(tmp_path / "other", clock)
    lane = begin_lane(other, "worker", clock)
    lane.close("stopped")
    shutil.copytree(lane.directory, made.lane(lane.name))
    assert ("lane_of_another_book", lane.name, 0) in made.codes()


def test_a_renamed_lane_is_named(made: Made) -> None:
    """A lane under another name is not that lane, and its own is missing."""
    name = made.died[:-8] + "00000000"
    made.lane(made.died).rename(made.lane(name))
    codes = made.codes()
    assert ("lane_missing", made.died, None) in codes
    assert ("entry_changed", name, 0) in codes or ("lane_of_another_book", name, 0) in codes


def test_heads_that_a_lane_is_bound_to_must_be_there(made: Made) -> None:
    """A first line that names heads nobody wrote is named, though its chain holds."""
    clock = ToldClock(made.now)
    lane = begin_lane(Book.open(made.root), "worker", clock, heads="e" * 64)
    lane.close("stopped")
    assert made.codes() == [("unknown_heads", lane.name, 0)]


def test_an_object_that_is_gone_or_changed_is_named(made: Made) -> None:
    """What an entry names must be there, byte for byte."""
    [path] = [path for path in (made.root / "objects").rglob("*") if path.is_file()]
    path.write_bytes(b"another")
    assert made.codes() == [("object_changed", made.supervisor, 1)]
    path.unlink()
    assert made.codes() == [("object_missing", made.supervisor, 1)]


def test_a_second_opening_is_named(made: Made) -> None:
    """A lane is opened once."""
    clock = ToldClock(made.now)
    supervisor = begin_lane(Book.open(made.root), "supervisor", clock)
    supervisor.append("lane.opened", encode_payload(LaneOpened(lane=made.open, role="worker")))
    supervisor.close("stopped")
    assert made.codes() == [("lane_opened_twice", supervisor.name, 1)]


def test_a_dead_lane_that_nobody_closed_is_named(made: Made) -> None:
    """A killed writer leaves a lane without an end, perhaps with a torn line: both are said until it is closed."""
    book, clock = Book.open(made.root), ToldClock(made.now)
    lane = begin_lane(book, "worker", clock)
    serve_request(lane)
    assert verify(made.root, clock=clock).findings == []
    abandon(lane)
    with segments(lane.directory)[-1].path.open("ab") as file:
        file.write(b'{"v":1')
    codes = [(found.code, found.lane, found.sequence) for found in verify(made.root, clock=clock).findings]
    assert codes == [("lane_torn", lane.name, 3), ("lane_not_closed", lane.name, 2)]
    supervisor = begin_lane(book, "supervisor", clock)
    # A live supervisor may just be about to close it.
    assert [found.code for found in verify(made.root, clock=clock).findings] == ["lane_torn"]
    clock.forward(61)
    assert [found.code for found in verify(made.root, clock=clock).findings] == ["lane_torn", "lane_not_closed"]
    reap(supervisor, lane.directory)
    assert verify(made.root, clock=clock).findings == []
    supervisor.close("stopped")


def test_a_lane_that_goes_on_after_its_closing_is_named(made: Made) -> None:
    """Entries chained on to a lane that was closed are no entries."""

    def go_on(lines: list[bytes]) -> list[bytes]:
        last = json.loads(lines[-1])
        return [
            *lines,
            encode_line(sha256_hex(lines[-1]), last["n"] + 1, last["t"] + 1, "lane.heartbeat", b'"counts":{}'),
        ]

    for lane in (made.died, made.open, made.supervisor):
        count = json.loads(last_line(made, lane))["n"]
        rewrite(made, lane, go_on)
        assert ("lane_extended", lane, count + 1) in made.codes()


def test_running_counts_are_checked(made: Made) -> None:
    """A lane's end counts its entries: another count is named, although nothing after it could contradict it."""
    rewrite(made, made.writer, lambda lines: [*lines[:-1], lines[-1].replace(b'"lane.begin":1', b'"lane.begin":2')])
    [(code, lane, _)] = made.codes()
    assert (code, lane) == ("counts_differ", made.writer)


def test_another_key_than_at_birth_is_named(made: Made) -> None:
    """Who exchanges key and identity of the book cannot exchange the entry that tells of its birth."""
    identity = made.root / "book.json"
    told = json.loads(identity.read_bytes())
    other = make_book(made.root.parent / "other", ToldClock())
    told["key"] = other.key
    identity.write_text(json.dumps(told))
    codes = [code for code, _, _ in made.codes()]
    assert "key_differs" in codes
    assert "checkpoint_unusable" in codes


def test_what_is_no_book_is_refused(tmp_path: Path) -> None:
    """Verifying a directory that is no book says how to make one."""
    with pytest.raises(BadInput, match="tollbook init"):
        verify(tmp_path)


def test_progress_ends_with_all_that_was_read(original: Made) -> None:
    """Progress is told in bytes, only forward, and reaches its end."""
    told: list[tuple[int, int]] = []
    found = verify(original.root, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (found.bytes, found.bytes)


class Forger:
    """A book's writer, with the key, that writes heads as it likes."""

    def __init__(self, made: Made) -> None:
        self.clock = ToldClock(made.now)
        self.book = Book.open(made.root)
        self.writer = open_writer(self.book, self.clock)
        self.keeper = self.writer.keeper()
        self.worker = begin_lane(self.book, "worker", self.clock)
        self.writer.advance(self.keeper)
        serve_request(self.worker)
        begin_lane(self.book, "spare", self.clock)

    def write(self, change: Callable[[dict[str, Any]], None]) -> list[tuple[str, str | None]]:
        """Write the next heads, changed; the findings."""
        self.keeper.poll()
        heads = self.keeper.next_heads()
        assert heads is not None
        told = msgspec.to_builtins(heads)
        change(told)
        _, _, line = self.writer._write_heads(msgspec.convert(told, Heads))
        self.writer._tree.append(line)
        self.writer._sign()
        found = verify(self.book.root, clock=self.clock).findings
        return [(one.code, one.lane) for one in found]


def set_root(heads: dict[str, Any]) -> None:
    heads["lanes"][-1][3] = "0" * 64


def forget_lane(heads: dict[str, Any]) -> None:
    del heads["lanes"][-1]


def open_again(heads: dict[str, Any]) -> None:
    heads["opened"] = [heads["lanes"][-1][0]]


def open_nothing(heads: dict[str, Any]) -> None:
    heads["opened"] = ["worker-20261123T122000Z-00000000"]


def forget_opening(heads: dict[str, Any]) -> None:
    assert heads.pop("opened")


def go_back(heads: dict[str, Any]) -> None:
    heads["lanes"][-1][1] -= 1


@pytest.mark.parametrize("change", [set_root, forget_lane, forget_opening, open_again, open_nothing, go_back])
def test_heads_that_do_not_fit_the_lanes_are_named(made: Made, change: Callable[[dict[str, Any]], None]) -> None:
    """Even the holder of the key cannot sign heads of lanes as they are not without being found out."""
    forger = Forger(made)
    codes = {code for code, _ in forger.write(change)}
    assert codes <= {"heads_differ", "entry_changed"}
    assert codes


@pytest.mark.parametrize("opened", [True, False])
def test_heads_that_list_a_finished_lane_are_named(made: Made, opened: bool) -> None:
    """A lane that was listed for the last time is not listed again, even as it was."""
    lines = read_segment(segments(made.lane(made.writer))[-1].path)
    listed = [json.loads(line)["lanes"] for line in lines if b'"k":"heads"' in line]
    last = next(head for lanes in reversed(listed) for head in lanes if head[0] == made.died)

    def list_again(heads: dict[str, Any]) -> None:
        heads["lanes"].append(last)
        if opened:
            heads["opened"].append(made.died)

    forger = Forger(made)
    assert forger.write(list_again) == [("heads_differ", forger.writer.name)]


def test_heads_with_another_predecessor_are_named(made: Made) -> None:
    """Each heads entry names the digest of the one before."""

    def set_previous(heads: dict[str, Any]) -> None:
        heads["previous"] = "0" * 64

    assert [code for code, _ in Forger(made).write(set_previous)] == ["heads_out_of_order"]


def test_an_uncovered_lane_is_held_to_its_closing(made: Made) -> None:
    """Before heads cover a lane its closing already tells how it ends: a changed last entry or a gone lane is found."""
    clock, book = ToldClock(made.now), Book.open(made.root)
    supervisor, lane = begin_lane(book, "supervisor", clock), begin_lane(book, "worker", clock)
    serve_request(lane)
    lane.close("stopped")
    reap(supervisor, lane.directory)
    supervisor.close("stopped")
    assert made.codes() == []
    rewrite(made, lane.name, lambda lines: [*lines[:-1], lines[-1].replace(b"stopped", b"stoppee")])
    assert made.codes() == [("entry_changed", lane.name, 3)]
    shutil.rmtree(lane.directory)
    assert made.codes() == [("lane_missing", lane.name, None)]


@pytest.mark.parametrize("kind", ["opened", "sealed"])
def test_a_lane_that_is_only_spoken_of_is_missing(made: Made, kind: str) -> None:
    """A lane that was opened and not closed, or of which a segment was sealed, must be there."""
    clock, name = ToldClock(made.now), "worker-20261123T122000Z-00000000"
    supervisor = begin_lane(Book.open(made.root), "supervisor", clock)
    if kind == "opened":
        register(supervisor, name)
    else:
        seal = SegmentSealed(lane=name, segment=0, first=0, last=3, bytes=900, sha256="0" * 64, root="0" * 64)
        supervisor.append("segment.sealed", encode_payload(seal))
    if kind == "opened":
        # Its writer may just be about to make it.
        assert verify(made.root, clock=clock).findings == []
    supervisor.close("stopped")
    assert made.codes() == [("lane_missing", name, None)]


def test_an_object_of_another_size_than_named_is_named(made: Made) -> None:
    """An entry gives digest and size; both must fit."""
    clock = ToldClock(made.now)
    supervisor = begin_lane(Book.open(made.root), "supervisor", clock)
    named = ObjectNamed(sha256=ObjectStore(made.root).put(b"other").sha256, bytes=6)
    supervisor.append("configuration.loaded", encode_payload(ConfigurationLoaded(digest="d", object=named)))
    supervisor.close("stopped")
    assert made.codes() == [("object_changed", supervisor.name, 1)]


def test_findings_are_of_the_closed_list(made: Made) -> None:
    """Every finding has a code of the list and says what to do next."""
    shutil.rmtree(made.lane(made.sealed))
    rewrite(made, made.open, lambda lines: lines[:-1])
    rewrite(made, made.writer, lambda lines: lines[:-2])
    findings = made.verify().findings
    assert len(findings) > 2
    for found in findings:
        assert found.code in FINDINGS
        assert any(word in found.message for word in ("restore", "start:", "compare"))


def test_no_byte_of_covered_history_can_change(original: Made, tmp_path: Path) -> None:
    """Any byte of any lane's lines, changed in any way, is found (seeded; the long form tries every byte)."""
    made = copied(original, tmp_path)
    places = [(path, place) for path in lane_files(made) for place in range(covered(made, path))]
    chosen = random.Random(20261123).sample(places, 400)
    assert [place for place in chosen if not is_found(made, *place, flip=1 << place[1] % 8)] == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_not_one_byte_of_covered_history_can_change(original: Made, tmp_path: Path) -> None:
    """Every single byte of every lane's lines, changed, is found."""
    made = copied(original, tmp_path)
    places = [(path, place) for path in lane_files(made) for place in range(covered(made, path))]
    assert [place for place in places if not is_found(made, *place, flip=1 << place[1] % 8)] == []


def lane_files(made: Made) -> list[Path]:
    return sorted(path for path in (made.root / "lanes").rglob("*.jsonl*") if path.is_file())


def covered(made: Made, path: Path) -> int:
    """How many bytes of a file anything covers: nothing comes after the last entry of the writer's lane."""
    data = path.read_bytes()
    if path.parent.name == made.writer and path == segments(path.parent)[-1].path:
        return data[:-1].rindex(b"\n") + 1
    return len(data)


def is_found(made: Made, path: Path, place: int, flip: int) -> bool:
    """Whether a changed byte leads to a finding, or, in a sealed file, to the very same lines."""
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :])
    try:
        return bool(made.verify().findings) or (path.suffix == ".zst" and read_segment(path) == unpacked(data))
    finally:
        path.write_bytes(data)


def unpacked(data: bytes) -> list[bytes]:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data).splitlines()


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_run_of_lines_can_be_moved_or_dropped(original: Made, tmp_path: Path, data: st.DataObject) -> None:
    """Any rearrangement of a lane's lines is found at or before the first line that is out of place."""
    made = original._replace(root=tmp_path / "book")
    if not made.root.exists():
        copied(original, tmp_path)
    path = segments(made.lane(made.died))[-1].path
    before = path.read_bytes()
    lines = before.splitlines()
    kept = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=len(lines) + 2))
    first_wrong = next((n for n, number in enumerate(kept) if n != number), len(kept))
    path.write_bytes(b"".join(lines[number] + b"\n" for number in kept))
    try:
        findings = made.verify().findings
        if kept == list(range(len(lines))):
            assert findings == []
        else:
            assert findings[0].lane == made.died
            assert (findings[0].sequence or 0) <= first_wrong
    finally:
        path.write_bytes(before)


def test_the_seed_of_a_lane_binds_its_book(original: Made) -> None:
    """The first line of a lane chains to its book and name."""
    book = Book.open(original.root)
    first = read_segment(segments(original.lane(original.open))[0].path)[0]
    assert json.loads(first)["p"] == lane_seed(book.id, original.open)
