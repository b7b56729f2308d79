"""The demo's reconciliation: the vendor's reports are pulled, and every difference from our record gets its cause."""

import json
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.rule import Rule

from tollbook.cli.pulled import pulled_document
from tollbook.cli.reconcile_screen import show_run
from tollbook.cli.statement_screen import show_pulled
from tollbook.core.clock import now

if TYPE_CHECKING:
    from tollbook.cli.stage import Stage

Document = dict[str, Any]

VENDOR: Final = "openai"
LEAKED: Final = "sk-sim-leaked-key"
ADMIN: Final = "sk-admin-sim-demo"
_PATIENCE_SECONDS: Final = 20.0


def compare(stage: "Stage") -> Document:
    """Somebody uses the vendor past the gateway; the vendor's reports are pulled and compared with the book."""
    from tollbook.assembly.pulling import DAY, Account, pull
    from tollbook.reconciliation.diagnosis import Tolerance
    from tollbook.reconciliation.document import document_of
    from tollbook.reconciliation.run import Asked, reconcile
    from tollbook.statements.admin import REPORTS

    _leak(stage.vendor_url)
    today = now() // DAY * DAY
    days = [today - DAY, today]
    account = Account(VENDOR, stage.vendor_url, ADMIN)
    pulled = pulled_document(account, ("yesterday", "tomorrow"), pull(stage.book, account, REPORTS["openai"], days))
    _wait(stage.book, [one["import_id"] for one in pulled["statements"] if one["import_id"]])
    asked = Asked(VENDOR, days[0], today + DAY, None, Tolerance())
    return {"pulled": pulled, "reconciled": document_of(reconcile(stage.book, asked))}


def _leak(vendor_url: str) -> None:
    """Some calls with a key that the gateway does not know."""
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim input=2000 output=300]]"}]})
    headers = {"authorization": f"Bearer {LEAKED}", "content-type": "application/json"}
    for _ in range(5):
        request = urllib.request.Request(f"{vendor_url}/v1/chat/completions", body.encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  http to ourselves
            answer.read()


def _wait(book: Path, names: list[str]) -> None:
    """Until the ledger holds the statements; the scribe loads what it writes within a second."""
    from tollbook.ledger.statements import statements

    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        if set(names) <= {one["import_id"] for one in statements(book)["statements"]}:
            return
        time.sleep(0.1)


def show_reconciliation(console: Console, document: Document) -> None:
    """One screen for each step."""
    for title, shown in (
        (f"tollbook statement pull {VENDOR} --from yesterday --to tomorrow", show_pulled(document["pulled"])),
        (f"tollbook reconcile --vendor {VENDOR} --from yesterday --to tomorrow", show_run(document["reconciled"])),
    ):
        console.print()
        console.print(Rule(title, align="left", style="dim"))
        console.print(shown)
    console.print()
