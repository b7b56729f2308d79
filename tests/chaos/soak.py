"""`make soak`: a real gateway under mixed traffic for long, then both books side by side, and memory that stays flat.

Two workers, scribe, desk and a simulated vendor with books of its own. The load is about half of what one worker can
carry, learned in the warm-up, sent when due. Exit code 1 when anything is lost, differs, or grows.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from chaos_books import Matched, attempts, check_sound, match, request_counts
from chaos_house import House, until
from soak_load import Every, PacedLoad
from soak_watch import MIB, Course, Visibility, Watch, quantile

from tollbook.core.faults import NotFound
from tollbook.ledger.items import open_items
from tollbook.ledger.report import report
from tollbook.simulator import read_books, read_endings

LOAD_SHARE = 0.5
"""Of what one worker can carry."""
HOUSE_SHARE = 0.6
"""Of what everything on this machine carries together, clients and vendor included; the smaller of the two is sent."""
RELOADS = 6
DESK_REFUSALS = 0.02
"""The desk may say of this share of questions that the book is behind (503): the ledger is being swept."""
PAUSE_SECONDS = 3.0
"""Between the warm-up and the load, for the ledger to catch up."""
LOOK_SECONDS = 0.05

CLASSES = {
    "cache_read": "input_cache_read",
    "cache_write_5m": "input_cache_write_5m",
    "cache_write_1h": "input_cache_write_1h",
    "reasoning": "output_reasoning",
}
"""The vendor's plain words, where ours differ."""


class Outcome(NamedTuple):
    """What a soak found. `problems` are sentences; none of them: it held."""

    figures: dict[str, Any]
    courses: list[Course]
    statuses: dict[str, dict[str, int]]
    problems: list[str]


def soak(directory: Path, seconds: float, *, rate: float | None = None, seed: int = 1) -> Outcome:
    """Run a house for so many seconds after a warm-up, and judge it."""
    began = time.monotonic()
    journal = {"segment_bytes": "8 MiB", "segment_age": "30s"}
    with House(directory, gateway={"workers": 2}, journal=journal) as house:
        watch = Watch(house)
        carried, per_request = _warm_up(house, watch, max(3.0, min(60.0, seconds / 10)), seed)
        if rate is None:
            rate = min(LOAD_SHARE / per_request, HOUSE_SHARE * carried)
        time.sleep(PAUSE_SECONDS)
        load = PacedLoad(house.port, seed=seed + 1, rate=rate, sample_seconds=max(0.2, seconds / 1500))
        sight = _run(house, watch, load, seconds)
        open_at_end = len(_unsettled(house))
        house.stop()
        problems, matched, totals = _judge(house, load)
        courses = watch.courses(load.sent)
    problems += [f"{one.name} grew: {_mib(one.grown)} MiB by its slope" for one in courses if not one.flat]
    problems += [f"the desk answered {dict(sight.asked)}"] if _refused(sight) > DESK_REFUSALS else []
    problems += [f"{open_at_end} attempts were unsettled before the end"] if open_at_end else []
    problems += [f"{sight.unseen} requests that ended did not become visible"] if sight.unseen else []
    settled, visible = [one.settled for one in sight.seen], [one.visible for one in sight.seen]
    figures = {
        "seconds": round(seconds),
        "requests": load.sent,
        "left_out": load.left_out,
        "rate": round(rate),
        "one_worker_carries": round(1 / per_request),
        "all_carry": round(carried),
        "received": matched.received if matched else None,
        "attempts": matched.attempts if matched else None,
        "lost": matched.lost if matched else None,
        "doubled": matched.doubled if matched else None,
        "outcomes": dict(matched.outcomes) if matched else None,
        "totals": totals,
        "journal_seconds": {"p50": quantile(settled, 0.5), "p99": quantile(settled, 0.99)},
        "visible_seconds": {"p50": quantile(visible, 0.5), "p99": quantile(visible, 0.99), "samples": len(visible)},
        "ledger_behind_seconds": {"p50": quantile(list(sight.behind), 0.5), "p99": quantile(list(sight.behind), 0.99)},
        "desk_answers": sight.asked[200],
        "took_seconds": round(time.monotonic() - began),
    }
    statuses: dict[str, dict[str, int]] = {}
    for (name, status), count in sorted(load.statuses.items()):
        statuses.setdefault(name, {})[str(status) if status > 0 else f"broken off ({-status})"] = count
    return Outcome(figures, courses, statuses, problems)


def _warm_up(house: House, watch: Watch, seconds: float, seed: int) -> tuple[float, float]:
    """What all carry, in requests a second, and the worker's processor seconds for one request."""
    with PacedLoad(house.port, seed=seed, rate=None) as load:
        time.sleep(1)
        cpu, sent, began = watch.cpu("worker"), load.sent, time.monotonic()
        time.sleep(seconds)
        cpu, sent, took = watch.cpu("worker") - cpu, load.sent - sent, time.monotonic() - began
    return sent / took, max(cpu, 0.01) / max(sent, 1)


def _run(house: House, watch: Watch, load: PacedLoad, seconds: float) -> Visibility:
    """The load, and those who look at it. The first third is warm-up for the memory too."""
    sight = Visibility(house, load)
    count = 0

    def reload() -> None:
        nonlocal count
        count += 1
        house.models[f"added-{count % 2}"] = house.models["gpt-4o-mini"]
        house.models.pop(f"added-{(count + 1) % 2}", None)
        house.write_config()
        house.reload()

    with load, Every(LOOK_SECONDS, sight.look), Every(max(5.0, seconds / (RELOADS + 1)), reload):
        time.sleep(seconds / 3)
        with Every(max(0.25, seconds / 700), watch.look):
            time.sleep(seconds * 2 / 3)
    deadline = time.monotonic() + 20
    while sight.unseen and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        sight.look()
    sight.close()
    return sight


def _refused(sight: Visibility) -> float:
    """The share of questions that the desk did not answer with the request; any answer but 503 counts as all."""
    if set(sight.asked) - {200, 503}:
        return 1.0
    return sight.asked[503] / max(1, sight.asked.total())


def _unsettled(house: House) -> list[Any]:
    """Attempts that nobody settled, once the ledger has come to rest."""

    def look() -> dict[str, Any] | None:
        try:
            return open_items(house.book)
        except NotFound:
            return None

    found = until(look, "there is no ledger")
    assert found is not None
    unsettled: list[Any] = found["unsettled"]
    return unsettled


def _judge(house: House, load: PacedLoad) -> tuple[list[str], Matched | None, dict[str, Any]]:
    """Hold the books side by side; what does not agree, as sentences."""
    problems: list[str] = []
    matched, totals = None, {}
    try:
        matched = match(house)
        assert not matched.outcomes["unsettled"], f"{matched.outcomes['unsettled']} attempts were never settled"
        counts = request_counts(house.book)
        missing = [name for name in load.answered if counts[name] != 1]
        assert not missing, f"{len(missing)} requests were answered and are not in the book once: {missing[:3]}"
        totals = _check_totals(house)
        check_sound(house)
    except AssertionError as fault:
        problems.append(str(fault))
    if load.left_out:
        problems.append(f"{load.left_out} requests were not sent: {load.sent} were, and too many were under way")
    return problems, matched, totals


def _check_totals(house: House) -> dict[str, Any]:
    """What came whole was settled by the vendor's word, and the report's sums are those of the vendor's own counts."""
    rows = {row.attempt_id: row for row in attempts(house.book)}
    _, billed = read_books(house.vendor_books)
    whole = {str(end.attempt_id) for end in read_endings(house.vendor_books) if end.ending == "answered" and end.billed}
    guessed = [name for name in whole if rows[name].basis != "provider_reported"]
    assert not guessed, f"{len(guessed)} answers came whole and their usage was not taken: {guessed[:3]}"
    ours = report(house.book, ["basis"])
    reported = next((row for row in ours["rows"] if row["dimensions"]["basis"] == "provider_reported"), None)
    theirs: Counter[str] = Counter()
    for line in billed:
        if rows[str(line.attempt_id)].basis == "provider_reported":
            theirs.update({CLASSES.get(name, name): count for name, count in line.counts.items()})
    assert reported is not None
    told = {name: count for name, count in reported["usage"].items() if count}
    assert told == dict(theirs), f"the report says {told}, the vendor {dict(theirs)}"
    assert ours["total"]["attempts"] == len(rows), "the report does not count every attempt"
    return {"attempts": ours["total"]["attempts"], "requests": ours["total"]["requests"], "usage": told}


def _mib(count: int) -> str:
    return f"{count / MIB:.1f}"


def table(outcome: Outcome) -> str:
    """The outcome for people."""
    told = outcome.figures
    journal, visible, behind = told["journal_seconds"], told["visible_seconds"], told["ledger_behind_seconds"]
    lines = [
        f"{told['requests']:,} requests in {told['seconds']} s: {told['rate']} a second; one worker carries "
        f"{told['one_worker_carries']}, all of this machine {told['all_carry']}",
        f"received by the vendor {told['received']}, attempts in the book {told['attempts']}, lost {told['lost']}, "
        f"doubled {told['doubled']}",
        f"outcomes: {told['outcomes']}",
        f"in the journal after the answer's end: p50 {journal['p50'] * 1e3:.1f} ms, p99 {journal['p99'] * 1e3:.1f} ms",
        f"visible after the answer's end: p50 {visible['p50']:.2f} s, p99 {visible['p99']:.2f} s "
        f"({visible['samples']} samples); ledger behind: p50 {behind['p50']:.2f} s, p99 {behind['p99']:.2f} s",
        f"the desk was asked for {told['desk_answers']} of them",
        "",
        f"{'process':<12}{'first':>9}{'last':>9}{'most':>9}{'grown':>9}{'allowed':>9} MiB {'descriptors':>14}"
        f"{'threads':>10}",
    ]
    for one in outcome.courses:
        sizes = "".join(f"{_mib(size):>9}" for size in (one.first, one.last, one.most, one.grown, one.allowed))
        descriptors, threads = "{} to {}".format(*one.descriptors), "{} to {}".format(*one.threads)
        lines.append(f"{one.name:<12}{sizes}     {descriptors:>14}{threads:>10}{'' if one.flat else '  GROWS'}")
    lines += ["", *(f"{name:<28}{counts}" for name, counts in outcome.statuses.items()), ""]
    lines += [f"FAILED: {problem}" for problem in outcome.problems] or ["held"]
    return "\n".join(lines)


def main() -> int:
    """Entry point of `python tests/chaos/soak.py`."""
    options = argparse.ArgumentParser(prog="make soak")
    options.add_argument("--seconds", type=float, default=1440.0)
    options.add_argument("--rate", type=float, help="requests a second, instead of what the warm-up suggests")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options.add_argument("--directory", type=Path, help="where the books are made and kept; else they are removed")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="tollbook-soak-") as scratch:
        outcome = soak(chosen.directory or Path(scratch), chosen.seconds, rate=chosen.rate, seed=chosen.seed)
    courses = [one._asdict() for one in outcome.courses]
    told = {**outcome.figures, "processes": courses, "answers": outcome.statuses, "problems": outcome.problems}
    print(json.dumps(told) if chosen.json else table(outcome))  # noqa: T201  the command's output
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
