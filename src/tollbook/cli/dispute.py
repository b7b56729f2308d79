"""`tollbook dispute`: cases, from the claim to what was done about it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.cli.names import names_of
from tollbook.cli.options import BookOption, ConfigOption, JsonOption, book_root
from tollbook.cli.provenance import provenance
from tollbook.core.faults import BadInput

Document = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help="Cases: somebody says that a charge is wrong.")

CaseArgument = Annotated[str, typer.Argument(metavar="CASE", help="The reference of the case, such as C-0142-K.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="On whose behalf, in words; who asks is known by the login.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in words.")]


@app.callback()
def root() -> None:
    """Cases: somebody says that a charge is wrong."""


@app.command("open")
def open_case(
    about: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="A request id, trace id or vendor's request id.")
    ] = None,
    claim: Annotated[str, typer.Option("--claim", help="What is said to be wrong, in words.")] = "",
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only requests of this tenant.")] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="The tenant's own records, one request a row.")
    ] = None,
    expected_model: Annotated[str | None, typer.Option(help="The model that should have served it.")] = None,
    expected_tenant: Annotated[str | None, typer.Option(help="The tenant that should have been charged.")] = None,
    expected_amount: Annotated[str | None, typer.Option(help="What should have been charged, in US dollars.")] = None,
    expected_tokens: Annotated[
        int | None, typer.Option(min=0, help="Tokens that there should have been, in all.")
    ] = None,
    by: ByOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Open a case about a request, or about what a tenant's own records name."""
    from tollbook.assembly import claims

    home = book_root(config, book)
    if (about is None) == (csv is None):
        raise BadInput("name what the case is about: one id, or --csv FILE")
    if not claim.strip():
        raise BadInput("say what is claimed, in words: --claim")
    matched = claims.of_records(home, csv, tenant) if csv is not None else claims.of_id(home, about or "", tenant)
    expected = {
        "model": expected_model,
        "tenant": expected_tenant,
        "amount": expected_amount,
        "tokens": expected_tokens,
    }
    told = {name: value for name, value in expected.items() if value is not None}
    done = claims.open_case(home, matched, claim, by, told or None)
    request = matched.requests[0] if len(matched.requests) == 1 else None
    _print(home, {"request": request, **done}, {"claim": done["claim"]}, json=json)


@app.command()
def show(case: CaseArgument, config: ConfigOption = None, book: BookOption = None, json: JsonOption = False) -> None:
    """Show a case: the claim, every move, the verdict, what was corrected."""
    from tollbook.assembly import service

    home = book_root(config, book)
    (found,) = service.read_cases(home, case)
    _print(home, found, {"case": found["case"]}, json=json)


@app.command("list")
def show_all(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only cases of this tenant.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only cases that are open, diagnosed or resolved.")
    ] = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """List the cases, the newest last."""
    from tollbook.assembly import service
    from tollbook.disputes.case import STATES

    if state is not None and state not in STATES:
        raise BadInput(f"--state: found {state!r}; allowed: {', '.join(STATES)}")
    home = book_root(config, book)
    found = [one for one in service.read_cases(home, tenant=tenant) if state in (None, one["state"])]
    document = {
        "cases": found,
        "provenance": provenance({"tenant": tenant, "state": state}, rows=len(found)),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_list(document, _names(home, found)))


@app.command()
def assign(
    case: CaseArgument,
    to: Annotated[str, typer.Argument(metavar="NAME", help="Who is to look into it.")],
    by: ByOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Say who looks into a case."""
    _act(book_root(config, book), "case.assign", {"case": case, "to": to, "by": by}, json=json)


@app.command()
def comment(
    case: CaseArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be kept with the case.")],
    by: ByOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Add words to a case."""
    _act(book_root(config, book), "case.comment", {"case": case, "text": text, "by": by}, json=json)


@app.command()
def diagnose(
    case: CaseArgument, config: ConfigOption = None, book: BookOption = None, json: JsonOption = False
) -> None:
    """Look into a case: ordered questions, each with its evidence; a verdict, what is missing, what it would have cost.

    The diagnosis is put on record with the case.
    """
    from tollbook.assembly import service
    from tollbook.assembly.inquest import inquest

    home = book_root(config, book)
    (known,) = service.read_cases(home, case)
    found = inquest(home, known)
    done = service.ask_book(home, "case.diagnose", {"case": known["case"], "diagnosis": found})
    document = {
        **found,
        "state": done["state"],
        "entry": done["entry"],
        "provenance": provenance({"case": known["case"]}, rows=len(found["findings"])),
    }
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_diagnosis(document))


@app.command()
def reopen(
    case: CaseArgument,
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Open a resolved case again. What was corrected stays corrected."""
    _act(book_root(config, book), "case.reopen", {"case": case, "text": reason, "by": by}, json=json)


@app.command()
def resolve(
    case: CaseArgument,
    how: Annotated[str, typer.Option("--as", help="credit, reattribute, rerate or none.")],
    reason: ReasonOption,
    amount: Annotated[str | None, typer.Option("--amount", help="How much, as decimal text; exact.")] = None,
    currency: Annotated[str, typer.Option("--currency", help="The currency of the amount.")] = "USD",
    to: Annotated[
        str | None, typer.Option("--to", metavar="TENANT", help="With reattribute: who bears it now.")
    ] = None,
    by: ByOption = None,
    config: ConfigOption = None,
    book: BookOption = None,
    json: JsonOption = False,
) -> None:
    """Resolve a case. What is corrected are entries that add up to nothing; the past stays as it was written."""
    wanted = {"case": case, "how": how, "reason": reason, "by": by, "amount": amount, "currency": currency, "to": to}
    _act(book_root(config, book), "case.resolve", wanted, json=json)


def _act(home: Path, act: str, wanted: Document, *, json: bool) -> None:
    from tollbook.assembly import service

    done = service.ask_book(home, act, wanted)
    _print(home, done, {"case": done["case"]}, json=json)


def _print(home: Path, case: Document, parameters: Document, *, json: bool) -> None:
    document = {**case, "provenance": provenance(parameters, rows=1)}
    if json:
        screen.print_json(document)
    else:
        screen.console().print(show_case(document, _names(home, [case])))


def _names(home: Path, cases: list[Document]) -> dict[str, str]:
    """The words behind the digests of cases, as far as they are kept."""
    digests = [digest for one in cases for digest in (one["claim"], one["by"])]
    digests += [digest for one in cases for move in one["moves"] for digest in (move["text"], move["by"])]
    return names_of(home, digests)


def show_case(case: Document, names: dict[str, str]) -> RenderableType:
    """The screen of one case."""
    head = Text.assemble("case ", (screen.escape(case["case"]), "bold"), "  ", (case["state"], "bold"))
    if case["verdict"]:
        head.append(f"  {case['verdict'].replace('_', ' ')}")
    parts: list[RenderableType] = [head]
    parts.append(Text(f"  tenant {screen.escape(case['tenant'])}, {_about(case)}"))
    parts.append(Text.assemble("  claim: ", screen.words(_said(case["claim"], names))))
    if case["expected"]:
        told = ", ".join(f"{name} {screen.escape(value)}" for name, value in _wanted(case["expected"]))
        parts.append(Text(f"  expected: {told}"))
    by = f", for {screen.escape(_said(case['by'], names))}" if case["by"] else ""
    opened = f"opened {screen.instant(case['opened_at'])} by {screen.escape(case['opened_by'])}{by}"
    parts.append(Text(f"  {opened}", style="dim"))
    for missed in case["missed"][:10]:
        parts.append(Text(f"  record {missed['row']}: {screen.escape(missed['reason'])}", style="yellow"))
    for move in case["moves"]:
        parts.append(_move(move, names))
    for one in case["adjustments"]:
        legs = "; ".join(
            f"{screen.escape(leg['account'])} {screen.escape(leg['tenant'] or leg['reason'] or '')} "
            f"{screen.exact_money(leg['amount'], leg['currency'])}"
            for leg in one["legs"]
        )
        parts.append(Text(f"  {one['act']}: {legs}"))
    return Group(*parts)


def _move(move: Document, names: dict[str, str]) -> Text:
    line = Text.assemble("  ", screen.instant(move["at"]), "  ", (move["what"], "bold"))
    if move["to"]:
        line.append(f" to {screen.escape(move['to'])}")
    if move["verdict"]:
        line.append(f": {move['verdict'].replace('_', ' ')}")
    if move["how"]:
        line.append(f" as {move['how']}")
    if move["amount"] not in (None, "0"):
        line.append(f" {screen.exact_money(move['amount'], move['currency'])}")
    if move["text"]:
        line.append(f": {screen.escape(_said(move['text'], names))}")
    behalf = f", for {screen.escape(_said(move['by'], names))}" if move["by"] else ""
    return line.append(f"  (by {screen.escape(move['actor'])}{behalf})", style="dim")


def show_list(document: Document, names: dict[str, str]) -> RenderableType:
    """The screen of `dispute list`."""
    if not document["cases"]:
        return Text("no case")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("case", "state", "verdict", "tenant", "opened", "about", "assigned", "claim"):
        table.add_column(title)
    for one in document["cases"]:
        table.add_row(
            Text(one["case"], style="bold"),
            one["state"],
            (one["verdict"] or "").replace("_", " "),
            Text(screen.escape(one["tenant"])),
            screen.instant(one["opened_at"]),
            Text(_about(one)),
            Text(screen.escape(one["assignee"] or "")),
            Text(screen.escape(_said(one["claim"], names), 60)),
        )
    return table


def _wanted(expected: Document) -> list[tuple[str, Any]]:
    """What the claimant says should have been; a currency only with its amount."""
    named = expected if expected["amount"] is not None else {**expected, "currency": None}
    return [(name, value) for name, value in named.items() if value is not None]


def _about(case: Document) -> str:
    requests = case["requests"]
    return f"request {screen.escape(requests[0])}" if len(requests) == 1 else f"{len(requests):,} requests"


def _said(digest: str, names: dict[str, str]) -> str:
    """The words; of what was erased, or is not kept here, a mark."""
    found = names.get(digest, digest)
    return found.replace("user-", "words-", 1) if found == f"user-{digest[:6]}" else found


def show_diagnosis(found: Document) -> RenderableType:
    """The screen of a diagnosis."""
    verdict = found["verdict"].replace("_", " ")
    head = Text.assemble("case ", (screen.escape(found["case"]), "bold"), "  ", (verdict, "bold"))
    if found["amount"] not in (None, "0"):
        head.append(f"  {screen.exact_money(found['amount'], found['currency'])}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("question", "answer", "by", ""):
        table.add_column(title, overflow="fold", no_wrap=title in ("answer", "by"))
    for one in found["findings"]:
        words = Text(screen.escape(one["text"], 400))
        table.add_row(one["question"], Text(one["answer"], style=_STYLES[one["answer"]]), one["strength"], words)
    parts: list[RenderableType] = [head, Text(f"  {screen.escape(found['text'], 1000)}"), Text(), table]
    for one in found["counterfactuals"]:
        parts.append(Text(f"{screen.escape(one['what_if'])}: {screen.exact_money(one['amount'], one['currency'])}"))
    parts += [Text(f"missing: {screen.escape(one)}", style="yellow") for one in found["missing"]]
    if found["ticket"]:
        parts += [Text(), Text("to ask the vendor:", style="bold")]
        parts += [Text(f"  {screen.escape(line, 400)}") for line in found["ticket"].splitlines()]
    return Group(*parts)


_STYLES = {"yes": "", "no": "", "unknown": "dim"}
