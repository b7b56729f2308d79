"""One tenant at twenty times its limit, and what the others feel of it: their latency and what they get, side by side.

Turns alternate (quiet, loud, quiet, loud): the quiet tenant sends at the same fixed rate in each; in every second one a
neighbour sends twenty times what it may, which is refused with 429. Only figures of one run are compared.
"""

import json
import secrets
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import subject, wire
from tollbook.cli.stage import Stage

LIMIT_A_MINUTE: Final = 600
TIMES: Final = 20
QUIET_RATE: Final = 50
LOUD_RATE: Final = LIMIT_A_MINUTE // 60 * TIMES

CONFIG: Final = """
book: ./book
gateway: {listen: "{gateway}"}
vendors:
  openai:
    format: openai
    base_url: "{openai}"
    keys: [{name: main, secret: "env:BENCH_VENDOR", requests_per_minute: 60000}]
models:
  gpt-4o-mini: {targets: [{vendor: openai, model: gpt-4o-mini}]}
tenants:
  quiet: {keys: [{name: quiet, secret: "env:BENCH_QUIET"}]}
  loud: {keys: [{name: loud, secret: "env:BENCH_LOUD"}], limits: {requests_per_minute: LIMIT}}
""".replace("LIMIT", str(LIMIT_A_MINUTE))


class Turn(NamedTuple):
    """What the quiet tenant met: how many of its requests were answered, in percent, and latencies in microseconds;
    and what the loud one got, answered and refused."""

    share: float
    p50: float
    p99: float
    answered: int
    refused: int


class _Bench:
    def __init__(self, directory: Path, stage: Stage, keys: dict[str, str], seconds: int) -> None:
        self._body: Final = directory / "body.json"
        self._body.write_bytes(wire.asked(stream=False))
        self._stage: Final = stage
        self._keys: Final = keys
        self._seconds: Final = seconds

    def turn(self, *, loud: bool) -> Turn:
        """The quiet tenant alone, or beside its neighbour."""
        with ExitStack() as running:
            neighbour = running.enter_context(self._send("loud", LOUD_RATE)) if loud else None
            quiet = _told(running.enter_context(self._send("quiet", QUIET_RATE)))
            other = _told(neighbour) if neighbour is not None else {"requests": 0, "errors": 0}
        sent = quiet["requests"] + quiet["errors"]
        return Turn(
            share=quiet["requests"] * 100 / max(sent, 1),
            p50=quiet["p50_us"],
            p99=quiet["p99_us"],
            answered=int(other["requests"]),
            refused=int(other["errors"]),
        )

    def _send(self, tenant: str, rate: int) -> "subprocess.Popen[str]":
        url = f"{self._stage.gateway_url}{wire.PATH}"
        command = [sys.executable, "-m", "benchmarks.client", url, "--body", str(self._body), "--rate", str(rate)]
        command += ["--seconds", str(self._seconds), "--connections", "8"]
        for name, value in (
            {"Content-Type": "application/json", "Authorization": f"Bearer {self._keys[tenant]}"}
        ).items():
            command += ["--header", f"{name}: {value}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=subject.ROOT.parent)


def _told(process: "subprocess.Popen[str]") -> dict[str, float]:
    said, _ = process.communicate()
    told: dict[str, float] = json.loads(said.strip().splitlines()[-1])
    return told


def run(seconds: int = 5, rounds: int = 3) -> None:
    """Print what the quiet tenant met alone and beside its neighbour, and the median of the ratios of each round."""
    keys = {tenant: f"bench-{secrets.token_hex(16)}" for tenant in ("quiet", "loud")}
    own = {f"BENCH_{tenant.upper()}": key for tenant, key in keys.items()} | {"BENCH_VENDOR": "sk-sim-bench"}
    subject.KEPT.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=subject.KEPT, prefix="run-") as place,
        Stage(Path(place) / "stage", CONFIG, own) as stage,
    ):
        bench = _Bench(Path(place), stage, keys, seconds)
        bench.turn(loud=False)  # to warm up
        turns = [(bench.turn(loud=False), bench.turn(loud=True)) for _ in range(rounds)]
    print(
        f"a quiet tenant sends {QUIET_RATE} requests/s; its neighbour, who may make {LIMIT_A_MINUTE} a minute, "
        f"sends {LOUD_RATE}/s"
    )
    print("             answered      p50 us      p99 us   neighbour: answered  refused")
    for name, own_turns in (("alone", [one for one, _ in turns]), ("beside it", [two for _, two in turns])):
        figures = [median(getattr(turn, field) for turn in own_turns) for field in ("share", "p50", "p99")]
        got = [sum(getattr(turn, field) for turn in own_turns) for field in ("answered", "refused")]
        print(f"  {name:<10} {figures[0]:8.1f} % {figures[1]:11,.0f} {figures[2]:11,.0f} {got[0]:20,} {got[1]:8,}")
    for field in ("p50", "p99"):
        ratios = [getattr(two, field) / max(getattr(one, field), 1.0) for one, two in turns]
        print(f"  {field} beside it / alone: {median(ratios):.2f} ({min(ratios):.2f} .. {max(ratios):.2f})")
