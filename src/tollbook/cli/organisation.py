"""`tollbook entity|unit|tenant|workload`: who there is, where they belong, who bears them, and since when."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root, read_instant, read_names
from tollbook.cli.provenance import provenance
from tollbook.cli.secret_screen import show_secret
from tollbook.cli.transfer import show_legs, shown
from tollbook.core.clock import format_instant, now
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.registry.registry import Recorded, Registry, Subject

Document = dict[str, Any]

PARENTS: Final = {"entity": None, "unit": "entity", "tenant": "unit", "workload": "tenant"}
"""What each kind belongs to."""
CHILDREN: Final = {"entity": "unit", "unit": "tenant", "tenant": "workload", "workload": None}
_PLURAL: Final = {"entity": "entities", "unit": "units", "tenant": "tenants", "workload": "workloads"}
WAIT_SECONDS: Final = 15.0
"""How long a command waits for what was on record to be carried over."""
_MEANING: Final = {
    "entity": "a legal entity",
    "unit": "a unit of an entity: a department, a division",
    "tenant": "a tenant: who is charged, and whose keys open the gateway",
    "workload": "a workload of a tenant: a part of its traffic that is counted apart",
}

OwnerOption = Annotated[str | None, typer.Option("--owner", help="Who answers for it.")]
CostCentreOption = Annotated[str | None, typer.Option("--cost-centre", help="Where its cost goes; else its parent's.")]
ModeOption = Annotated[str | None, typer.Option("--mode", help="showback or chargeback; else its parent's.")]
EffectiveOption = Annotated[
    str | None, typer.Option("--effective", help="The day (UTC) or instant from which it holds; else now.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; kept in the journal, so name no end user.")]


def noun(kind: str) -> typer.Typer:
    """The commands of one kind."""
    app = typer.Typer(no_args_is_help=True, help=f"Who there is: {_PLURAL[kind]}.")
    parent = PARENTS[kind]
    named = "NAME, or TENANT/NAME where several tenants have one" if kind == "workload" else "its name"
    name_argument = typer.Argument(help=f"Which {kind}: {named}.")
    parent_option = typer.Option(f"--{parent}", help=f"The {parent} it belongs to.", hidden=parent is None)
    to_option = typer.Option("--to", help=f"The {parent} it belongs to from then on.", hidden=parent is None)

    @app.callback()
    def root() -> None:
        pass

    root.__doc__ = f"Who there is: {_PLURAL[kind]}."

    def add(
        name: Annotated[str, typer.Argument(help="Its name, never used before.")],
        belongs_to: Annotated[str | None, parent_option] = None,
        owner: OwnerOption = None,
        cost_centre: CostCentreOption = None,
        mode: ModeOption = None,
        effective: EffectiveOption = None,
        reason: ReasonOption = None,
        config: ConfigOption = None,
        book: BookOption = None,
        json: JsonOption = False,
    ) -> None:
        wanted = _wanted(kind, name, belongs_to, owner, cost_centre, mode, effective, reason)
        _act("registry.add", wanted, config, book, json)

    add.__doc__ = f"Add {_MEANING[kind]}. No restart is needed."
    if kind != "tenant":
        app.command("add")(add)
    else:
        app.command("add")(add_tenant)

    def show_all(config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
        from tollbook.assembly import service

        document = list_document(service.read_registry(book_root(config, book)), kind)
        _print(document, json, show_list(document))

    show_all.__doc__ = f"All {_PLURAL[kind]}, as they are now."
    app.command("list")(show_all)

    def show(
        name: Annotated[str, name_argument],
        config: ConfigOption = None,
        book: BookOption = None,
        json: JsonOption = False,
    ) -> None:
        from tollbook.assembly import service

        document = show_document(service.read_registry(book_root(config, book)), kind, name)
        _print(document, json, show_one(document))

    show.__doc__ = f"One {kind}: where it belongs, what belongs to it, and every change of it."
    app.command("show")(show)

    def move(
        name: Annotated[str, name_argument],
        to: Annotated[str | None, to_option] = None,
        owner: OwnerOption = None,
        cost_centre: CostCentreOption = None,
        mode: ModeOption = None,
        effective: EffectiveOption = None,
        reason: ReasonOption = None,
        config: ConfigOption = None,
        book: BookOption = None,
        json: JsonOption = False,
    ) -> None:
        wanted = _wanted(kind, name, to, owner, cost_centre, mode, effective, reason)
        _act("registry.move", wanted, config, book, json)

    move.__doc__ = (
        f"Change where one of the {_PLURAL[kind]} belongs, or its owner, cost centre or mode. From an instant in the "
        "past, what is on record already is carried over by transfers."
    )
    app.command("move")(move)

    def end(
        name: Annotated[str, name_argument],
        effective: EffectiveOption = None,
        reason: ReasonOption = None,
        config: ConfigOption = None,
        book: BookOption = None,
        json: JsonOption = False,
    ) -> None:
        wanted = _wanted(kind, name, None, None, None, None, effective, reason)
        _act("registry.end", wanted, config, book, json)

    end.__doc__ = f"End one of the {_PLURAL[kind]}{_ends_with(kind)}. Its name is never used again."
    app.command("end")(end)
    return app


def add_tenant(
    name: Annotated[str, typer.Argument(help="Its name, never used before.")],
    unit: Annotated[str | None, typer.Option("--unit", help="The unit it belongs to.")] = None,
    owner: OwnerOption = None,
    cost_centre: CostCentreOption = None,
    mode: ModeOption = None,
    workload: Annotated[list[str] | None, typer.Option("--workload", help="A workload of it; may be repeated.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Give it a key of this name, too.")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="When that key expires: a day or instant.")] = None,
    models: Annotated[str | None, typer.Option("--models", help="The models that key may use, by commas.")] = None,
    effective: EffectiveOption = None,
    reason: ReasonOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Add a tenant: who is charged, and whose keys open the gateway; with its workloads and a key if you like.

    No restart is needed: the key is known to every worker within 5 seconds.
    """
    wanted = _wanted("tenant", name, unit, owner, cost_centre, mode, effective, reason)
    wanted["workloads"] = workload or []
    if key is None and (expires is not None or models is not None):
        raise BadInput("--expires and --models are of a key: name it with --key")
    if key is not None:
        facts = {"name": key, "models": read_names(models), "owner": owner}
        wanted["key"] = facts | {"expires": read_instant("--expires", expires)}
    _act("registry.add", wanted, config, book, json)


def list_document(registry: "Registry", kind: str) -> Document:
    """Everyone of a kind, in the shape of `docs/reference/schemas/<kind>-list.json`."""
    at = now()
    rows = [_facts(registry, one, at) for one in registry.all(kind, at)]
    return {"kind": kind, _PLURAL[kind]: rows, "provenance": provenance({"kind": kind}, rows=len(rows))}


def show_document(registry: "Registry", kind: str, name: str) -> Document:
    """One of a kind, in the shape of `docs/reference/schemas/<kind>-show.json`. Raises NotFound."""
    from tollbook.registry import decisions

    at = now()
    name = decisions.workload_named(registry, name) if kind == "workload" else name
    found = decisions.known(registry, kind, name, at)
    below = CHILDREN[kind]
    children = [one.name for one in registry.all(below, at) if one.parent == name] if below else []
    keys = [key.name for key in registry.keys.values() if kind == "tenant" and key.tenant == name]
    return {
        **_facts(registry, found, at),
        "belongs_to": [{"kind": one.kind, "name": one.name} for one in registry.ancestry(kind, name, at)[1:]],
        "holds": children,
        "keys": keys,
        "history": list(_history(registry, kind, name)),
        "provenance": provenance({"kind": kind, "name": name}, rows=1),
    }


def show_list(document: Document) -> RenderableType:
    """The screen of `list`."""
    kind = document["kind"]
    rows = document[_PLURAL[kind]]
    if not rows:
        return Text(f"there is no {kind} yet; add one with: tollbook {kind} add")
    parent = PARENTS[kind]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in (kind, *([parent] if parent else []), "owner", "cost centre", "mode", "since", "state"):
        table.add_column(title)
    for row in rows:
        cells = [row["name"], *([row["parent"]] if parent else []), row["owner"], row["cost_centre"], row["mode"]]
        table.add_row(*map(_cell, cells), screen.instant(row["since"]), _state(row))
    return table


def show_one(document: Document) -> RenderableType:
    """The screen of `show`."""
    head = Text(f"{document['kind']} {screen.escape(document['name'])}", style="bold")
    head.append(f"  {document['state']}", style="green" if document["state"] == "active" else "yellow")
    facts = Table.grid(padding=(0, 2))
    chain = " > ".join(screen.escape(one["name"]) for one in reversed(document["belongs_to"]))
    told = (
        ("belongs to", chain or None),
        ("owner", document["owner"]),
        ("cost centre", document["cost_centre"]),
        ("mode", document["mode"]),
        ("since", str(screen.instant(document["since"]))),
        ("until", None if document["until"] is None else str(screen.instant(document["until"]))),
        (
            _PLURAL.get(CHILDREN[document["kind"]] or "", "holds"),
            ", ".join(map(screen.escape, document["holds"])) or None,
        ),
        ("keys", ", ".join(map(screen.escape, document["keys"])) or None),
    )
    for title, value in told:
        if value is not None:
            facts.add_row(Text(title, style="dim"), Text(str(value)))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("holds from", "recorded", "change", "by", "reason"):
        table.add_column(title)
    for one in document["history"]:
        table.add_row(
            screen.instant(one["effective"]),
            screen.instant(one["recorded"]),
            Text(screen.escape(_words(one))),
            Text(screen.escape(one["actor"])),
            _cell(one["reason"]),
        )
    return Group(head, facts, Text(), table)


def show_act(document: Document) -> RenderableType:
    """The screen of what was done."""
    entry, name = document["entry"], screen.escape(document["name"])
    done = {"registry.add": "added", "registry.move": "moved", "registry.end": "ended"}[document["act"]]
    lines: list[RenderableType] = [
        Text(f"{done} {document['kind']} {name}, from {screen.instant(document['effective'])} on"),
        Text(
            f"entry {entry['sequence']} of {screen.escape(entry['lane'])}, by {screen.escape(document['actor'])}", "dim"
        ),
    ]
    if document["until"] is not None:
        told = (
            f"until {screen.instant(document['until'])}, when it moves again: tollbook {document['kind']} show {name}"
        )
        lines.append(Text(told, style="yellow"))
    if document["key"] is not None:
        lines += [Text(), show_secret(document["key"])]
    if document["transfers"]:
        lines += [Text(), show_legs(document["transfers"])]
    elif document["act"] == "registry.move":
        pending = document["transfers"] is None
        lines.append(
            Text(
                "what is on record is carried over later: tollbook transfer list"
                if pending
                else "nothing on record had to be carried over"
            )
        )
    return Group(*lines)


def _wanted(
    kind: str,
    name: str,
    parent: str | None,
    owner: str | None,
    cost_centre: str | None,
    mode: str | None,
    effective: str | None,
    reason: str | None,
) -> Document:
    facts = {"parent": parent, "owner": owner, "cost_centre": cost_centre, "mode": mode}
    return {
        "kind": kind,
        "name": name,
        "facts": facts,
        "effective": read_instant("--effective", effective),
        "reason": reason,
    }


def _act(act: str, wanted: Document, config: Any, book: Any, json: bool) -> None:
    from tollbook.assembly import service

    directory = book_root(config, book)
    done = service.change_registry(directory, act, wanted)
    posted = service.transfer_of(directory, done["entry"]["digest"], WAIT_SECONDS) if done.pop("transfers") else None
    parameters = {"kind": wanted["kind"], "name": wanted["name"]}
    document = {
        "act": act,
        **done,
        "key": done.get("key"),
        "until": done.get("until"),
        "transfers": None if posted is None else [shown(leg) for leg in posted.legs],
        "provenance": provenance(parameters, rows=1),
    }
    _print(document, json, show_act(document))


def _print(document: Document, json: bool, shown: RenderableType) -> None:
    if json:
        screen.print_json(document)
    else:
        screen.console().print(shown)


def _facts(registry: "Registry", one: "Subject", at: int) -> Document:
    """What is said of one: owner, cost centre and mode are inherited where it has none of its own."""
    chain = registry.ancestry(one.kind, one.name, at)
    inherited = {
        field: next((getattr(part, field) for part in chain if getattr(part, field) is not None), None)
        for field in ("owner", "cost_centre", "mode")
    }
    ended = one.until is not None and one.until <= at
    return {
        "kind": one.kind,
        "name": one.name,
        "state": "ended" if ended else "active" if one.since <= at else "planned",
        "parent": one.parent,
        **inherited,
        "mode": inherited["mode"] or "showback",
        "since": format_instant(one.since),
        "until": None if one.until is None else format_instant(one.until),
    }


def _history(registry: "Registry", kind: str, name: str) -> Iterable[Document]:
    from tollbook.journal.registration import Added, Ended, Moved

    for known in registry.entries:
        for change in known.entry.changes:
            if isinstance(change, Added | Moved | Ended) and (change.kind, change.name) == (kind, name):
                yield _told(known, change)


def _told(known: "Recorded", change: Any) -> Document:
    import msgspec

    facts = msgspec.to_builtins(change)
    return {
        "act": facts.pop("act"),
        **{field: facts.get(field) for field in ("parent", "owner", "cost_centre", "mode")},
        "effective": format_instant(known.effective),
        "recorded": format_instant(known.recorded),
        "actor": known.entry.actor,
        "reason": known.entry.reason,
        "digest": known.digest,
    }


def _words(one: Document) -> str:
    facts = [("to", "parent"), ("owner", "owner"), ("cost centre", "cost_centre"), ("mode", "mode")]
    told = [f"{title} {one[field]}" for title, field in facts if one[field] is not None]
    return " ".join([one["act"], ", ".join(told)]).strip()


def _state(row: Document) -> Text:
    return Text(row["state"], style="green" if row["state"] == "active" else "dim")


def _cell(value: object) -> Text:
    return Text("-", style="dim") if value is None else Text(screen.escape(value))


def _ends_with(kind: str) -> str:
    return {
        "tenant": ": its keys open nothing from then on",
        "workload": ": no key may act for it from then on",
    }.get(kind, ", once nothing belongs to it")
