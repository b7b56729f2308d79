"""Whatever a file holds, its entry fits a line of the journal, and its lines can be written."""

import io
import json
from decimal import Decimal
from pathlib import Path

import pytest
from statement_files import read, sample

from tollbook.assembly.importing import Wanted, entry_of, prepared
from tollbook.core.faults import BadInput
from tollbook.journal.entry import LINE_LIMIT, ObjectNamed, encode_payload
from tollbook.journal.statement import LINE_BYTES, encode_statement_line
from tollbook.statements.document import Head, Importer, Line
from tollbook.statements.reading import Reading

LONG = "\x01" * 5000


def test_texts_of_any_length_are_cut_and_told() -> None:
    """Control characters take most room; half of a pair of surrogates cannot be written as it is."""
    page = json.loads(sample("openai_costs/page.json"))
    result = page["data"][0]["results"][0]
    result |= {"line_item": LONG, "project_id": LONG, "api_key_id": "half \ud800", "quantity_unit": LONG}
    lines, reading = read("openai_costs", json.dumps(page).encode())
    assert len(encode_statement_line(lines[0])) < LINE_BYTES
    assert lines[0].vendor_key == "half \\ud800" and len(lines[0].item) == 1000
    assert any("5,000 letters" in problem.what for problem in reading.problems)


def test_the_entry_of_the_worst_file_fits_a_line(tmp_path: Path) -> None:
    """As many and as long problems as there can be, and every member of the head."""
    page = json.loads(sample("openai_costs/page.json"))
    results = page["data"][0]["results"]
    page["data"][0]["results"] = [results[0], *({"amount": None, LONG: 1, "line_item": LONG} for _ in range(500))]
    path = tmp_path / "file"
    path.write_text(json.dumps(page))
    head = Head(**dict.fromkeys(("number", "issued", "reference", "account"), "\x01" * 200))
    wanted = Wanted(path=path, head=head)
    with prepared(wanted) as one:
        entry = entry_of(wanted, one, ObjectNamed(sha256="a" * 64, bytes=1), None)
    assert entry.problem_count == 500 and len(entry.problems) == 50
    assert len(encode_payload(entry)) < LINE_LIMIT
    with pytest.raises(BadInput, match="200 letters"), prepared(Wanted(path=path, head=Head(number="x" * 201))):
        pass


def test_a_statement_has_few_currencies() -> None:
    """Thousands of them would not fit its entry, and are no statement."""
    codes = [f"{chr(65 + one)}{chr(65 + two)}A" for one in range(26) for two in range(26)]
    facts = {"where": "x", "begins": 0, "ends": 1, "kind": "cost", "amount": Decimal(1)}
    importer = Importer(
        kind="k",
        vendor="v",
        version=1,
        type="cost_report",
        read=lambda file: iter(Line(currency=code, **facts) for code in codes),  # type: ignore[arg-type]
        recognises=lambda head: False,
        meaning="",
    )
    with pytest.raises(BadInput, match="currencies"):
        list(Reading(importer).lines(io.BytesIO()))
