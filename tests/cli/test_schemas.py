"""The published shape of every machine-readable output."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

HERE = Path(__file__).parent
SCHEMAS = HERE.parent.parent / "docs" / "reference" / "schemas"

FIXTURES = {
    "trace": "trace",
    "trace-hostile": "trace",
    "trace-tenant": "trace-tenant",
    "report": "report",
    "find": "find",
    "verify": "verify",
    "verify-findings": "verify",
    "doctor": "doctor",
    "replay": "replay",
    "rebuild": "rebuild",
    "erase": "erase",
}


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return document


def objects(part: Any) -> list[dict[str, Any]]:
    """Every schema of an object inside a schema."""
    if isinstance(part, list):
        return [found for inner in part for found in objects(inner)]
    if not isinstance(part, dict):
        return []
    own = [part] if part.get("type") == "object" and "properties" in part else []
    return own + [found for inner in part.values() for found in objects(inner)]


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_a_schema_is_one(path: Path) -> None:
    """Each file is a valid draft 2020-12 schema, its objects closed, so that a new field is published on purpose."""
    document = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    for part in objects(document):
        assert part["additionalProperties"] is False


@pytest.mark.parametrize(("fixture", "name"), FIXTURES.items())
def test_a_fixture_has_the_published_shape(fixture: str, name: str) -> None:
    """What the screens are tested with is what the commands give."""
    jsonschema.validate(json.loads((HERE / "fixtures" / f"{fixture}.json").read_text()), schema(name))


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_money_in_dollars_stands_beside_amount_and_currency(path: Path) -> None:
    """Wherever a field ends in `_usd`, the amount in its own currency is there too, unless the whole document is in one
    currency; numbers are integers."""
    document = json.loads(path.read_text())
    one_currency = document["properties"].get("currency") == {"const": "USD"}
    for part in objects(document):
        if "amount_usd" in part["properties"] and not one_currency:
            assert {"amount", "amounts"} & set(part["properties"])
            assert "currency" in part["properties"] or path.stem in {"report", "backup", "restore"}
    assert '"type": "number"' not in path.read_text()


def test_a_tenant_never_sees_what_was_negotiated() -> None:
    """The tenant's trace has no vendor key, price, price book or other amount than its own."""
    text = (SCHEMAS / "trace-tenant.json").read_text()
    for withheld in ("vendor_key", "unit_price", "price_row", "price_book", "usage_raw", '"expected"', '"list"'):
        assert withheld not in text
