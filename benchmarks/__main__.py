"""`python -m benchmarks`: every part, or the one that is named."""

import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from benchmarks import adapters, admission, gateway, journal, ledger, machine, neighbours, rating, reconciling, subject

app = typer.Typer(add_completion=False, help="Measure tollbook, beside whichever peers are installed.")


@app.callback(invoke_without_command=True)
def everything(context: typer.Context) -> None:
    """Say where this runs; without the name of a part, run them all."""
    for line in machine.describe():
        print(line)
    print(flush=True)
    if context.invoked_subcommand is None:
        for part in (
            gateway.run,
            journal.run,
            ledger.run,
            rating.run,
            reconciling.run,
            adapters.run,
            admission.run,
            neighbours.run,
        ):
            part()
            print(flush=True)


@app.command("gateway")
def _gateway(
    peers: Annotated[str, typer.Option(help="Peers to compare with, separated by commas.")] = ",".join(
        name for name in subject.NAMES if name not in ("direct", gateway.OURS)
    ),
    seconds: Annotated[int, typer.Option(help="How long one turn lasts.")] = 3,
    rounds: Annotated[int, typer.Option(help="How many turns each subject has.")] = 3,
    patience: Annotated[int, typer.Option(help="How often a turn is taken again that others disturbed.")] = 2,
) -> None:
    """The road: throughput, processor time, latency, memory, bytes."""
    named = [name for name in peers.split(",") if name]
    gateway.run(["direct", gateway.OURS, *named], seconds, rounds, patience)


@app.command("journal")
def _journal(requests: Annotated[int, typer.Option(help="Size of the book that is verified.")] = 100_000) -> None:
    """The journal: appending, durability, verifying."""
    journal.run(requests)


@app.command("ledger")
def _ledger(requests: Annotated[int, typer.Option(help="Size of the book that is loaded.")] = 200_000) -> None:
    """The ledger: loading, rebuilding, asking."""
    ledger.run(requests)


@app.command("reconciling")
def _reconciling(attempts: Annotated[int, typer.Option(help="How many attempts there are.")] = 1_000_000) -> None:
    """Reconciliation: a month of attempts against a month of statement lines."""
    reconciling.run(attempts)


app.command("rating")(rating.run)
app.command("adapters")(adapters.run)
app.command("admission")(admission.run)


@app.command("neighbours")
def _neighbours(
    seconds: Annotated[int, typer.Option(help="How long one turn lasts.")] = 5,
    rounds: Annotated[int, typer.Option(help="How many turns of each kind there are.")] = 3,
) -> None:
    """One tenant at twenty times its limit beside another: what the other one feels."""
    neighbours.run(seconds, rounds)


def _leave(number: int, frame: FrameType | None) -> None:
    """End in order: every process that was started is stopped."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _leave)
    app()
