"""What `tollbook doctor` looks at, one thing at a time."""

import os
from pathlib import Path

import pytest

from tollbook.cli import health
from tollbook.config import parse
from tollbook.core.clock import SECOND, now
from tollbook.journal.book import Book
from tollbook.journal.copying import Copier
from tollbook.journal.recording import BookLane

CONFIG = """\
book: ./book
vendors: {v: {format: openai, base_url: "https://v.example/v1", keys: [{name: k, secret: "env:V", id: key_1}]}}
tenants: {t: {keys: [{name: k, secret: "env:T"}]}}
"""
ENVIRONMENT = {"V": "vendor-secret", "T": "t" * 24}


def checks(tmp_path: Path, text: str, environ: dict[str, str]) -> dict[str, health.Check]:
    path = tmp_path / "tollbook.yaml"
    path.write_text(text)
    return {check.name: check for check in health.check_configuration(path, environ)}


def test_a_sound_configuration_has_no_finding(tmp_path: Path) -> None:
    """References that can be had, long keys, ids of vendor keys: all is well."""
    assert {check.state for check in checks(tmp_path, CONFIG, ENVIRONMENT).values()} == {"ok"}


@pytest.mark.parametrize(
    ("old", "new", "environ", "name", "words"),
    [
        ("env:T", "secret-in-the-file", ENVIRONMENT, "secrets", "written in the file: tenants.t.keys.k"),
        ("book", "book", {"V": "x"}, "secrets", "the environment variable T is not set"),
        ("book", "book", {"V": "x", "T": "short"}, "secrets", "short enough to guess: tenants.t.keys.k"),
        (", id: key_1", "", ENVIRONMENT, "vendor_keys", "v.k has no id"),
        (
            'secret: "env:T"}]}}',
            'secret: "env:T"}]}, u: {keys: [{name: k, secret: "env:V"}]}}',
            ENVIRONMENT,
            "vendor_keys",
            "v.k serves several tenants",
        ),
    ],
)
def test_each_weakness_is_named_with_what_to_do(
    tmp_path: Path, old: str, new: str, environ: dict[str, str], name: str, words: str
) -> None:
    """A finding says where, and what to do; no secret is shown."""
    check = checks(tmp_path, CONFIG.replace(old, new), environ)[name]
    assert check.state == "warning"
    assert words in check.message
    assert check.todo
    assert "secret-in-the-file" not in check.message


def test_a_wrong_configuration_is_broken(tmp_path: Path) -> None:
    """When the file cannot be read nothing else of it is looked at."""
    found = checks(tmp_path, "book: [", {})
    assert [check.state for check in found.values()] == ["broken"]


def test_files_of_a_book(tmp_path: Path) -> None:
    """A new book is sound; open files and a missing anchor are findings; what is no book is broken."""
    book = Book.create(tmp_path / "book", release="1", actor="me")
    settings = parse(CONFIG, base=tmp_path)
    found = {check.name: check for check in health.check_files(book.root, settings)}
    assert found["book"].state == found["permissions"].state == "ok"
    assert found["anchor"].state == "warning"
    (book.root / "keys" / "signing.key").chmod(0o640)
    found = {check.name: check for check in health.check_files(book.root, settings)}
    assert found["permissions"].message == "open to others: keys/signing.key"
    (book.root / "keys" / "signing.key").write_bytes(b"x" * 32)
    assert [check.state for check in health.check_files(book.root, settings)] == ["broken"]


def test_an_anchor_is_as_old_as_its_last_checkpoint(tmp_path: Path) -> None:
    """The newest checkpoint of this book in the anchor's directory decides; another book's does not."""
    book = Book.create(tmp_path / "book", release="1", actor="me")
    anchor = tmp_path / "anchor"
    anchor.mkdir()
    settings = parse(CONFIG + "journal: {anchor: ./anchor}\n", base=tmp_path)
    (anchor / "other-7").touch()
    states = []
    for make_old in (None, False, True):
        if make_old is not None:
            (anchor / f"{book.id}-7").touch()
            os.utime(anchor / f"{book.id}-7", (0, 0) if make_old else None)
        states += [check.state for check in health.check_files(book.root, settings) if check.name == "anchor"]
    assert states == ["warning", "ok", "warning"]


def test_a_file_system_that_forgets_is_named() -> None:
    """The deepest mount decides; memory, container layers and volumes that go with a pod are told apart from disks."""
    volumes = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~empty-dir/book"
    mounts = (
        "1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 / /data rw shared:1 - ext4 /dev/vda rw\n"
        f"3 2 0:2 / /data/tmp rw - tmpfs tmpfs rw\n4 2 8:1 {volumes} /data/pod rw - ext4 /dev/vda rw\n"
    )
    places = ("/book", "/data/book", "/data/tmp/book", "/database", "/data/pod/book")
    found = [health.mount_of(Path(path), mounts) for path in places]
    assert [kind for kind, _ in found] == ["overlay", "ext4", "tmpfs", "overlay", "ext4"]
    assert found[4][1] == volumes
    for path, words in (("/data/pod/book", "gone with the pod"), ("/book", "gone with the container")):
        kind, within = health.mount_of(Path(path), mounts)
        assert words in health.fleeting(kind, within)
    assert health.fleeting("ext4", "/") == ""


def test_a_copy_elsewhere_is_as_old_as_its_last_round(tmp_path: Path) -> None:
    """Without one, with another book's, and with one that is behind: each a warning that says so."""
    book = Book.create(tmp_path / "book", release="1", actor="me")
    writer = BookLane.open(book, release="1")
    writer.advance(writer.keeper())

    def ship(text: str) -> health.Check:
        settings = parse(CONFIG + text, base=tmp_path)
        return next(check for check in health.check_files(book.root, settings) if check.name == "ship")

    assert "lost with this disk" in ship("").message
    shipped = "journal: {ship: {to: ./copy}}\n"
    assert "holds no copy" in ship(shipped).message
    Copier(book, tmp_path / "copy").round()
    assert ship(shipped).state == "ok" and "at position 1 of 1" in ship(shipped).message
    Copier(book, tmp_path / "copy", clock=lambda: now() - 61 * SECOND).round()
    assert ship(shipped).state == "warning" and ship(shipped).message.startswith("61 s old")
    writer.close("done")


def test_a_clock_behind_the_book_is_broken() -> None:
    """Entries from the future mean that the clock went back."""
    assert health.check_clock(now() + 60 * SECOND).state == "broken"
    assert health.check_clock(now() - 60 * SECOND).state != "broken"
