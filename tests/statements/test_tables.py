"""Tables from outside: CSV and Parquet read alike, every row a line or a problem, nothing guessed."""

import io
import pathlib
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_files import read, sample, short

from tollbook.core.faults import BadInput
from tollbook.journal.statement import StatementLine
from tollbook.statements.mapped import importer_by, read_mapping
from tollbook.statements.members import number_of
from tollbook.statements.reading import Reading
from tollbook.statements.sources import guess
from tollbook.statements.table_source import head_of

FOCUS = sample("samples/focus.csv")
CUR = sample("samples/aws_cur.csv")
MAPPING = b"""
vendor: mistral
columns: {from: day, model: model, class: what, quantity: tokens, amount: cost}
bucket: day
zone: Europe/Paris
currency: EUR
quantity_of: 1000
classes: {Input: input, Output: output}
"""
TABLE = b"day,model,what,tokens,cost\n2026-10-25,small,Input,1.5,0.30\n2026-10-26,small,Other,2,1e-7\n"


def as_parquet(source: bytes) -> bytes:
    """The same table as Parquet, its texts as texts."""
    names = source.split(b"\n", 1)[0].decode().split(",")
    types = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    file = io.BytesIO()
    pq.write_table(pacsv.read_csv(io.BytesIO(source), convert_options=types), file)
    return file.getvalue()


def by_mapping(table: bytes, mapping: bytes = MAPPING) -> tuple[list[StatementLine], Reading]:
    reading = Reading(importer_by(read_mapping(mapping)))
    return list(reading.lines(io.BytesIO(table))), reading


def test_focus_keeps_the_providers_words() -> None:
    """Usage, tax and credit are told apart; the provider, its invoice and account are the document's."""
    lines, reading = read("focus", FOCUS)
    assert [(line.kind, line.amount, line.quantity) for line in lines] == [
        ("cost", "1.234567890123", "1000"),
        ("tax", "0.23", None),
        ("credit", "-1", None),
    ]
    assert lines[0].stated_amount == "1.2345678901234567" and lines[2].item == "=cmd|' /C calc'!A0"
    head = reading.head
    assert (head.vendor, head.number, head.account) == ("microsoft", "INV-9", "acct-1")


def test_aws_is_read_by_its_usage_types() -> None:
    """Model, class, tier, units; a person's principal is not taken over; other services are summed, not dropped."""
    lines, reading = read("aws_cur", CUR)
    assert short(lines) == [
        ("input", "250", "0.0000375"),
        ("input_cache_write_1h", "12000", "0.5"),
        ("output", None, "1.5"),
        (None, "1", "0.38"),
    ]
    first = lines[0]
    assert (first.model, first.tier, first.region) == ("Nova2.0Lite", "flex", "us-east-1")
    assert first.vendor_key is not None and lines[1].vendor_key is None
    assert (lines[2].processing, lines[2].context, lines[2].quantity) == ("batch", "long-context", None)
    assert lines[2].stated_quantity == "0.12345"
    assert [problem.what for problem in reading.problems if problem.where == "file"] == [
        "1 rows of other services (9.6 USD) are no part of this statement"
    ]
    assert reading.totals == {"USD": Decimal("2.3800375")} and reading.head.account == "111122223333"


def test_bedrocks_log_is_read_without_its_bodies() -> None:
    """Each call has its request id; lines that are no entries are problems; prompts are nowhere."""
    lines, reading = read("bedrock_log", sample("samples/bedrock_log.jsonl"))
    assert short(lines) == [
        ("input", "12", None),
        ("input_cache_read", "100", None),
        ("output", "7", None),
        ("input", "0", None),
    ]
    assert lines[0].vendor_request_id == "req-1" and lines[0].region == "us-west-2"
    assert lines[3].item == "InvokeModel ThrottlingException"
    assert not any("secret" in str(line) for line in lines)
    assert [problem.where for problem in reading.problems] == ["line 3", "line 4"]


def test_a_mapping_says_what_columns_mean() -> None:
    """Days are the zone's, one of 25 hours among them; words without a meaning stay the vendor's."""
    lines, reading = by_mapping(TABLE)
    assert short(lines) == [("input", "1500", "0.3"), ("Other", "2000", "0.0000001")]
    assert lines[0].ends - lines[0].begins == 25 * 3_600_000_000 and lines[0].ends == lines[1].begins
    assert reading.totals == {"EUR": Decimal("0.3000001")} and reading.problems == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((b"bucket: day", b""), "when a row's time ends"),
        ((b"currency: EUR", b""), "the currency once"),
        ((b"Europe/Paris", b"Mars/Olympus"), "zone"),
        ((b"Input: input", b"Input: inputs"), "none of ours"),
        ((b"vendor: mistral", b"vender: mistral"), "cannot be used"),
        ((b"quantity_of: 1000", b"quantity_of: 0"), "cannot be used"),
        ((b"model: model", b"model: nowhere"), "no column nowhere"),
        ((b"vendor", b"[" * 5000), "cannot be used"),
        ((b"vendor: mistral", b"vendor: !!python/object/apply:os.system [id]"), "cannot be used"),
    ],
)
def test_a_wrong_mapping_is_refused(change: tuple[bytes, bytes], told: str) -> None:
    """With words that say what to change."""
    with pytest.raises(BadInput, match=told):
        by_mapping(TABLE, MAPPING.replace(*change))


@pytest.mark.parametrize(
    "text", ["1,50", "1.234,50", "1,234.50", "$1", "1 000", "", "NaN", "Infinity", "1e308", "0x1", "1_000", "\u0661"]
)
def test_what_is_no_plain_number_is_no_number(text: str) -> None:
    """Commas, signs of currencies, separators, digits of other scripts: a problem in the line, never a guess."""
    assert number_of(text) is None
    quoted = f'"{text}"'.encode()
    lines, reading = by_mapping(TABLE.replace(b"0.30", quoted))
    assert lines[0].amount is None and (reading.problem_count == 1 or not text)


@pytest.mark.parametrize("name", ["focus", "aws_cur"])
def test_parquet_reads_as_csv(name: str) -> None:
    """The same table in either form has the same lines and totals, and is recognised as the same."""
    source = sample(f"samples/{name}.csv")
    packed = as_parquet(source)
    one, other = read(name, source), read(name, packed)
    assert [line.amount for line in one[0]] == [line.amount for line in other[0]]
    assert one[1].totals == other[1].totals
    assert {guess(head_of(io.BytesIO(file), 4096)).kind for file in (source, packed)} == {name}


def test_parquet_with_types_is_exact() -> None:
    """Decimals keep their digits, instants without a zone are UTC, a double is the shortest text that means it."""
    import datetime

    start = datetime.datetime(2026, 9, 22)  # noqa: DTZ001  as Parquet has it
    table = pa.table(
        {
            "BilledCost": pa.array([Decimal("0.1234567890123456789"), Decimal("1e-19")], pa.decimal128(38, 19)),
            "BillingCurrency": ["USD", "USD"],
            "ChargeCategory": ["Usage", "Usage"],
            "ChargePeriodStart": pa.array([start, start], pa.timestamp("us")),
            "ChargePeriodEnd": pa.array([start + datetime.timedelta(hours=1)] * 2, pa.timestamp("us", tz="UTC")),
            "ConsumedQuantity": [0.5, 3.0],
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    lines, reading = read("focus", file.getvalue())
    assert lines[0].stated_amount == "0.1234567890123456789" and lines[1].quantity == "3"
    assert sum(reading.totals.values()) + sum(reading.rounding.values()) == Decimal("0.123456789012345679")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.decode().encode("utf-16"), "UTF-16"),
        (lambda text: text.replace(b"Input tokens", b"\xe4"), "not UTF-8"),
        (lambda text: text.replace(b"Input tokens", b"a\0b"), "NUL"),
        (lambda text: text.replace(b"RegionId", b"BilledCost"), "stands twice"),
        (lambda text: text.replace(b"BilledCost", b"Billed"), "no column BilledCost"),
        (lambda text: text.replace(b",", b";"), "not separated by commas"),
        (lambda text: b"\x1f\x8b" + text, "compressed"),
        (lambda text: b"PAR1" + text, "no Parquet"),
        (lambda text: as_parquet(text)[:-20], "no Parquet"),
        (lambda text: text.replace(b"Input tokens", b"x" * 2_000_000), "more than"),
        (lambda text: text + b'"open', "line"),
    ],
)
def test_hostile_tables_are_refused(change: "object", told: str) -> None:
    """One fault with what to do."""
    with pytest.raises(BadInput, match=told):
        read("focus", change(FOCUS))  # type: ignore[operator]


def test_a_byte_order_mark_and_other_line_ends_change_nothing() -> None:
    """The same export saved by another program reads the same."""
    plain = read("focus", FOCUS)[0]
    assert read("focus", b"\xef\xbb\xbf" + FOCUS)[0] == plain
    assert read("focus", FOCUS.replace(b"\n", b"\r\n"))[0] == plain


def test_a_row_that_is_cut_or_has_no_time_is_told() -> None:
    """Its line number, and the others are read."""
    cut = FOCUS[: FOCUS.rindex(b",sub-1")]
    lines, reading = read("focus", cut.replace(b"2026-09-22T00:00:00Z", b"22.09.2026"))
    assert [problem.where for problem in reading.problems] == ["line 2", "line 4"] and len(lines) == 1


@settings(deadline=None)
@given(st.data())
def test_broken_tables_are_read_or_refused(data: st.DataObject) -> None:
    """Cut, and with bytes changed, in either form: lines, problems, or BadInput."""
    name = data.draw(st.sampled_from(["focus", "aws_cur"]))
    source = bytearray(data.draw(st.sampled_from([sample(f"samples/{name}.csv"), as_parquet(FOCUS)])))
    for _ in range(data.draw(st.integers(0, 5))):
        source[data.draw(st.integers(0, len(source) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(name, bytes(source[: data.draw(st.integers(0, len(source)))]))
    except BadInput:
        return


@pytest.mark.long
def test_a_million_lines_take_bounded_memory(tmp_path: pathlib.Path) -> None:
    """Read in a process of its own that may have 500 MB."""
    import subprocess
    import sys

    path = tmp_path / "big.csv"
    head, row, *_ = FOCUS.split(b"\n")
    with path.open("wb") as file:
        file.write(head + b"\n")
        for _ in range(1000):
            file.write((row + b"\n") * 1000)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1500 << 20,) * 2);"
        "from pathlib import Path; from tollbook.assembly.importing import *;\n"
        "with prepared(Wanted(path=Path(sys.argv[1]))) as one: print(one.reading.count)\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 500 << 10"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "1000000", ran.stderr
