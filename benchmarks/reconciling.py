"""Reconciliation: a month of attempts against a month of statement lines, by the hour, model, key and class."""

# ruff: noqa: E501, S608  statements are put together from numbers of this module

import resource
import tempfile
import time
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from benchmarks import subject
from tollbook.assembly import service
from tollbook.core.clock import parse_instant
from tollbook.ledger import location
from tollbook.ledger.lake import Lake
from tollbook.ledger.loader import Loader
from tollbook.reconciliation.diagnosis import Tolerance
from tollbook.reconciliation.run import Asked, reconcile

HOURS: Final = 31 * 24
MODELS: Final = 6
KEYS: Final = 80
START: Final = "2026-10-01"
_CLASSES: Final = ("input", "input_cache_read", "output")
_PICO: Final = "0.000000000001"
_FAULTS: Final = 500
"""Every so many lines, the vendor has more than we do."""


def run(attempts: int = 1_000_000) -> None:
    """Print how long it takes, and how much memory; ten attempts for each line of the statement. 10,000,000 attempts
    take about 3 GB of disk."""
    lines = attempts // 10
    keys = max(1, min(KEYS, lines // (HOURS * MODELS * len(_CLASSES))))
    subject.KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=subject.KEPT, prefix="reconcile-") as name:
        root = Path(name) / "book"
        service.init(root)
        _fill(root, attempts, keys)
        told = HOURS * MODELS * keys * len(_CLASSES)
        print(f"reconcile: {attempts:,} attempts against {told:,} lines of statements", flush=True)
        # Apart, so that the memory is that of reconciling and not of making the books.
        apart = get_context("spawn").Process(target=_measure, args=(root,))
        apart.start()
        apart.join()


def _measure(root: Path) -> None:
    since, day = parse_instant(f"{START}T00:00:00Z"), 24 * 3600 * 1_000_000
    for what, until in (("one day", since + day), ("31 days", since + 31 * day)):
        begun = time.perf_counter()
        done = reconcile(root, Asked("openai", since, until, None, Tolerance(Fraction(0))))
        seconds = time.perf_counter() - begun
        differing = sum(one.verdict != "agrees" for one in done.findings)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        cells = len(done.findings)
        print(f"  {what}: {seconds:8.2f} s, {cells:,} cells, {differing:,} differ; {peak:,.0f} MB at most", flush=True)


def _fill(root: Path, attempts: int, keys: int) -> None:
    """Our book and the vendor's of the same calls, as sums of the same arithmetic, written where the ledger has them."""
    with Loader(root) as loader:
        loader.catch_up()
    with Lake(location.require_current(root), read_only=False) as lake:
        ((position,),) = lake.rows("SELECT max(number) FROM positions")
        call = (
            f"SELECT i, DATE '{START}' + to_microseconds(CAST(i AS BIGINT) * {HOURS * 3600 * 1_000_000} // {attempts}) "
            f"AS instant, i % {MODELS} AS model, (i // {MODELS}) % {keys} AS key, 500 + i % 977 AS input, i % 311 AS cached, "
            f"20 + i % 401 AS output FROM range({attempts}) t(i)"
        )
        common = f"'bench-lane' AS lane, i AS sequence, 'd' AS digest, {position} AS position"
        lake.rows(
            "INSERT INTO attempts BY NAME SELECT printf('01a20000-0000-7000-8000-%012d', i) AS request_id, 1 AS number, "
            "'acme' AS tenant, 'openai' AS vendor, 'main' AS vendor_key, 'key_' || key AS vendor_key_id, "
            "'model-' || model AS model, 'default' AS tier, instant AS occurred, instant + INTERVAL 2 SECOND AS recorded, "
            "'ok' AS outcome, 'provider_reported' AS basis, input, cached AS input_cache_read, output, 1 AS rating, "
            f"(input * 2500000 + cached * 250000 + output * 10000000)::DECIMAL(18,0) * {_PICO} AS amount_expected, "
            f"'USD' AS currency, true AS billable, 1 AS requests, 1 AS attempts, {common} FROM ({call})"
        )
        for line, (name, column, price) in enumerate(_PRICED):
            lake.rows(
                "INSERT INTO charges BY NAME SELECT printf('01a20000-0000-7000-8000-%012d', i) AS request_id, "
                f"1 AS number, 1 AS rating, {line + 1} AS line, 'acme' AS tenant, '{name}' AS class, "
                f"{column} AS quantity, ({column} * {price})::DECIMAL(18,0) * {_PICO} AS amount_expected, "
                f"'USD' AS currency, instant AS occurred, instant AS recorded, {common} FROM ({call})"
            )
        _tell(lake, call, position)


_PRICED: Final = (
    ("input", "input", 2_500_000),
    ("input_cache_read", "cached", 250_000),
    ("output", "output", 10_000_000),
)


def _tell(lake: Lake, call: str, position: int) -> None:
    lake.rows(
        "INSERT INTO statements BY NAME SELECT 'S-1' AS import_id, 'openai' AS vendor, 'mapped' AS source, "
        "'cost_report' AS type, 'pulled' AS grade, 'f' AS sha256, 'o' AS object, []::VARCHAR[] AS revises, "
        f"'bench-lane' AS lane, 0 AS sequence, now()::TIMESTAMP AS recorded, {position} AS position"
    )
    for number, (name, column, price) in enumerate(_PRICED):
        lake.rows(
            "INSERT INTO statement_lines BY NAME SELECT 'S-1' AS import_id, row_number() OVER () AS line, "
            "'openai' AS vendor, 'cost' AS kind, hour AS bucket_from, hour + INTERVAL 1 HOUR AS bucket_to, "
            f"'key_' || key AS api_key_id, 'model-' || model AS model, '{name}' AS class, 'ours' AS class_kind, "
            "quantity + more AS quantity, "
            f"((quantity + more) * {price})::DECIMAL(24,0) * {_PICO} AS amount, 'USD' AS currency, "
            f"'final' AS maturity, 'bench-lane' AS lane, {number} AS sequence, now()::TIMESTAMP AS recorded, "
            f"{position} AS position FROM (SELECT date_trunc('hour', instant) AS hour, model, key, sum({column})::BIGINT AS "
            f"quantity, if(hash(hour, model, key) % {_FAULTS} = 0, 77, 0) AS more FROM ({call}) GROUP BY ALL)"
        )
