"""`tollbook route`: where a request would go, and why."""

from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import exits, screen
from tollbook.cli.options import ConfigOption, JsonOption
from tollbook.cli.provenance import provenance
from tollbook.core.clock import now

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Look into the routing of requests.")


@app.callback()
def root() -> None:
    """Look into the routing of requests."""


@app.command()
def explain(
    tenant: Annotated[str, typer.Option("--tenant", help="Who asks.")],
    model: Annotated[str, typer.Option("--model", help="The model asked for.")],
    request_id: Annotated[
        str | None, typer.Option("--request-id", help="A request whose plan to repeat; else no target is drawn.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """The plan of a request and the reason of each choice, by the configuration file; nothing is sent.

    Exit code 1 when such a request would be refused.
    """
    from tollbook import config as configuration
    from tollbook.assembly.explanation import explain_route, with_registered

    settings = with_registered(configuration.load(configuration.find_path(config)), tenant, now())
    document = explain_route(settings, tenant, model, request_id)
    parameters = {"tenant": tenant, "model": model, "request_id": request_id}
    document["provenance"] = provenance(parameters, rows=len(document["targets"]))
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_route(document))
    raise typer.Exit(exits.FINE if document["refusal"] is None else exits.FINDINGS)


def show_route(document: Document) -> RenderableType:
    """The screen of `route explain`."""
    title = f"{document['model']} for {document['tenant']}, policy {document['policy']}"
    parts: list[RenderableType] = [Text(screen.escape(title), style="bold"), Text()]
    refused = document["refusal"]
    if refused is not None:
        told = f"refused with {refused['status']} {refused['code']}: {refused['message']}"
        parts.append(Text(screen.escape(told), style="red"))
    else:
        parts.append(_targets(document))
    for target in document["left_out"]:
        told = f"never tried: {target['vendor']}/{target['model']}: {target['reason']}"
        parts.append(Text(screen.escape(told), style="yellow"))
    if refused is None:
        told = document["reason"] or "depends on the request's id (--request-id)"
        parts += [Text(), Text(f"reason on record: {screen.escape(told)}")]
    parts.append(Text(f"health {document['health']}", style="dim"))
    return Group(*parts)


def _targets(document: Document) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("order", "target", "share", "vendor key", "why"):
        table.add_column(name)
    for target in document["targets"]:
        table.add_row(
            Text(str(target["order"])),
            screen.words(f"{target['vendor']}/{target['model']}"),
            screen.words(target["share"] or "-"),
            screen.words(target["vendor_key"] or " or ".join(target["vendor_keys"])),
            screen.words("; ".join(target["reasons"])),
        )
    return table
