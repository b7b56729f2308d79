"""The screen of one request: its story in time order, its money line by line, and how we know."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen

Document = dict[str, Any]

_STYLES: Final = {"ok": "green", "unsettled": "yellow", "open": "yellow", "client_gone": "yellow"}
_WHY_ANOTHER: Final = {
    "retry": "tried again",
    "fallback": "fell back to the next target",
    "hedge": "a second one was started beside it",
    "downgrade": "went on with a cheaper model",
}
_HOW_WE_KNOW: Final = {
    "invoiced": "the vendor's invoice says so",
    "provider_reported": "the vendor reported the usage in its answer",
    "computed": "computed from the answer itself",
    "estimated": "estimated; the vendor reported no usage",
    "unreported": "the vendor reported no usage",
}


def show_story(trace: Document) -> RenderableType:
    """The whole screen of a trace, in the shape of `docs/reference/schemas/trace.json` or `trace-tenant.json`."""
    request, attempts = trace["request"], trace["attempts"]
    parts: list[RenderableType] = [_headline(request), _facts(request), Text(), _timeline(request, attempts)]
    if any(attempt["charges"] for attempt in attempts):
        parts += [Text(), _charges(request, attempts)]
    if trace.get("batch") is not None:
        parts += [Text(), _batch(trace["batch"])]
    parts += [Text(), _knowledge(request, attempts)]
    if trace.get("adjustments"):
        parts += [Text(), *map(_adjustment, trace["adjustments"])]
    if trace.get("entries"):
        parts += [Text(), _entries(trace["entries"])]
    return Group(*parts, Text(), show_provenance(trace["provenance"]))


def _adjustment(one: Document) -> Text:
    """A leg of what a case corrected."""
    whose = screen.escape(one["tenant"] or one["reason"] or "")
    shared = f", for {one['requests']:,} requests" if one["requests"] > 1 else ""
    words = f"case {screen.escape(one['case'])}: {one['account']} {whose} "
    return Text(f"{words}{screen.exact_money(one['amount'], one['currency'])} ({one['act'].replace('_', ' ')}{shared})")


def show_provenance(provenance: Document) -> Text:
    """One line that says how a result was made; the whole of it is in the JSON form."""
    position = provenance.get("position")
    where = "" if position is None else f"position {position['number']} ({position['digest'][:12]}); "
    late = provenance.get("incomplete") or []
    lanes = f"incomplete: {', '.join(screen.escape(lane) for lane in late)}; " if late else ""
    books = ", ".join(str(book)[:12] for book in provenance.get("books") or []) or "none"
    rows = provenance.get("rows", 0)
    return Text(
        f"{where}{lanes}price books: {books}; rows: {rows:,}; tollbook {provenance['version']}",
        style="yellow" if late else "dim",
    )


def _headline(request: Document) -> Text:
    line = Text.assemble("request ", (screen.escape(request["id"]), "bold"), "  ")
    line.append_text(_outcome(request["outcome"])).append("  ")
    return line.append_text(_amount(request))


def _outcome(outcome: str) -> Text:
    return Text(screen.escape(outcome), style=_STYLES.get(outcome, "red"))


def _amount(part: Document) -> Text:
    return screen.exact_money(part.get("amount"), part.get("currency"))


def _facts(request: Document) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    for label, text in _fact_lines(request):
        if text:
            grid.add_row(label, text)
    return Padding(grid, (0, 0, 0, 2))


def _fact_lines(request: Document) -> Iterator[tuple[str, Text]]:
    yield "who", _listed(request, "tenant", "key", "workload", "user", "template")
    tags = [f"{screen.escape(name)}={screen.escape(value)}" for name, value in (request.get("tags") or {}).items()]
    yield "tags", Text(", ".join(tags))
    stream = ", stream" if request["stream"] else ""
    yield "asked", Text(f"{screen.escape(request['model_asked'])}{stream}") if request.get("model_asked") else Text()
    policy = request.get("policy") or {}
    because = f" ({screen.escape(request['reason'])})" if request.get("reason") else ""
    version = f"  policy {screen.escape(policy['id'])}@{policy['version']}" if policy.get("version") else ""
    yield "route", Text(f"{screen.escape(request.get('route') or 'nowhere')}{because}{version}")
    yield "ids", _listed(request, "trace_id", "span_id", "parent_request_id", "client_request_id")
    yield "again", _listed(request, "replay_of", "repeat_of")
    yield (
        "when",
        Text.assemble(
            "opened ", screen.instant(request["opened_at"]), ", closed ", screen.instant(request["closed_at"])
        ),
    )
    if len(amounts := request.get("amounts") or {}) > 1:
        shown = [(name, screen.exact_money(value, request.get("currency"))) for name, value in amounts.items()]
        yield "money", Text(", ").join(Text.assemble(f"{name} ", value) for name, value in shown)


def _listed(request: Document, *names: str) -> Text:
    known = [name for name in names if request.get(name) is not None]
    return Text(", ").join(Text.assemble((f"{name} ", "dim"), screen.words(request[name])) for name in known)


def _timeline(request: Document, attempts: list[Document]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for at, text in _events(request, attempts):
        grid.add_row("" if at is None else screen.escape(at)[11:23], text)
    return grid


def _events(request: Document, attempts: list[Document]) -> Iterator[tuple[str | None, Text]]:
    yield request["opened_at"], Text("the request arrived")
    for index, attempt in enumerate(attempts):
        following = attempts[index + 1] if index + 1 < len(attempts) else None
        yield attempt["opened_at"], _attempt_opened(attempt)
        if attempt["first_byte_at"] is not None:
            yield attempt["first_byte_at"], Text("  the answer's first byte")
        yield attempt["settled_at"], _attempt_ended(attempt, following)
    ended = Text.assemble("the request ended: ", _outcome(request["outcome"]))
    if request.get("error"):
        ended.append(f" ({screen.escape(request['error'])})")
    yield request["closed_at"], ended if request["outcome"] != "open" else Text("the request is still open")


def _attempt_opened(attempt: Document) -> Text:
    line = Text.assemble(
        (f"attempt {attempt['number']}", "bold"),
        f" ({screen.escape(attempt['reason'])}) to {screen.escape(attempt['vendor'])}/",
        screen.words(attempt["model_sent"]),
    )
    return line.append(f", key {screen.escape(attempt['vendor_key'])}") if attempt.get("vendor_key") else line


def _attempt_ended(attempt: Document, following: Document | None) -> Text:
    line = Text.assemble("  ", _outcome(attempt["outcome"]))
    if attempt["status"] is not None:
        line.append(f", HTTP {attempt['status']}")
    if attempt.get("error"):
        line.append(f", {screen.escape(attempt['error'])}")
    if attempt["model_served"] is not None:
        line.append(f", served by {screen.escape(attempt['model_served'])}")
    for name in ("tier", "region"):
        if attempt[name] is not None:
            line.append(f", {name} {screen.escape(attempt[name])}")
    billed = {
        True: "the vendor bills it",
        False: "the vendor does not bill it",
        None: "whether it is billed is unknown",
    }
    line.append(f"; {billed[attempt['billable']]}")
    if attempt.get("borne_by"):
        line.append(f", borne by {screen.escape(attempt['borne_by']).replace('_', ' ')}")
    if following is not None:
        line.append(f"; {_WHY_ANOTHER.get(following['reason'], screen.escape(following['reason']))}")
    return line


def _batch(batch: Document) -> RenderableType:
    """The batch that the request made: how it stands, some of its lines, and how many are left out."""
    head = Text.assemble(("batch", "bold"), f": {screen.escape(batch['status'] or 'goes on')}")
    head.append(f", {batch['line_count']:,} lines settled")
    for currency, amount in batch["amounts"].items():
        head.append(", ").append_text(screen.exact_money(amount, currency))
    for name in batch["differs"]:
        told, settled = batch["told"][name], batch["settled"].get(name, 0)
        head.append(f"; {name}: the vendor tells {told:,}, the lines come to {settled:,}", style="yellow")
    if batch["problem"]:
        head.append(f"; {screen.escape(batch['problem'])}", style="yellow")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("line's request", "outcome", "model", "usage", "amount"):
        table.add_column(title)
    for line in batch["lines"]:
        usage = ", ".join(f"{name} {count:,}" for name, count in (line["usage"] or {}).items())
        table.add_row(
            screen.words(line["request_id"]),
            _outcome(line["outcome"]),
            screen.words(line["model"]),
            Text(usage or line["usage_basis"]),
            screen.exact_money(line["amount"], line["currency"]),
        )
    left = Text(f"{batch['left_out']:,} more lines; see --lines", style="dim") if batch["left_out"] else Text()
    return Group(head, table, left)


def _charges(request: Document, attempts: list[Document]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    with_rows = any("price_row" in charge for attempt in attempts for charge in attempt["charges"])
    table.add_column("attempt", justify="right")
    table.add_column("class")
    for title in ("quantity", "unit price" if with_rows else "", "amount"):
        table.add_column(title, justify="right")
    if with_rows:
        table.add_column("price row")
        table.add_column("of book")
    for attempt in attempts:
        for charge in attempt["charges"]:
            currency = charge.get("currency")
            cells = [
                Text(str(attempt["number"])),
                _class(charge),
                screen.number(charge["quantity"]),
                screen.exact_money(charge["unit_price"], currency) if with_rows else Text(),
                screen.exact_money(charge["amount"], currency),
            ]
            if with_rows:
                cells += [
                    screen.words(charge["price_row"]),
                    screen.words(charge["price_book"] and charge["price_book"][:12]),
                ]
            table.add_row(*cells)
    table.add_section()
    table.add_row("", "total", "", "", _amount(request), style="bold")
    return table


def _class(charge: Document) -> Text:
    """A line's class, and the model where it is not the attempt's."""
    name = screen.words(charge["class"])
    return name if charge["model"] is None else Text.assemble(name, " (", screen.words(charge["model"]), ")")


def _knowledge(request: Document, attempts: list[Document]) -> Text:
    """How we know, in a sentence: the basis of each usage, what was odd, what was assumed."""
    metered = [attempt for attempt in attempts if attempt["usage"] is not None]
    bases = [f"attempt {attempt['number']}: {_how(attempt['usage_basis'])}" for attempt in metered]
    line = Text.assemble(("how we know: ", "dim"), "; ".join(bases) or _how(request["basis"]))
    for attempt in attempts:
        number = attempt["number"]
        if attempt.get("unpriced"):
            line.append(f"; attempt {number} is unpriced ({screen.escape(attempt['unpriced'])})", style="yellow")
        for name, label in (("flags", "marked"), ("assumed", "assumed")):
            if attempt.get(name):
                line.append(f"; attempt {number} {label} {', '.join(screen.escape(word) for word in attempt[name])}")
        if attempt.get("provider"):
            line.append(f"; attempt {number} was done by {screen.escape(attempt['provider'])}")
        if attempt.get("vendor_cost") is not None:
            line.append(f"; attempt {number}: the vendor's own figure is {screen.escape(attempt['vendor_cost'])} USD")
        if attempt.get("usage_method"):
            line.append(f"; attempt {number} by {screen.escape(attempt['usage_method'])}")
    return line


def _how(basis: str) -> str:
    return _HOW_WE_KNOW.get(basis, screen.escape(basis))


def _entries(entries: list[Document]) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("lane")
    table.add_column("entry", justify="right")
    table.add_column("kind")
    table.add_column("digest")
    for entry in entries:
        table.add_row(
            screen.words(entry["lane"]),
            str(entry["sequence"]),
            screen.words(entry["kind"]),
            screen.words(entry["digest"][:16]),
        )
    return table
