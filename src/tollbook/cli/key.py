"""`tollbook key`: the keys that open the gateway."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import (
    BookOption,
    ConfigOption,
    JsonOption,
    book_root,
    read_duration,
    read_instant,
    read_names,
    read_secret,
)
from tollbook.cli.provenance import provenance
from tollbook.cli.secret_screen import show_secret
from tollbook.cli.story import show_provenance
from tollbook.cli.transfer import show_legs
from tollbook.core.clock import format_instant, now
from tollbook.core.faults import NotFound

if TYPE_CHECKING:
    from tollbook.registry.registry import Registry

Document = dict[str, Any]
_ENDS: Final = ("first_at", "last_at")

app = typer.Typer(no_args_is_help=True, help="The keys that open the gateway.")

NameArgument = Annotated[str, typer.Argument(help="Which key: its name, or TENANT/NAME where several have one.")]
TenantOption = Annotated[str | None, typer.Option("--tenant", help="Whose key it is, where several have one.")]
SecretOption = Annotated[
    str | None,
    typer.Option("--secret-from", help="A secret that clients have already: env:NAME, or - for standard input."),
]


@app.callback()
def root() -> None:
    """The keys that open the gateway."""


@app.command()
def add(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose key it is: who is charged.")],
    name: Annotated[str, typer.Option("--name", help="Its name: the dimension `key` of reports.")],
    workload: Annotated[
        list[str] | None, typer.Option("--workload", help="A workload it may act for; may be repeated. Else all.")
    ] = None,
    models: Annotated[str | None, typer.Option("--models", help="The models it may use, by commas. Else all.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="The day (UTC) or instant it expires.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who answers for it.")] = None,
    signs: Annotated[bool, typer.Option("--signs", help="For clients that sign as AWS wants it (SigV4).")] = False,
    secret_from: SecretOption = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key. Its secret is printed once and kept nowhere; workers know it within 5 seconds."""
    from tollbook.assembly import service

    facts = {
        "name": name,
        "workloads": workload or [],
        "models": read_names(models),
        "owner": owner,
        "expires": read_instant("--expires", expires),
    }
    secret = read_secret("--secret-from", secret_from)
    wanted = {"tenant": tenant, "facts": facts, "secret": secret, "signs": signs, "reason": reason}
    done = service.change_registry(book_root(config, book), "key.add", wanted)
    _print_secret(done, {"tenant": tenant, "name": name}, json)


@app.command()
def rotate(
    name: NameArgument,
    overlap: Annotated[str, typer.Option("--overlap", help="How long the former secret works on: 30m, 24h.")] = "24h",
    tenant: TenantOption = None,
    secret_from: SecretOption = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Give a key another secret. Until the overlap ends both work; then the former one opens nothing."""
    from tollbook.assembly import service

    seconds = read_duration("--overlap", overlap)
    secret = read_secret("--secret-from", secret_from)
    wanted = {"name": name, "tenant": tenant, "overlap": seconds, "secret": secret, "reason": reason}
    done = service.change_registry(book_root(config, book), "key.rotate", wanted)
    _print_secret(done, {"name": name, "tenant": tenant, "overlap": overlap}, json)


@app.command()
def revoke(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")],
    tenant: TenantOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """End a key with all its secrets: within 5 seconds no worker takes it any more. It cannot be undone."""
    from tollbook.assembly import service

    wanted = {"name": name, "tenant": tenant, "reason": reason}
    done = service.change_registry(book_root(config, book), "key.revoke", wanted)
    done.pop("transfers")
    document = {**done, "provenance": provenance({"name": name, "tenant": tenant}, rows=1)}
    if json:
        screen.print_json(document)
        return
    told = f"revoked key {screen.escape(document['key'])} of tenant {screen.escape(document['tenant'])}"
    screen.console().print(Text(f"{told}; no worker takes it after 5 seconds, requests under way end by themselves"))


@app.command("list")
def show_all(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only the keys of this tenant.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """All keys: whose they are, what they open, when they end, and when they were last used."""
    from tollbook.assembly import service

    directory = book_root(config, book)
    document = list_document(service.read_registry(directory), _last_uses(directory), tenant)
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document))


@app.command()
def suspect(
    name: NameArgument,
    since: Annotated[str, typer.Option("--since", help="From when on the key is not trusted: a day (UTC) or instant.")],
    move_to: Annotated[
        str | None, typer.Option("--move-to", help="Carry what it cost since to this cost centre, by a transfer.")
    ] = None,
    tenant: TenantOption = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal.")] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """What a key did since an instant beside what it did before: requests, money, models, workloads, users.

    It goes on to open: `key revoke` ends it. Addresses of clients are not recorded, so none are told.
    """
    from tollbook.assembly import service
    from tollbook.ledger.transfers import uses_of_key
    from tollbook.registry import decisions

    directory = book_root(config, book)
    key = decisions.key_named(service.read_registry(directory), name, tenant)
    instant = read_instant("--since", since)
    assert instant is not None
    moved = None
    if move_to is not None:
        wanted = {"name": key.name, "tenant": key.tenant, "since": instant, "cost_centre": move_to, "reason": reason}
        moved = {"cost_centre": move_to, **service.change_registry(directory, "key.transfer", wanted)}
    found = uses_of_key(directory, key.tenant, key.name, instant)
    document = {**found, "state": key.state(now()), "moved": moved}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_suspect(document))


def list_document(registry: "Registry", used: dict[tuple[str, str], int] | None, tenant: str | None) -> Document:
    """Keys in the shape of `docs/reference/schemas/key-list.json`. `used` is None where there is no ledger to ask."""
    at = now()
    rows = [
        {
            "key": key.name,
            "tenant": key.tenant,
            "state": _state(registry, key.tenant, key.state(at), at),
            "owner": key.owner,
            "workloads": list(key.workloads),
            "models": list(key.models),
            "access_key_id": key.secrets[-1].secret.access_key_id,
            "created_at": format_instant(key.created),
            "expires_at": None if key.expires is None else format_instant(key.expires),
            "revoked_at": None if key.revoked is None else format_instant(key.revoked),
            "former_until": _former_until(key.secrets, at) if key.state(at) == "active" else None,
            "last_used_at": _instant(None if used is None else used.get((key.tenant, key.name))),
        }
        for key in sorted(registry.keys.values(), key=lambda key: (key.tenant, key.name))
        if tenant in (None, key.tenant)
    ]
    parameters = {"tenant": tenant, "last_use_known": used is not None}
    return {"keys": rows, "provenance": provenance(parameters, rows=len(rows))}


def show_list(document: Document) -> RenderableType:
    """The screen of `key list`."""
    if not document["keys"]:
        return Text("there is no key yet; make one with: tollbook key add --tenant T --name N")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("tenant", "key", "state", "workloads", "models", "owner", "expires", "last used"):
        table.add_column(title)
    known = document["provenance"]["parameters"]["last_use_known"]
    for row in document["keys"]:
        used = screen.instant(row["last_used_at"]) if row["last_used_at"] or not known else Text("never", style="dim")
        table.add_row(
            Text(screen.escape(row["tenant"])),
            Text(screen.escape(row["key"])),
            Text(row["state"], style="green" if row["state"] == "active" else "yellow"),
            Text(", ".join(map(screen.escape, row["workloads"])) or "all"),
            Text(", ".join(map(screen.escape, row["models"])) or "all"),
            _cell(row["owner"]),
            Text("never", style="dim") if row["expires_at"] is None else screen.instant(row["expires_at"]),
            used,
        )
    rotating = [row for row in document["keys"] if row["former_until"] is not None]
    notes = [
        Text(
            f"{screen.escape(row['tenant'])}/{screen.escape(row['key'])}: its former secret works until "
            f"{screen.instant(row['former_until'])}",
            style="yellow",
        )
        for row in rotating
    ]
    return Group(table, *notes)


def _last_uses(directory: Path) -> dict[tuple[str, str], int] | None:
    from tollbook.ledger import uses

    try:
        return uses.last_uses(directory)
    except NotFound:
        return None


def show_suspect(document: Document) -> RenderableType:
    """The screen of `key suspect`."""
    name = f"key {screen.escape(document['tenant'])}/{screen.escape(document['key'])}, {document['state']}"
    head = Text(f"{name}; since {screen.instant(document['since'])}", "bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    currencies = sorted({name for part in ("after", "before") for name in document[part]["amounts"]}) or ["USD"]
    for title in ("", "requests", "attempts", *currencies, "unpriced", "first", "last"):
        table.add_column(title, justify="left" if title in ("", "first", "last") else "right")
    for title, part in (("since then", document["after"]), ("before", document["before"])):
        amounts = [screen.money(part["amounts"].get(one, "0"), one) for one in currencies]
        instants = [Text("-", style="dim") if part[one] is None else screen.instant(part[one]) for one in _ENDS]
        counts = (screen.number(part["requests"]), screen.number(part["attempts"]))
        table.add_row(Text(title), *counts, *amounts, screen.number(part["unpriced"]), *instants)
    lines: list[RenderableType] = [head, table, Text()]
    for title in ("models", "workloads"):
        names = [f"{screen.escape(one['name'])}{' (new)' if one['new'] else ''}" for one in document[title]]
        lines.append(Text(f"{title}: {', '.join(names) or 'none'}"))
    users = document["users"]
    lines.append(Text(f"users: {users['count']:,}, of them new {users['new']:,}; addresses are not recorded"))
    if document["requests"]:
        lines += [Text(), _show_requests(document)]
    if document["moved"] is not None:
        told = "carried to" if document["moved"]["legs"] else "nothing was left to be carried to"
        lines += [Text(), Text(f"{told} cost centre {screen.escape(document['moved']['cost_centre'])}")]
        lines += [show_legs(document["moved"]["legs"])] if document["moved"]["legs"] else []
    return Group(*lines, Text(), show_provenance(document["provenance"]))


def _show_requests(document: Document) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("request", "occurred", "model", "amount"):
        table.add_column(title, justify="right" if title == "amount" else "left")
    for one in document["requests"]:
        amount = screen.money(one["amount"], one["currency"])
        table.add_row(Text(screen.escape(one["id"])), screen.instant(one["occurred_at"]), _cell(one["model"]), amount)
    more = document["left_out"]
    return Group(table, Text(f"and {more:,} more: tollbook report --by key,model", style="dim")) if more else table


def _print_secret(done: Document, parameters: Document, json: bool) -> None:
    done.pop("transfers")
    document = {**done, "provenance": provenance(parameters, rows=1)}
    if json:
        screen.print_json(document)
        return
    screen.console().print(show_secret(document))
    if document.get("former_until") is not None:
        screen.console().print(Text(f"the former secret works until {screen.instant(document['former_until'])}"))


def _state(registry: "Registry", tenant: str, state: str, at: int) -> str:
    return state if state != "active" or registry.is_active("tenant", tenant, at) else "tenant ended"


def _former_until(secrets: Any, at: int) -> str | None:
    """When the last but one secret ends, if it still works."""
    late = [one.until for one in secrets[:-1] if one.until > at]
    return format_instant(max(late)) if late else None


def _instant(value: int | None) -> str | None:
    return None if value is None else format_instant(value)


def _cell(value: object) -> Text:
    return Text("-", style="dim") if value is None else Text(screen.escape(value))
