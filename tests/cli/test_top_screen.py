"""The screen of `top` on narrow and wide terminals."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from tollbook.assembly import service
from tollbook.cli.top_screen import show_top

HERE = Path(__file__).parent
SCHEMA = json.loads((HERE.parents[1] / "docs" / "reference" / "schemas" / "top.json").read_text())


def fixture() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((HERE / "fixtures" / "top.json").read_text())
    return document


def drawn(document: dict[str, Any], width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False).print(show_top(document, width))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def test_the_fixture_has_the_published_shape() -> None:
    """What the screen is tested with is what the command gives."""
    jsonschema.validate(fixture(), SCHEMA)


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_is_what_was_agreed(width: int) -> None:
    """A change of the screen is seen as a change of its file; no line is longer than the terminal."""
    path = HERE / "golden" / f"top-{width}.txt"
    shown = drawn(fixture(), width)
    assert shown == path.read_text()
    assert max(map(len, shown.splitlines())) <= width


def test_unknown_is_no_zero() -> None:
    """Money without a price is unknown; where nothing was bought there is none; without a ledger no figure stands."""
    document = fixture()
    document["tenants"][0]["amounts"] = {}
    assert "unknown" in drawn(document, 80)
    document["tenants"][0]["attempts"] = 0
    line = next(
        line for line in drawn(document, 80).splitlines() if line.startswith(document["tenants"][0]["tenant"][:10])
    )
    assert "unknown" not in line and "$" not in line
    document |= {"traffic": None, "open": None, "tenants": [], "vendor_keys": [], "limits": []}
    assert "requests/s" not in drawn(document, 80)


def test_words_from_outside_cannot_steer_a_terminal() -> None:
    """A hostile tenant's name is shown as codes and cut."""
    document = fixture()
    document["tenants"][0]["tenant"] = "a\x1b[2J" + "x" * 400
    shown = drawn(document, 80)
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("delay", [1.5, 3.0])
def test_interrupting_leaves_in_order(tmp_path: Path, delay: float) -> None:
    """^C ends it with exit code 0 and without a traceback, whatever it is doing just then."""
    service.init(tmp_path / "book")
    command = [sys.executable, "-m", "tollbook", "top", "--book", str(tmp_path / "book"), "--every", "1s"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()  # the first look is there
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert "no worker runs" in out
