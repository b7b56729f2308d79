"""Promise 8, tamper-evident: a book that real processes wrote is forged, and `tollbook verify` names what was done."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chaos_house import House, command, kill, until
from chaos_load import KINDS, Load, post

from tollbook.journal.segment import segments
from tollbook.journal.tail import lane_directories

pytestmark = pytest.mark.xdist_group("chaos-forgery")

BROKEN_PROMISE = 3


class Real(NamedTuple):
    """A book after two runs of the gateway and a kill; what it was between the runs; a checkpoint kept elsewhere."""

    book: Path
    older: Path
    checkpoint: Path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    directory = tmp_path_factory.mktemp("forgery")
    older, checkpoint = directory / "older", directory / "checkpoint"
    with House(directory) as house:
        with Load(house.port, seed=1, most=60) as load:
            load.wait(60)
        (worker,) = house.children("worker")
        kill(worker)
        until(lambda: [other for other in house.children("worker") if other.pid != worker.pid], "no new worker")
        until(house.is_ready, "the new worker is not ready")
        house.stop()
        shutil.copytree(house.book, older)
        house.serve()
        assert post(house.port, KINDS[0]).status == 200
        house.stop()
        shutil.copy(house.book / "checkpoints" / "latest", checkpoint)
        yield Real(house.book, older, checkpoint)


@pytest.fixture
def forged(real: Real, tmp_path: Path) -> Path:
    """A copy of the book, to be forged."""
    return Path(shutil.copytree(real.book, tmp_path / "book"))


def verify(book: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the document of `tollbook verify --json`."""
    code, out = command("verify", "--book", str(book), "--json", *more)
    return code, json.loads(out)


def codes(document: dict[str, Any]) -> set[tuple[str, str | None, int | None]]:
    """What was found: code, lane and entry."""
    return {(one["code"], one["lane"], one["sequence"]) for one in document["findings"]}


def lane_of(book: Path, role: str) -> Path:
    """The longest lane of a role."""
    lanes = [path for path in lane_directories(book) if path.name.startswith(role)]
    return max(lanes, key=lambda path: segments(path)[0].path.stat().st_size)


def rewrite(lane: Path, change: Callable[[list[bytes]], None]) -> None:
    """Change the lines of a lane's first segment."""
    path = segments(lane)[0].path
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def test_the_book_that_is_forged_was_sound(real: Real) -> None:
    """Nothing is found in the book as it was written, nor against the checkpoint that left the building."""
    code, document = verify(real.book, "--checkpoint", str(real.checkpoint))
    assert code == 0 and document["verified"]
    assert document["anchor"] == document["checkpoint"] == document["position"]["number"]


@pytest.mark.parametrize("role", ["worker", "supervisor", "book"])
def test_one_byte_changed(forged: Path, role: str) -> None:
    """The entry that is not what was written is named, whoever wrote it."""
    lane = lane_of(forged, role)

    def change(lines: list[bytes]) -> None:
        middle = len(lines[2]) // 2
        lines[2] = lines[2][:middle] + bytes([lines[2][middle] ^ 1]) + lines[2][middle + 1 :]

    rewrite(lane, change)
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert ("entry_changed", lane.name, 2) in codes(document)


def test_one_line_dropped(forged: Path) -> None:
    """The missing entry is named."""
    lane = lane_of(forged, "worker")
    rewrite(lane, lambda lines: lines.pop(5) and None)
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert ("entry_missing", lane.name, 5) in codes(document)


def test_two_lines_swapped(forged: Path) -> None:
    """The first entry that stands in another's place is named."""
    lane = lane_of(forged, "worker")

    def change(lines: list[bytes]) -> None:
        lines[5], lines[6] = lines[6], lines[5]

    rewrite(lane, change)
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert ("entries_swapped", lane.name, 5) in codes(document)


@pytest.mark.parametrize("role", ["worker", "spare", "supervisor"])
def test_a_lane_removed(forged: Path, role: str) -> None:
    """A lane whose directory is gone is named, also one that held nothing but its own life."""
    lane = lane_of(forged, role)
    shutil.rmtree(lane)
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert ("lane_missing", lane.name, None) in codes(document)


def test_a_lane_of_the_scribe_removed(forged: Path) -> None:
    """Without one of the book's own lanes the heads do not follow one another, or are fewer than were signed."""
    shutil.rmtree(lane_of(forged, "book"))
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert {"heads_out_of_order", "checkpoint_differs"} & {one["code"] for one in document["findings"]}


@pytest.mark.parametrize("role", ["worker", "supervisor", "book"])
def test_a_lane_cut_at_the_end_of_an_entry(forged: Path, role: str) -> None:
    """Whole lines taken from a lane's end leave a sound chain, and it is said from which entry on it was cut."""
    lane = lane_of(forged, role)
    kept: list[int] = []

    def cut(lines: list[bytes]) -> None:
        del lines[-3:]
        kept.append(len(lines))

    rewrite(lane, cut)
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    if role == "book":  # what is missing is heads, and these are signed
        assert "checkpoint_differs" in {one["code"] for one in document["findings"]}
    else:
        assert ("lane_cut", lane.name, kept[0]) in codes(document)


def test_the_checkpoint_replaced(forged: Path, real: Real) -> None:
    """An older signed checkpoint in the place of the last one, or one of another book, does not pass for it."""
    latest = forged / "checkpoints" / "latest"
    note = latest.read_bytes()
    latest.write_bytes(note.replace(b"tollbook/", b"tollbook_", 1))
    code, document = verify(forged)
    assert code == BROKEN_PROMISE
    assert {one["code"] for one in document["findings"]} == {"checkpoint_unusable"}
    # An older one is genuine: what comes after it is then beyond proof, and that is said.
    latest.write_bytes((real.older / "checkpoints" / "latest").read_bytes())
    code, document = verify(forged)
    assert code == 0 and document["after_checkpoint"]["entries"] > 5
    code, document = verify(forged, "--checkpoint", str(real.checkpoint))
    assert code == 0 and document["after_anchor"]["entries"] == 1, (
        "the end of the book's own lane comes after all heads"
    )


def test_the_whole_book_rolled_back(real: Real) -> None:
    """An older copy of a book is sound in itself; a checkpoint that was kept elsewhere shows what is gone."""
    code, _ = verify(real.older)
    assert code == 0
    code, document = verify(real.older, "--checkpoint", str(real.checkpoint))
    assert code == BROKEN_PROMISE
    (finding,) = document["findings"]
    assert finding["code"] == "checkpoint_differs" and "cut" in finding["message"]
