"""`tollbook reconcile`: a vendor's statements against our record, with the cause of every difference."""

import re
import sys
from fractions import Fraction
from typing import Annotated, Any, Final

import typer

from tollbook.cli import exits, screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant
from tollbook.cli.reconcile_screen import show_run
from tollbook.core.faults import BadInput, NotFound
from tollbook.core.money import parse_amount

_PERCENT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)


def reconcile(
    vendor: Annotated[str, typer.Option("--vendor", help="Whose statements.")],
    since: Annotated[str, typer.Option("--from", help="From this day or instant on (UTC).")],
    until: Annotated[str, typer.Option("--to", help="Before this day or instant.")],
    tolerance: Annotated[
        str, typer.Option("--tolerance", help="How much a cell may differ, in percent of the vendor's side.")
    ] = "0%",
    tolerance_usd: Annotated[
        str, typer.Option("--tolerance-usd", help="How much a cell may differ in dollars, if that is more.")
    ] = "0",
    as_of: Annotated[int | None, typer.Option("--as-of", help="The number of a position; else the last one.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Compare a vendor's statements with our record, cell by cell, and say why they differ.

    Ours, what is explained and what is not add up exactly to theirs. Nothing is changed. Leaves with 1 when some cell
    does not agree.
    """
    from tollbook.reconciliation.document import document_of
    from tollbook.reconciliation.run import Asked
    from tollbook.reconciliation.run import reconcile as run

    begins, ends = read_instant("--from", since), read_instant("--to", until)
    if begins is None or ends is None or begins >= ends:
        raise BadInput(f"--from {since} --to {until}: the period is empty; --to is the first instant after it")
    document = document_of(
        run(book_root(config, book), Asked(vendor, begins, ends, as_of, _tolerance(tolerance, tolerance_usd)))
    )
    if not document["inputs"]["statements"]:
        raise NotFound(
            f"no statement of {vendor!r} has lines from {since} to {until}: tollbook statement list; "
            "tollbook statement import FILE"
        )
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_run(document))
    if has_findings(document):
        sys.exit(exits.FINDINGS)


def has_findings(document: dict[str, Any]) -> bool:
    """Whether something is left to look at: a cell that does not agree, a drift, money that was not compared."""
    return (
        any(cell["verdict"] != "agrees" for cell in document["cells"])
        or any(one["drift"] for one in document["within_tolerance"])
        or bool(document["left_out"])
        or parse_amount(document["uncovered_usd"]) != 0
    )


def _tolerance(percent: str, dollars: str) -> Any:
    from tollbook.reconciliation.diagnosis import Tolerance

    found = _PERCENT.fullmatch(percent)
    if found is None or Fraction(found[1]) > 100:
        raise BadInput(f"--tolerance: found {percent!r}; allowed: 0% to 100%, such as 0.5%")
    try:
        absolute = parse_amount(dollars)
    except ValueError:
        absolute = -1
    if absolute < 0:
        raise BadInput(f"--tolerance-usd: found {dollars!r}; allowed: an amount such as 0.01")
    return Tolerance(Fraction(found[1]) / 100, absolute)
