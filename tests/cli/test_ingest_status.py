"""`ingest status` and `trace --trace-id`: screens, and the published shape of their JSON."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from tollbook.cli.main import app
from tollbook.core.faults import BadInput, NotFound
from tollbook.ledger.rebuild import rebuild

pytestmark = pytest.mark.xdist_group("ingest-status")

ROOT = Path(__file__).parent.parent.parent
TRACE = "a" * 32


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden book with spans."""
    root = tmp_path_factory.mktemp("spans") / "book"
    shutil.copytree(ROOT / "tests" / "golden" / "journal-v1-spans", root)
    rebuild(root)
    return root


def said(*arguments: str) -> str:
    """What a command prints when it ends well."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("ingest-status", ["ingest", "status"]),
        ("trace-list", ["trace", "--trace-id", TRACE]),
        ("trace", ["trace", "0199e0c5-0000-7000-8000-000000000002"]),
    ],
)
def test_the_json_has_the_published_shape(book: Path, schema: str, arguments: list[str]) -> None:
    """What the commands give is what their schemas say."""
    document = json.loads(said(*arguments, "--book", str(book), "--json"))
    jsonschema.validate(document, json.loads((ROOT / f"docs/reference/schemas/{schema}.json").read_text()))


def test_the_status_tells_what_came_and_what_counts(book: Path) -> None:
    """Six came, of five spans; one request rests on them; one has no usage."""
    (book / "run").mkdir(exist_ok=True)
    (book / "run" / "ingest.json").write_text('{"other":3,"restated":2}')
    text = said("ingest", "status", "--book", str(book))
    assert "otel-1.37" in text
    assert "acme: 1 request" in text
    assert "restated 2" in text


def test_a_trace_lists_the_requests_that_count(book: Path) -> None:
    """The span that counts, not its copies nor the sum around it; a request and a trace at once are refused."""
    text = said("trace", "--trace-id", TRACE.upper(), "--book", str(book))
    assert "0199e0c5-0000-7000-8000-000000000002" in text
    assert "0199e0c5-0000-7000-8000-000000000001" not in text
    for arguments, fault in (
        ([], BadInput),
        (["x", "--trace-id", TRACE], BadInput),
        (["--trace-id", "zz"], BadInput),
        (["--trace-id", "b" * 32], NotFound),
    ):
        with pytest.raises(fault):
            CliRunner().invoke(app, ["trace", *arguments, "--book", str(book)], catch_exceptions=False)
