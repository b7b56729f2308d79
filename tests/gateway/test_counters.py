"""Counts that workers share: exact, of the last minute, gone with the worker that made them."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND
from tollbook.gateway.counters import MINUTE, Counters, Used

NOW = 1_795_436_400 * SECOND // MINUTE * MINUTE


def regions(directory: Path, count: int) -> list[Counters]:
    path = directory / "counters"
    Counters.make(path, count)
    return [Counters.shared(path, count, own) for own in range(count)]


def test_workers_see_the_same_counts(tmp_path: Path) -> None:
    """What each of three counts stands in the sum that all of them see; other scopes are not touched."""
    workers = regions(tmp_path, 3)
    for tokens, worker in enumerate(workers, 1):
        worker.scope("tenant", "acme").begin(NOW, tokens, stream=True)
    workers[1].scope("tenant", "acme").end(NOW, 2, 50, stream=True)
    for worker in workers:
        assert worker.scope("tenant", "acme").used(NOW) == Used(3, 50, 2, 2, 4)
        assert worker.scope("tenant", "globex").used(NOW) == Used(0, 0, 0, 0, 0)


def test_a_worker_begins_with_nothing(tmp_path: Path) -> None:
    """What a worker had under way when it was killed is over for its successor and for the others."""
    first, second = regions(tmp_path, 2)
    first.scope("a").begin(NOW, 5, stream=False)
    assert second.scope("a").used(NOW).running == 1
    again = Counters.shared(tmp_path / "counters", 2, 0)
    assert again.scope("a").used(NOW).running == 0
    assert second.scope("a").used(NOW).running == 0
    again.scope("b").begin(NOW, 5, stream=False)
    assert second.scope("b").used(NOW).running == 1
    assert second.scope("a").used(NOW).running == 0
    Counters.clear(tmp_path / "counters", 0)
    assert second.scope("b").used(NOW).running == 0


@given(st.lists(st.integers(0, 300 * SECOND), max_size=40).map(sorted), st.integers(0, 400 * SECOND))
def test_the_last_minute_is_never_forgotten(instants: list[int], later: int) -> None:
    """What the window holds is at least what came within its own minute, and at most what came in the last two."""
    scope = Counters.alone().scope("a")
    for instant in instants:
        scope.begin(NOW + instant, 1, stream=False)
        scope.end(NOW + instant, 1, 10, stream=False)
    at = max([later, *instants])
    used = scope.used(NOW + at)
    minute = at // MINUTE * MINUTE
    assert used.requests >= sum(instant >= minute for instant in instants)
    assert used.requests <= sum(instant >= minute - MINUTE for instant in instants)
    assert used.tokens <= 10 * sum(instant >= minute - MINUTE for instant in instants)
    assert (used.running, used.held) == (0, 0)


def test_more_scopes_than_there_is_room_for(tmp_path: Path) -> None:
    """They are counted all the same, by each worker alone; what is counted in common stays right."""
    first, second = regions(tmp_path, 2)
    scopes = [first.scope(str(number)) for number in range(9_000)]
    for scope in scopes:
        scope.begin(NOW, 1, stream=False)
    assert all(scope.used(NOW).requests == 1 for scope in scopes)
    assert sum(second.scope(str(number)).used(NOW).requests for number in range(9_000)) >= 8_000
