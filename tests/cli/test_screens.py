"""Whole screens, held against files: what a person sees for a given object."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tollbook.cli import doctor, erase, find, rebuild, replay, screen, sheet, story, verify

HERE = Path(__file__).parent
BY = ["tenant", "model"]

SCREENS: dict[str, Callable[[dict[str, Any]], RenderableType]] = {
    "trace": story.show_story,
    "trace-tenant": story.show_story,
    "trace-hostile": story.show_story,
    "report": lambda document: sheet.show_report(document, BY),
    "find": find.show_hits,
    "verify": verify.show_verification,
    "verify-findings": verify.show_verification,
    "doctor": doctor.show_checks,
    "replay": replay.show_comparison,
    "rebuild": rebuild.show_rebuilt,
    "erase": erase.show_erasure,
}


def fixture(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((HERE / "fixtures" / f"{name}.json").read_text())
    return document


def drawn(name: str, *, terminal: bool = False) -> str:
    """The screen of a fixture, as a file or a terminal would receive it."""
    out = io.StringIO()
    console = Console(file=out, width=160, markup=False, emoji=False, highlight=False, force_terminal=terminal)
    console.print(SCREENS[name](fixture(name)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_is_what_was_agreed(name: str) -> None:
    """A change of a screen is seen as a change of its file (written anew with TOLLBOOK_GOLDEN=write)."""
    path = HERE / "golden" / f"{name}.txt"
    if os.environ.get("TOLLBOOK_GOLDEN") == "write":
        path.write_text(drawn(name))
    assert drawn(name) == path.read_text()


def test_words_from_outside_cannot_steer_a_terminal() -> None:
    """Markup is shown as it is written, control and direction characters as codes, long words cut."""
    shown = drawn("trace-hostile", terminal=True)
    assert "[red]mallory[/red]\\x1b[2J\\u202egnp.exe" in shown
    assert "[bold]gpt\\x9b31m[/bold]" in shown
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "x" * 257 not in shown.replace("\n", "")


def test_unknown_money_is_never_zero() -> None:
    """An amount nobody knows is the word unknown; a small one is below a cent; an exact zero alone is $0.00."""
    assert [str(screen.money(text)) for text in (None, "0.000165", "0", "-0.001")] == [
        "unknown", "< $0.01", "$0.00", "> -$0.01",
    ]  # fmt: skip
    unpriced = next(line for line in drawn("report").splitlines() if "sim-unlisted" in line)
    assert "unknown" in unpriced
    assert "$0.00" not in unpriced
    assert "$0" not in drawn("trace-hostile")


def test_a_story_shows_every_digit() -> None:
    """What a report rounds to cents, a story shows so that it can be recomputed."""
    assert "$0.000096" in drawn("trace")
    assert "$0.0000005" in drawn("trace")


def test_a_tenant_sees_no_vendor_key_and_no_price_row() -> None:
    """The screen of the tenant's view shows its own amounts only."""
    shown = drawn("trace-tenant")
    for withheld in ("main", "1f2e3d4c5b6a  ", "unit price", "price row", "list $", "expected $"):
        assert withheld not in shown
    assert "$0.000096" in shown


def test_other_currencies_stand_beside() -> None:
    """Nothing is converted: each currency has its own column."""
    globex = next(line for line in drawn("report").splitlines() if "claude-haiku-4-5" in line)
    assert "EUR 12.34" in globex
    assert "< $0.01" in globex
