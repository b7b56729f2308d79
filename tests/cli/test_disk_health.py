"""`doctor` on the disk: how long the room lasts, and whether claims of idempotency keys pile up."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tollbook.assembly import service
from tollbook.cli.disk_health import DAY, Growth, check_claims, check_space, growth_of
from tollbook.core.clock import SECOND, now
from tollbook.gateway.claims import KEPT_SECONDS, REMOVED_AT_ONCE, Claims

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return service.init(tmp_path / "book").root


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


@pytest.mark.parametrize(
    ("growth", "free", "days"),
    [
        (Growth(GIB, DAY), 10 * GIB, 10),
        (Growth(GIB, DAY // 2), 10 * GIB, 5),
        (Growth(GIB, 60), 10 * GIB, None),
        (Growth(0, DAY), 10 * GIB, None),
        (Growth(GIB, DAY), 0, 0),
    ],
)
def test_days_until_the_disk_is_full(growth: Growth, free: int, days: int | None) -> None:
    """At the rate of the last day, or of a younger book's life; nothing is said of the first hour, or of no growth."""
    assert growth.days(free) == days


def test_growth_is_what_the_last_day_left(root: Path) -> None:
    """Files of lanes, objects and ledger that changed within a day; what is older, and the ballast, is not growth."""
    age(root / "book.json", 3 * DAY)
    for path in (root / "lanes").rglob("*"):
        age(path, 2 * DAY)
    for path in (root / "objects").rglob("*"):
        age(path, 2 * DAY)
    assert growth_of(root, time.time()) == Growth(0, DAY)
    lane = next((root / "lanes").iterdir())
    (lane / "000009.jsonl").write_bytes(b"x" * 1000)
    (lane / "ballast").write_bytes(b"x" * 5000)
    assert growth_of(root, time.time()) == Growth(1000, DAY)


def test_a_disk_that_will_be_full_within_a_week_is_a_warning(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The days are told, with the rate they are reckoned by."""
    age(root / "book.json", 3 * DAY)
    monkeypatch.setattr("tollbook.cli.disk_health.growth_of", lambda *_: Growth(10 * GIB, DAY))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=35 * GIB))
    found = check_space(root, None)
    assert (found.state, found.message) == ("warning", "35,840 MiB free, 3 days at 10,240 MiB a day")
    monkeypatch.setattr("tollbook.cli.disk_health.growth_of", lambda *_: Growth(GIB, DAY))
    assert check_space(root, None).state == "ok"


def test_old_claims_are_removed_a_thousand_at_a_time(root: Path) -> None:
    """What is older than a week goes, oldest first, in bounded steps; the rest stays. `doctor` tells until then."""
    assert check_claims(root).message == "0 idempotency keys are claimed"
    claims, at = Claims(root / "state.sqlite"), now()
    old = at - (KEPT_SECONDS + 2 * DAY) * SECOND
    claims._database.execute("begin")
    for number in range(REMOVED_AT_ONCE + 5):
        claims.claim(f"old-{number}", "body", "request", "lane", old + number)
    claims.claim("young", "body", "request", "lane", at)
    claims._database.execute("commit")
    found = check_claims(root)
    assert (found.state, found.message) == ("warning", "1,006 idempotency keys are claimed, the oldest 9 days ago")
    assert claims.remove_old(at - KEPT_SECONDS * SECOND) is True
    assert claims.remove_old(at - KEPT_SECONDS * SECOND) is False
    assert check_claims(root).message == "1 idempotency keys are claimed"
    assert not claims.claim("young", "body", "other", "lane", at).mine
    assert claims.claim("old-1", "body", "other", "lane", at).mine
    claims.close()


def test_a_damaged_state_database_is_said(root: Path) -> None:
    """It is a warning with its reason, not a traceback."""
    (root / "state.sqlite").write_bytes(b"not a database at all" * 100)
    found = check_claims(root)
    assert found.state == "warning"
    assert "cannot be read" in found.message
