"""What a dead writer left behind, and what is recorded of it."""

from collections.abc import Iterable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tollbook.core.faults import BookLocked, BrokenPromise, Tampered
from tollbook.journal.closing import (
    Remains,
    drop_torn,
    ended_in_order,
    examine,
    interrupted,
    is_live,
    remove_unborn,
    unsettled,
)
from tollbook.journal.entry import (
    Attempt,
    Close,
    LaneBegin,
    Request,
    RequestEntry,
    Settlement,
    decode_request,
    encode_payload,
)
from tollbook.journal.lane import Lane
from tollbook.journal.tail import read_lane

NAME = "worker-20261123T164000Z-0badcafe"
BEGIN = LaneBegin(book="b", lane=NAME, role="worker", format=1, release="0", configuration="c", host="h", process=7)


def new_lane(root: Path, name: str = NAME) -> Lane:
    return Lane.create(root / name, structs.replace(BEGIN, lane=name), ballast=4096)


END = Close(outcome="ok", attempts=1)
END_OF_TWO = Close(outcome="ok", attempts=2)


def request(name: str) -> Request:
    return Request(id=name, tenant="acme", key="k", endpoint="openai.chat", model_asked="fast", policy="p")


def attempt(number: int, model: str = "small") -> Attempt:
    return Attempt(number=number, vendor="openai", vendor_key="main", model_sent=model, reason="first")


def write(into: Lane, kind: str, name: str, /, **parts: Any) -> int:
    return into.append(kind, encode_payload(RequestEntry(request=request(name), **parts)))[0]


def settlement(opening: int, outcome: str = "ok", basis: str = "provider_reported") -> Settlement:
    return Settlement(opened=1, sequence=opening, outcome=outcome, basis=basis)


def dead(lane: Lane) -> Remains:
    """The lane as after `kill -9`: no last line, the lock free."""
    lane.dead = "killed"
    lane.close("")
    return examine(lane.directory)


def test_what_is_settled_is_not_open(tmp_path: Path) -> None:
    """A request whose last attempt is settled leaves nothing behind, retried or not, refused or not."""
    lane = new_lane(tmp_path)
    one = write(lane, "request.opened", "r1", attempt=attempt(1))
    write(lane, "request.settled", "r1", attempt=attempt(1), settlement=settlement(one), close=END)
    two = write(lane, "request.opened", "r2", attempt=attempt(1))
    write(lane, "attempt.settled", "r2", attempt=attempt(1), settlement=settlement(two, "timeout"))
    three = write(lane, "attempt.opened", "r2", attempt=attempt(2))
    write(lane, "request.settled", "r2", attempt=attempt(2), settlement=settlement(three), close=END_OF_TWO)
    write(lane, "request.closed", "r3", close=Close(outcome="refused", attempts=0), opened=1)
    remains = dead(lane)
    assert (remains.sequence, remains.digest, remains.recorded) == (lane.sequence, lane.digest, lane.recorded)
    assert (remains.lane, remains.torn, remains.ended, remains.requests) == (NAME, 0, False, {})
    assert unsettled(remains) == interrupted(remains) == []


def test_an_open_attempt_becomes_unsettled(tmp_path: Path) -> None:
    """Its entry names where and when it was opened, and how far its request had got; nothing is priced."""
    lane = new_lane(tmp_path)
    one = write(lane, "request.opened", "r1", attempt=attempt(1))
    write(lane, "attempt.settled", "r1", attempt=attempt(1), settlement=settlement(one, "rate_limited"))
    two = write(lane, "attempt.opened", "r1", attempt=attempt(2))
    opened = lane.recorded
    write(lane, "request.opened", "r2", attempt=attempt(1, "other"))
    remains = dead(lane)
    assert interrupted(remains) == []
    entries = {entry.request.id: entry for entry in unsettled(remains)}
    assert entries["r1"] == RequestEntry(
        request=request("r1"),
        attempt=attempt(2),
        settlement=Settlement(opened=opened, sequence=two, outcome="unsettled", borne_by="platform", next="give_up"),
        close=Close(
            outcome="unsettled", attempts=2, route="openai/small", reason=None, basis="unreported", client="gone"
        ),
        lane=NAME,
    )
    assert entries["r2"].close == Close(
        outcome="unsettled", attempts=1, route="openai/other", reason=None, client="gone"
    )
    assert entries["r2"].rating is None
    line = encode_payload(entries["r1"])
    assert decode_request(b"{" + line + b"}") == entries["r1"]


def test_a_route_names_each_change_of_target(tmp_path: Path) -> None:
    """Retries of one target are told once, as the gateway tells them."""
    lane = new_lane(tmp_path)
    for number, model in enumerate(["small", "small", "large", "small"], 1):
        kind = "request.opened" if number == 1 else "attempt.opened"
        opening = write(lane, kind, "r1", attempt=attempt(number, model))
        if number < 4:
            write(lane, "attempt.settled", "r1", attempt=attempt(number), settlement=settlement(opening, "timeout"))
    (entry,) = unsettled(dead(lane))
    assert entry.close is not None
    assert (entry.close.route, entry.close.attempts) == ("openai/small>openai/large>openai/small", 4)


def test_a_request_between_two_attempts_is_closed(tmp_path: Path) -> None:
    """Killed while it waited to try again: every attempt is settled, yet the request must not stay without an end."""
    lane = new_lane(tmp_path)
    one = write(lane, "request.opened", "r1", attempt=attempt(1))
    arrived = lane.recorded
    write(lane, "attempt.settled", "r1", attempt=attempt(1), settlement=settlement(one, "rate_limited", "computed"))
    remains = dead(lane)
    assert unsettled(remains) == []
    assert interrupted(remains) == [
        RequestEntry(
            request=request("r1"),
            close=Close(
                outcome="rate_limited",
                attempts=1,
                route="openai/small",
                reason=None,
                error="interrupted",
                basis="computed",
                client="gone",
            ),
            opened=arrived,
        )
    ]


def test_attempts_open_at_once_end_their_request_once(tmp_path: Path) -> None:
    """Two attempts in flight are two unsettled entries, and only the last carries the request's end."""
    lane = new_lane(tmp_path)
    write(lane, "request.opened", "r1", attempt=attempt(1))
    write(lane, "attempt.opened", "r1", attempt=attempt(2))
    first, last = unsettled(dead(lane))
    assert (first.attempt, first.close) == (attempt(1), None)
    assert last.attempt == attempt(2)
    assert last.close is not None


def read_in(order: Iterable[Path]) -> Remains:
    remains = None
    for directory in order:
        remains = examine(directory, remains)
    assert remains is not None
    return remains


SPARE = "spare-20261123T164000Z-0badcafe"
SUPERVISOR = "supervisor-20261123T164000Z-0badcafe"


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=lambda order: "".join(map(str, order)))
def test_what_was_settled_in_another_lane_is_settled(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A writer whose lane died goes on in others. In whatever order they are read: open is what is open in all of
    them together, in the lane it was opened in, and what a supervisor had already told is not told again."""
    lane, spare, third = new_lane(tmp_path), new_lane(tmp_path, SPARE), new_lane(tmp_path, NAME + "2")
    supervisor = new_lane(tmp_path, SUPERVISOR)
    openings = {
        name: write(lane, "request.opened", name, attempt=attempt(1)) for name in ("r1", "r2", "r3", "r4", "r5")
    }
    write(spare, "request.settled", "r1", attempt=attempt(1), settlement=settlement(1), close=END, lane=NAME)
    for name in ("r2", "r4"):
        write(spare, "attempt.settled", name, attempt=attempt(1), settlement=settlement(openings[name]), lane=NAME)
    second = write(spare, "attempt.opened", "r2", attempt=attempt(2, "large"))
    opening = write(third, "attempt.opened", "r4", attempt=attempt(2))
    write(supervisor, "request.settled", "r4", attempt=attempt(2), settlement=settlement(opening), close=END_OF_TWO)
    told = settlement(openings["r5"], "unsettled")
    write(supervisor, "attempt.unsettled", "r5", attempt=attempt(1), settlement=told, close=END, lane=NAME)
    lanes = [found.directory for found in (lane, spare, third, supervisor)]
    remains = read_in(lanes[index] for index in order)
    found = {entry.request.id: entry for entry in unsettled(remains)}
    assert {name: entry.lane for name, entry in found.items()} == {"r2": SPARE, "r3": NAME}
    assert len(unsettled(remains)) == 2
    assert found["r2"].settlement == Settlement(
        opened=remains.requests["r2"].attempts[2].recorded,
        sequence=second,
        outcome="unsettled",
        borne_by="platform",
        next="give_up",
    )
    assert found["r2"].close is not None
    assert (found["r2"].close.attempts, found["r2"].close.route) == (2, "openai/small>openai/large")
    assert interrupted(remains) == []
    kept = {name for name, pending in remains.requests.items() if pending.request is not None}
    assert kept == {"r2", "r3"}, "what is over is forgotten"


def test_a_request_that_ended_elsewhere_is_not_ended_again(tmp_path: Path) -> None:
    """Its end counts even where the lane of its last opening is not among those read."""
    lane, third = new_lane(tmp_path), new_lane(tmp_path, NAME + "2")
    one = write(lane, "request.opened", "r1", attempt=attempt(1))
    write(lane, "attempt.settled", "r1", attempt=attempt(1), settlement=settlement(one, "timeout"))
    write(third, "request.settled", "r1", attempt=attempt(2), settlement=settlement(1), close=END_OF_TWO, lane=SPARE)
    for order in permutations([lane.directory, third.directory]):
        remains = read_in(order)
        assert unsettled(remains) == interrupted(remains) == []


def test_remains_handed_on_stay_as_they_were(tmp_path: Path) -> None:
    """What one lane left is not changed by reading another."""
    lane, spare = new_lane(tmp_path), new_lane(tmp_path, SPARE)
    opening = write(lane, "request.opened", "r1", attempt=attempt(1))
    write(spare, "request.settled", "r1", attempt=attempt(1), settlement=settlement(opening), close=END, lane=NAME)
    first = dead(lane)
    assert unsettled(examine(spare.directory, first)) == []
    assert [entry.request.id for entry in unsettled(first)] == ["r1"]


@pytest.mark.parametrize("cut", [0, 1, 5, 80])
def test_a_torn_line_is_told_and_dropped(tmp_path: Path, cut: int) -> None:
    """The half line of a killed write goes; every whole line stays; doing it again changes nothing."""
    lane = new_lane(tmp_path)
    write(lane, "request.opened", "r1", attempt=attempt(1))
    last = dead(lane)
    path = lane.directory / "000000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.split(b"\n")[1][:cut])
    assert examine(lane.directory) == structs.replace(last, torn=cut)
    assert drop_torn(lane.directory) == cut
    assert path.read_bytes() == whole
    assert drop_torn(lane.directory) == 0
    assert sorted(found.name for found in lane.directory.iterdir()) == ["000000.jsonl", "lock"]
    assert examine(lane.directory) == last


def test_a_last_line_without_its_newline_is_torn(tmp_path: Path) -> None:
    """Even when it would parse: it was not acknowledged, and the next reader must see the same lane."""
    lane = new_lane(tmp_path)
    write(lane, "request.opened", "r1", attempt=attempt(1))
    dead(lane)
    path = lane.directory / "000000.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    remains = examine(lane.directory)
    assert (remains.sequence, remains.requests) == (0, {})
    assert remains.torn == drop_torn(lane.directory) > 100
    assert len(list(read_lane(lane.directory))) == 1


def test_a_lane_without_a_whole_line_is_empty(tmp_path: Path) -> None:
    """Nothing but torn bytes, or no file at all: no last entry, no digest."""
    lane = new_lane(tmp_path)
    dead(lane)
    path = lane.directory / "000000.jsonl"
    path.write_bytes(b"\0" * 5000)
    assert examine(lane.directory) == Remains(NAME, -1, None, -1, 5000, False, {})
    assert drop_torn(lane.directory) == 5000
    assert examine(lane.directory) == Remains(NAME, -1, None, -1, 0, False, {})
    path.unlink()
    assert examine(lane.directory).sequence == -1
    assert drop_torn(lane.directory) == 0


def test_a_lane_its_writer_closed_says_so(tmp_path: Path) -> None:
    """`lane.end` as the last line, and only there."""
    lane = new_lane(tmp_path)
    assert not examine(lane.directory).ended
    lane.close("drained")
    assert examine(lane.directory).ended
    assert not is_live(lane.directory)


def test_a_live_lane_is_left_alone(tmp_path: Path) -> None:
    """What its writer is in the middle of is not torn."""
    lane = new_lane(tmp_path)
    assert is_live(lane.directory)
    with pytest.raises(BookLocked, match="being written"):
        drop_torn(lane.directory)
    assert not is_live(tmp_path / "nowhere")


def test_what_was_tampered_with_is_not_closed_over(tmp_path: Path) -> None:
    """Whole lines that do not follow one another are no torn tail: nothing is dropped, the fault is raised."""
    lane = new_lane(tmp_path)
    for name in ("r1", "r2", "r3", "r4"):
        write(lane, "request.opened", name, attempt=attempt(1))
    dead(lane)
    path = lane.directory / "000000.jsonl"
    changed = path.read_bytes().replace(b'"r2"', b'"r9"')
    path.write_bytes(changed)
    with pytest.raises(Tampered, match="entry 2 was changed"):
        examine(lane.directory)
    assert drop_torn(lane.directory) == 0
    assert path.read_bytes() == changed


def test_an_entry_that_is_not_what_its_kind_says_is_named(tmp_path: Path) -> None:
    """A writer's own mistake is a broken promise with a place, not a crash."""
    no_attempt = encode_payload(RequestEntry(request=request("r")))
    for number, payload in enumerate((b'"request":1', b'"request":{"id":"r"}', no_attempt)):
        lane = new_lane(tmp_path, f"worker-{number}")
        lane.append("request.opened", payload)
        lane.dead = "killed"
        lane.close("")
        with pytest.raises(BrokenPromise, match=f"lane worker-{number}, entry 1: "):
            examine(lane.directory)


def test_only_what_is_open_is_kept(tmp_path: Path) -> None:
    """A long lane leaves no more behind than what was in flight when it ended."""
    lane = new_lane(tmp_path)
    for number in range(3000):
        opening = write(lane, "request.opened", f"r{number}", attempt=attempt(1))
        if number % 1000:
            settled = settlement(opening)
            write(lane, "request.settled", f"r{number}", attempt=attempt(1), settlement=settled, close=END)
    assert sorted(dead(lane).requests) == ["r0", "r1000", "r2000"]


def test_a_lane_that_was_never_born_is_removed(tmp_path: Path) -> None:
    """A process that dies while it creates a lane leaves a hidden directory; one that is still at it keeps it."""
    lanes = tmp_path / "lanes"
    lanes.mkdir()
    lane = new_lane(lanes)
    lane.directory.rename(lanes / f".{NAME}.new")
    (lanes / ".worker-0.new").mkdir()
    (lanes / ".worker-0.new" / "ballast").write_bytes(b"0" * 100)
    assert remove_unborn(tmp_path) == [".worker-0.new"]
    assert [path.name for path in lanes.iterdir()] == [f".{NAME}.new"]


def test_a_lane_that_ended_in_order_tells_so_by_its_last_line(tmp_path: Path) -> None:
    """What its last line tells is what reading it through finds; with an attempt open, a torn line, no end or a
    sealed segment only reading tells."""
    lane = new_lane(tmp_path)
    first = write(lane, "request.opened", "a", attempt=attempt(1))
    assert ended_in_order(lane.directory) is None
    write(lane, "request.settled", "a", attempt=attempt(1), settlement=settlement(first), close=END)
    assert ended_in_order(lane.directory) is None
    lane.close("stopped")
    assert ended_in_order(lane.directory) == examine(lane.directory)
    path = lane.directory / "000000.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b"{")
    assert ended_in_order(lane.directory) is None
    path.write_bytes(whole[: whole[:-1].rfind(b"\n") + 1])
    assert ended_in_order(lane.directory) is None
    path.write_bytes(whole)
    path.rename(lane.directory / "000000.jsonl.zst")
    assert ended_in_order(lane.directory) is None
    left = new_lane(tmp_path, "worker-20261123T164001Z-0badcafe")
    write(left, "request.opened", "b", attempt=attempt(1))
    left.close("stopped")
    assert ended_in_order(left.directory) is None
    assert [entry.request.id for entry in unsettled(examine(left.directory))] == ["b"]


def test_lanes_are_believed_together_or_not_at_all(tmp_path: Path) -> None:
    """A lane that failed and the one after it, which settled what the first had opened: both are read."""
    from tollbook.assembly.lanes import Left

    failed, spare = new_lane(tmp_path), new_lane(tmp_path, "spare-20261123T164000Z-0badcafe")
    first = write(failed, "request.opened", "a", attempt=attempt(1))
    write(failed, "request.opened", "lost", attempt=attempt(1))
    write(spare, "request.settled", "a", attempt=attempt(1), settlement=settlement(first), close=END)
    write(spare, "request.opened", "open", attempt=attempt(1))
    spare.close("stopped")
    assert ended_in_order(spare.directory) is not None, "counted alone, it looks whole"
    left = Left([failed.directory, spare.directory])
    assert sorted(entry.request.id for entry in left.unsettled) == ["lost", "open"]
