"""`tollbook conformance`: does a gateway, ours or another, lose anything by which somebody pays."""

import os
import re
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import JsonOption, read_names
from tollbook.cli.provenance import provenance
from tollbook.cli.verify import progress_bar
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.conformance.comparison import Finding
    from tollbook.conformance.run import Result

Document = dict[str, Any]

VENDOR_LISTEN: Final = "127.0.0.1:8085"
UNCONFIGURED_KEY: Final = "sk-sim-conformance"
"""The key that is sent unless told: what a gateway that passes keys on needs."""
SHOWN: Final = 40


def conformance(
    against: Annotated[str | None, typer.Option(help="The gateway's address, such as http://127.0.0.1:8080.")] = None,
    key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds the gateway's key.")
    ] = None,
    vendor_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the simulated vendor listens, for the gateway to use.")
    ] = VENDOR_LISTEN,
    formats: Annotated[str | None, typer.Option(help="Wire formats to ask for, separated by commas; else all.")] = None,
    print_config: Annotated[
        str | None,
        typer.Option(metavar="GATEWAY", help="Print a configuration for tollbook, litellm or envoy, and leave."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send a recorded suite through a gateway and list every financial field that is missing or changed.

    Starts a simulated vendor, which the gateway must use in the place of its own. No real vendor is asked.
    """
    if print_config is not None:
        from tollbook.conformance.printing import configuration

        typer.echo(configuration(print_config, _address(against), vendor_listen), nl=False)
        return
    if against is None:
        raise BadInput("name the gateway with --against URL, or see --print-config")
    result = _run(against, _key(key_env), vendor_listen, read_names(formats), quiet=json)
    document = document_of(result, {"against": against, "formats": read_names(formats)})
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_conformance(document))
    raise typer.Exit(exits.FINDINGS if result.findings else exits.FINE)


def _run(against: str, key: str, vendor_listen: str, formats: list[str], *, quiet: bool) -> "Result":
    from tollbook.conformance.client import Client
    from tollbook.conformance.run import run
    from tollbook.conformance.suite import cases
    from tollbook.simulator import Simulator

    wanted, gateway = cases(formats), Client(against, key)
    vendor = Simulator(listen=vendor_listen, seed=1)
    try:
        vendor.start()
    except OSError as fault:
        raise BadInput(f"--vendor-listen {vendor_listen}: {fault.strerror or fault}; name a free address") from None
    try:
        with progress_bar("asking", quiet=quiet) as advance:
            return run(gateway, vendor, wanted, advance)
    finally:
        vendor.stop()


def _key(name: str | None) -> str:
    if name is None:
        return UNCONFIGURED_KEY
    key = os.environ.get(name, "")
    if not key:
        raise BadInput(f"--key-env: the environment variable {name} is not set, or empty")
    if not key.isascii() or not key.isprintable():
        raise BadInput(f"--key-env: {name} holds a key that no header can carry")
    return key


def _address(against: str | None) -> str:
    return (against or "127.0.0.1:8080").removeprefix("http://").rstrip("/")


def document_of(result: "Result", parameters: Document) -> Document:
    """The result in the shape of `docs/reference/schemas/conformance.json`."""
    missing = [_line(finding) for finding in result.findings if finding.got is None]
    changed = [_line(finding) for finding in result.findings if finding.got is not None]
    return {
        "cases": result.cases,
        "fields_missing": missing,
        "fields_changed": changed,
        "provenance": provenance(parameters, rows=len(missing) + len(changed)),
    }


def _line(finding: "Finding") -> Document:
    """A finding; values as text, because some are decimal numbers."""
    told = {"expected": finding.expected, "got": finding.got}
    return {
        "case": finding.case,
        "field": finding.field,
        **{name: None if value is None else _text(value) for name, value in told.items()},
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def show_conformance(document: Document) -> RenderableType:
    """The screen: what is lost and changed in each form, members of one object together, with the first of each."""
    missing, changed = document["fields_missing"], document["fields_changed"]
    cases = f"{document['cases']:,} cases"
    if not missing and not changed:
        return Text(f"{cases}: every financial field is as the vendor told it", style="green")
    groups: dict[tuple[str, str, str], list[Document]] = {}
    for kind, findings in (("missing", missing), ("changed", changed)):
        for finding in findings:
            key = (kind, finding["case"].partition("/")[0], _object_of(finding["field"]))
            groups.setdefault(key, []).append(finding)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("", "form", "field", "cases", "for example", "expected", "got"):
        table.add_column(title, overflow="fold", justify="right" if title == "cases" else "left")
    for (kind, form, field), found in list(groups.items())[:SHOWN]:
        first = found[0]
        example = f"{first['case'].partition('/')[2]}: {first['field'].rpartition('.')[2]}"
        told = (_value(first["expected"]), _value(first["got"]))
        count = len({finding["case"] for finding in found})
        table.add_row(kind, screen.words(form), screen.words(field), f"{count:,}", screen.words(example), *told)
    verdict = f"{cases}: {len(missing):,} fields missing, {len(changed):,} changed"
    if len(groups) > SHOWN:
        verdict += f"; {len(groups) - SHOWN:,} more groups are in --json"
    return Group(table, Text(), Text(verdict, style="yellow"))


def _object_of(field: str) -> str:
    """The field, or the usage that it is a member of."""
    found = re.match(r"(.*?\b(?:usage|usageMetadata|billed_units|tokens|amazon-bedrock-invocationMetrics))\.", field)
    return found[1] if found else field


def _value(value: str | None) -> Text:
    return Text("-", style="dim") if value is None else screen.words(value)
