"""`tollbook trace`: the whole story of one request."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tollbook.cli import screen
from tollbook.cli.names import names_of
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.story import show_story
from tollbook.core.faults import BadInput
from tollbook.core.identity import is_request_id

Document = dict[str, Any]


def trace(
    request: Annotated[str | None, typer.Argument(metavar="ID", help="A request id, or the beginning of one.")] = None,
    trace_id: Annotated[
        str | None, typer.Option("--trace-id", help="Instead of a request: list the requests of a trace.")
    ] = None,
    tenant_view: Annotated[
        bool, typer.Option("--tenant-view", help="As the tenant sees it: its own amounts, no vendor keys or prices.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", min=0, max=100_000, help="Most lines told of a batch that the request made.")
    ] = 20,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Tell one request in time order: who, which route and why, which tokens, which price, how we know."""
    from tollbook.ledger import trace as tracing

    root = book_root(config, book)
    if (request is None) is (trace_id is None):
        raise BadInput("say one request's ID, or --trace-id and a trace's")
    if trace_id is not None:
        show_trace(root, trace_id, json=json)
        return
    assert request is not None
    view = tracing.TENANT if tenant_view else tracing.OPERATOR
    document = tracing.trace(root, _whole_id(root, request), view=view, lines=lines)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_story(with_names(root, document)))


def show_trace(root: Path, trace_id: str, *, json: bool) -> None:
    """The requests of a trace."""
    from tollbook.ledger.spans import requests_of_trace

    document = requests_of_trace(root, trace_id)
    if json:
        screen.print_json(document)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("occurred", "request", "tenant", "source", "model", "amount"):
        table.add_column(title)
    for row in document["requests"]:
        texts = (screen.words(row[name]) for name in ("request_id", "tenant", "source", "model"))
        amount = screen.exact_money(row["amount"], row["currency"])
        table.add_row(screen.instant(row["occurred_at"]), *texts, amount)
    screen.console().print(table)


def with_names(root: Path, document: Document) -> Document:
    """A trace with people's names in place of their digests, for a screen."""
    request = document["request"]
    names = names_of(root, [request["user"], request["client_request_id"], *(request["tags"] or {}).values()])
    tags = {name: names.get(value, value) for name, value in (request["tags"] or {}).items()}
    shown = {name: names.get(request[name], request[name]) for name in ("user", "client_request_id")}
    return {**document, "request": {**request, **shown, "tags": tags}}


def _whole_id(root: Path, text: str) -> str:
    """The request id that a beginning stands for. Raises BadInput when it is the beginning of several or of none."""
    if is_request_id(text.lower()):
        return text
    from tollbook.ledger.find import find

    found = {hit["request_id"] for hit in find(root, text)["hits"] if hit["what"] == "request"}
    if len(found) == 1:
        return str(found.pop())
    told = "several requests begin so" if found else "no request begins so"
    raise BadInput(f"{text!r} is not a request id: {told}; `tollbook find` takes any other id, number or amount")
