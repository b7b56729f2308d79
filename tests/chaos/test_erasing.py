"""Promise 10, people can be forgotten: while their requests go on, across restarts, and after a restore."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from chaos_books import rows
from chaos_house import House, command, until
from chaos_load import KINDS, Load, post

from tollbook.journal.personal import PersonalDirectory

pytestmark = pytest.mark.xdist_group("chaos-erasing")

USER = "marie.sklodowska.curie@sorbonne.example"
OTHER = "pierre.curie@sorbonne.example"
BASIS = "request of 23 November"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path) as house:
        yield house


def erase(house: House, user: str) -> dict[str, Any]:
    return house.document("erase", "--tenant", "acme", "--user", user, "--basis", BASIS)


def files_with(book: Path, user: str) -> list[str]:
    """The files under the book that hold a value, or its parts, in their raw bytes."""
    name = user.partition("@")[0]
    found = []
    for path in book.rglob("*"):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue  # a draft that was put in its place meanwhile
        if user.encode() in content or name.encode() in content:
            found.append(str(path.relative_to(book)))
    return found


def shown(house: House) -> str:
    """The report by user, as a screen shows it."""
    return command("report", "--by", "user", "--config", str(house.config))[1]


def totals(book: Path) -> tuple[Any, ...]:
    """Attempts and what they should cost, by the ledger."""
    (sums,) = rows(book, "SELECT count(*), sum(amount_expected), sum(amount_recharge) FROM attempts")
    return sums


def names(book: Path, user: str) -> set[str]:
    """What stands on screens for a user's digests."""
    directory = PersonalDirectory(book, read_only=True)
    try:
        return set(directory.names(directory.find("acme", user, until=datetime.now(UTC).year)).values())
    finally:
        directory.close()


def use(house: House, *users: str) -> None:
    """Requests of these users, and their values in the directory."""
    for user in users:
        for kind in KINDS[:4]:
            assert post(house.port, kind, user=user).status == 200
    until(lambda: all(names(house.book, user) == {user} for user in users), "the values are not in the directory")


def check_forgotten(house: House, user: str) -> None:
    """Its value is in no file, and what is shown instead says so."""
    assert files_with(house.book, user) == []
    (name,) = names(house.book, user)
    assert name.startswith("erased-")
    screen = shown(house)
    assert name in screen and user not in screen


def test_a_user_is_erased_while_the_requests_go_on(house: House) -> None:
    """When `tollbook erase` returns, the value is in no file under the book and no running worker writes it again;
    history verifies, sums stay, other users stay; also after a restart and further requests of the same user."""
    use(house, USER, OTHER)
    assert files_with(house.book, USER)
    with Load(house.port, seed=3, clients=4):
        erased = erase(house, USER)
        assert erased["values"] == 1
        check_forgotten(house, USER)
        for kind in KINDS[:3]:
            assert post(house.port, kind, user=USER).status == 200
        until(lambda: names(house.book, OTHER) == {OTHER}, "another user was forgotten as well")
    house.stop()
    before = totals(house.book)
    house.serve()
    assert post(house.port, KINDS[0], user=USER).status == 200
    house.stop()
    assert totals(house.book)[0] == before[0] + 1
    check_forgotten(house, USER)
    assert files_with(house.book, OTHER), "another user was forgotten as well"
    assert house.document("verify")["findings"] == []


def test_a_user_is_erased_without_a_server_and_again_after_a_restore(house: House) -> None:
    """Without a running gateway the command itself erases. When an old personal directory is restored, the next start
    does all erasures of the journal again."""
    use(house, USER, OTHER)
    house.stop()
    old = house.directory / "old-personal"
    shutil.copytree(house.book / "personal", old)
    before = totals(house.book)
    assert erase(house, USER)["values"] == 1
    check_forgotten(house, USER)

    shutil.rmtree(house.book / "personal")
    shutil.copytree(old, house.book / "personal")
    assert files_with(house.book, USER), "the restore brought nothing back: this test shows nothing"
    house.serve()
    until(lambda: not files_with(house.book, USER), "the erasure is not done again")
    house.stop()
    check_forgotten(house, USER)
    assert files_with(house.book, OTHER)
    assert totals(house.book) == before
    assert house.document("verify")["findings"] == []
