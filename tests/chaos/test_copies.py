"""What is left when a machine is lost: copies made under load, restored, and held against the vendor's own books."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from chaos_books import check_sound, journaled, match
from chaos_house import House, command, until
from chaos_load import KINDS, Load, post

from tollbook.core.clock import now
from tollbook.core.faults import NotFound
from tollbook.journal.copying import read_copy
from tollbook.journal.entry import decode_request
from tollbook.journal.replay import replay
from tollbook.journal.tail import lane_directories, read_lane
from tollbook.ledger.digests import table_digests
from tollbook.ledger.lake import Lake
from tollbook.ledger.reader import read
from tollbook.simulator import read_books


def run(*arguments: str, code: int = 0) -> dict[str, Any]:
    """The JSON output of a command without a configuration."""
    found, out = command(*arguments, "--json")
    assert found == code, out
    told: dict[str, Any] = json.loads(out)
    return told


def digests(book: Path, position: int) -> dict[str, str]:
    """The digests of all tables at a position."""

    def query(lake: Lake) -> dict[str, str]:
        return {name: digest.sha256 for name, digest in table_digests(lake, position).items()}

    return read(book, query)


def test_a_backup_taken_under_load_is_one_state_of_the_book(tmp_path: Path) -> None:
    """While clients go on, a backup verifies, and restores to a book that says the same as the one it was taken of, at
    its position to the byte; what was erased since stays erased; the drill is an entry; the restored book serves."""
    with House(tmp_path) as house:
        assert post(house.port, KINDS[0], user="user-7@acme.example").status == 200
        directory = house.book / "personal" / "directory.sqlite"
        until(lambda: b"user-7@acme" in directory.read_bytes(), "no value is kept")
        with Load(house.port, seed=1) as load:
            until(lambda: len(load.answers) > 60 and _position(house.book), "no load")
            book = ("--book", str(house.book))
            whole = run("backup", "--to", str(tmp_path / "b.tar"), "--signing-key", "--personal-keys", *book)
            until(lambda: len(load.answers) > 100, "no load")
            plain = run("backup", "--to", str(tmp_path / "plain"), *book)
        assert whole["findings"] == plain["findings"] == [] and whole["totals"]["requests"] > 0
        assert not list((tmp_path / "plain").rglob("*.key"))
        assert (tmp_path / "b.tar").stat().st_mode & 0o777 == 0o600
        erased = ("--tenant", "acme", "--user", "user-7@acme.example", "--basis", "asked for it")
        run("erase", *erased, *book)
        # The restored backup is older than the erasure, and does not bring the person back.
        new = tmp_path / "new"
        done = run("restore", str(tmp_path / "b.tar"), "--book", str(new), "--verify", "--erasures", str(house.book))
        assert done["servable"] and done["totals_compared"] and done["erased_again"] == 1
        assert b"user-7@acme" not in (new / "personal" / "directory.sqlite").read_bytes()
        assert run("verify", "--book", str(new))["verified"]
        until(lambda: _position(house.book) >= whole["position"], "the ledger is behind")
        assert digests(new, whole["position"]) == digests(house.book, whole["position"])
        # Without its signing key it is read, and not written.
        drilled = run("restore", str(tmp_path / "plain"), "--book", str(tmp_path / "tried"), "--drill", str(house.book))
        assert not drilled["servable"] and drilled["totals"] == plain["totals"]
        house.stop()
        kinds = [line.kind for batch in replay(house.book) for line in batch.lines]
        assert kinds.count("restore.drilled") == 1
        check_sound(house)
        shutil.rmtree(house.book)
        new.rename(house.book)
        house.serve()
        assert post(house.port, KINDS[0]).status == 200
        house.stop()
        assert [line.kind for batch in replay(house.book) for line in batch.lines].count("book.restored") == 1
        check_sound(house)


def _position(book: Path) -> int:
    """Where the ledger is; 0 while there is none."""
    try:
        found = read(book, lambda lake: lake.rows("SELECT max(number) FROM positions"))
    except NotFound:
        return 0
    return int(found[0][0] or 0)


def test_a_damaged_backup_is_refused(tmp_path: Path) -> None:
    """One changed byte of history, or a total that differs: no book appears, exit code 3, and it is said where."""
    with House(tmp_path) as house:
        for kind in KINDS[:4]:
            assert post(house.port, kind).status == 200
        house.stop()
        place = tmp_path / "backup"
        run("backup", "--to", str(place), "--book", str(house.book))
        (lane,) = place.glob("lanes/worker-*/*.jsonl")
        sound = lane.read_bytes()
        lane.write_bytes(sound.replace(b'"acme"', b'"acne"', 1))
        refused = house.tollbook("restore", str(place), "--book", str(tmp_path / "new"))
        assert refused.returncode == 3 and "does not verify" in refused.stderr
        lane.write_bytes(sound)
        copy = place / "copy.json"
        copy.write_text(copy.read_text().replace('"requests": 4', '"requests": 5'))
        refused = house.tollbook("restore", str(place), "--book", str(tmp_path / "new"))
        assert refused.returncode == 3 and "does not give the totals" in refused.stderr
        assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))
        refused = house.tollbook("serve", "--config", str(_with_book(house, place)))
        assert refused.returncode == 2 and "is a copy of a book" in refused.stderr


def _with_book(house: House, book: Path) -> Path:
    path = house.directory / "other.yaml"
    path.write_text(house.config.read_text().replace(str(house.book), str(book)))
    return path


def test_a_lost_machine_costs_what_was_not_shipped(tmp_path: Path) -> None:
    """Under load everything is killed and the book is gone. What was shipped restores and verifies; every attempt that
    the vendor received before the last round is in it, and what is missing was recorded within the time stated."""
    every, place = 1, tmp_path / "elsewhere"
    with House(tmp_path, journal={"ship": {"to": str(place), "every": f"{every}s"}}) as house:
        with Load(house.port, seed=2) as load:
            until(lambda: len(load.answers) > 150, "no load")
            assert run("verify", "--book", str(place))["verified"], "a copy in the making verifies"
            until(lambda: len(load.answers) > 200, "no load")
            lost_at = now()
            house.kill_all()
        key = (house.book / "keys" / "signing.key").read_bytes()
        (tmp_path / "signing.key").write_bytes(key)
        (tmp_path / "registry.key").write_bytes((house.book / "keys" / "registry.key").read_bytes())
        opened_before, _ = journaled(house.book)
        house.book.rename(tmp_path / "lost")
        copy = read_copy(place)
        assert copy is not None and lost_at - copy.made < (every + 2) * 1_000_000
        keys = ("--signing-key", str(tmp_path / "signing.key"), "--registry-key", str(tmp_path / "registry.key"))
        done = run("restore", str(place), "--book", str(house.book), *keys)
        assert done["verified"] and done["servable"]
        opened, settled = journaled(house.book)
        missing = opened_before.keys() - opened.keys()
        assert opened.keys() <= opened_before.keys() and opened == settled
        received, _ = read_books(house.vendor_books)
        assert len(missing) < len(received) / 2, "more is lost than two seconds of traffic"
        lost = _opened_at(tmp_path / "lost")
        assert all(lost[name] > copy.made - 100_000 for name in missing)
        house.serve()
        assert post(house.port, KINDS[0]).status == 200
        house.stop()
        assert run("verify", "--book", str(house.book))["verified"]


def _opened_at(book: Path) -> dict[str, int]:
    """When each attempt was opened."""
    found = {}
    for directory in lane_directories(book):
        for line in read_lane(directory):
            if line.kind in ("request.opened", "attempt.opened"):
                entry = decode_request(line.bytes)
                assert entry.attempt is not None
                found[f"{entry.request.id}.{entry.attempt.number}"] = line.recorded
    return found


def test_an_orderly_stop_ships_everything(tmp_path: Path) -> None:
    """After SIGTERM the copy holds every line of the book; a place that cannot be written stops nobody."""
    place = tmp_path / "elsewhere"
    with House(tmp_path, journal={"ship": {"to": str(place), "every": "1s"}}) as house:
        place.mkdir(exist_ok=True)
        until(lambda: (place / "copy.json").exists(), "nothing is shipped")
        hidden = place.rename(tmp_path / "hidden")
        place.write_text("not a directory")
        until(lambda: "is not brought up to date" in house.log.read_text(), "the fault is not said")
        assert post(house.port, KINDS[0]).status == 200
        place.unlink()
        hidden.rename(place)
        until(lambda: "is up to date again" in house.log.read_text(), "shipping does not go on")
        assert post(house.port, KINDS[3]).status == 200
        time.sleep(0.2)
        house.stop()
        match(house)
        theirs = {path.relative_to(place): path.read_bytes() for path in place.glob("lanes/*/*.jsonl*")}
        ours = {path.relative_to(house.book): path.read_bytes() for path in house.book.glob("lanes/*/*.jsonl*")}
        assert theirs == ours
        assert run("verify", "--book", str(place))["verified"]
