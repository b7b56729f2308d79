"""The end of the demo: one request is disputed, looked into, resolved, and its evidence verified."""

from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.rule import Rule

from tollbook.cli import screen
from tollbook.cli.dispute import show_case, show_diagnosis
from tollbook.cli.evidence import checked_document, document_of, show_checked, show_export, write
from tollbook.cli.names import names_of

Document = dict[str, Any]

CLAIM: Final = "we asked for gpt-4o, and were given another model"
REASON: Final = "the fallback is what the policy plans, and cost less"


def settle(book: Path, request: str, out: Path) -> Document:
    """Open a case about a request, diagnose and resolve it, export its evidence to a file and verify that."""
    from tollbook.assembly import claims, exhibits, service
    from tollbook.assembly.inquest import inquest
    from tollbook.evidence.check import check

    case = claims.open_case(book, claims.of_id(book, request, None), CLAIM, "acme", {"model": "gpt-4o-2024-08-06"})
    name = case["case"]
    diagnosis = inquest(book, case)
    service.ask_book(book, "case.diagnose", {"case": name, "diagnosis": diagnosis})
    resolved = service.ask_book(book, "case.resolve", {"case": name, "how": "none", "reason": REASON})
    done = exhibits.export(book, exhibits.of_case(book, name, withhold=False))
    write(out, done, out.with_suffix(".html"))
    checked = check(out.read_bytes(), done.manifest.key)
    digests = [resolved["claim"], resolved["by"], *(move["text"] for move in resolved["moves"])]
    return {
        "diagnosis": diagnosis,
        "resolved": {**resolved, "words": names_of(book, digests)},
        "exported": document_of(out, done),
        "verified": checked_document(out, checked),
    }


def show_dispute(console: Console, document: Document) -> None:
    """One screen for each step."""
    resolved, exported = document["resolved"], document["exported"]
    case, file = resolved["case"], screen.escape(Path(exported["file"]).name)
    for title, shown in (
        (f"tollbook dispute diagnose {case}", show_diagnosis(document["diagnosis"])),
        (f"tollbook dispute resolve {case} --as none", show_case(resolved, resolved["words"])),
        (f"tollbook evidence export {case} -o {file}", show_export(exported)),
        (f"tollbook verify {file} --key ...", show_checked(document["verified"])),
    ):
        console.print()
        console.print(Rule(title, align="left", style="dim"))
        console.print(shown)
    console.print()
