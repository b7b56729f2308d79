"""The generated pages of docs/reference, each made from the code that it describes."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

import msgspec.inspect as inspect
import typer
import typer.main
from tests.reference.agreement import differences_page

from tollbook.cli import exits, health
from tollbook.cli.main import app
from tollbook.config.reader import allowed, default_of, is_derived, unwrap
from tollbook.core import faults, usage, vocabulary
from tollbook.core.settings import Settings
from tollbook.gateway.refusal import REFUSALS
from tollbook.journal import authority, casework, entry, registration, statement
from tollbook.journal.finding import FINDINGS
from tollbook.ledger.schema import TABLES
from tollbook.providers.contract import CONVENTIONS
from tollbook.providers.registry import BY_FORMAT
from tollbook.reconciliation.causes import Cause, causes
from tollbook.registry.duties import duties

REFERENCE: Final = pathlib.Path(__file__).parent.parent.parent / "docs" / "reference"
_NOTE: Final = "<!-- Made from the code by `make reference`; do not edit. -->\n"

_LISTS: Final = {
    "OUTCOMES": "outcomes",
    "BASES": "bases",
    "BEARERS": "bearers",
    "CAUSES": "causes of endings",
    "ATTEMPT_REASONS": "reasons of attempts",
    "NEXT_ACTIONS": "what was done next",
    "MATURITIES": "maturities",
    "SOURCES": "sources",
    "CLIENT_ENDS": "ends of clients",
    "ENDPOINTS": "endpoints",
    "DIMENSIONS": "dimensions",
}


def settings_page() -> str:
    """Every setting: place, default, what is allowed, what it does."""
    lines = [
        "# Settings",
        "",
        _NOTE,
        "`tollbook.yaml` is found by `--config`, else `$TOLLBOOK_CONFIG`, else in the working directory. Unknown",
        "names are errors; all errors are told at once, each with its line. Durations and sizes carry their unit.",
        "",
        "| setting | default | allowed | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in setting_rows(inspect.type_info(Settings), "")]
    return "\n".join(lines) + "\n"


def setting_rows(kind: inspect.Type, place: str) -> Iterator[tuple[str, str, str, str]]:
    """One row per setting below a place; sections and lists are walked into."""
    assert isinstance(kind, inspect.StructType)
    for field in kind.fields:
        if is_derived(field):
            continue
        inner, remarks = unwrap(field.type)
        if isinstance(inner, inspect.UnionType):
            inner, below = unwrap(next(part for part in inner.types if not isinstance(part, inspect.NoneType)))
            remarks = {**below, **remarks}
        name = f"{place}{field.encode_name}"
        if isinstance(inner, inspect.StructType):
            if remarks.get("description"):
                yield f"`{name}`", "none", "a mapping", _cell(remarks["description"])
            yield from setting_rows(inner, f"{name}.")
            continue
        default = "required" if field.required else _code(_default(field, remarks))
        yield f"`{name}`", default, _cell(allowed(field.type)), _cell(remarks.get("description", ""))
        part, below = _parts(inner)
        if isinstance(part, inspect.DictType):
            part, deeper = _parts(part)
            below += deeper.lstrip(".")
        if isinstance(part, inspect.StructType):
            yield from setting_rows(part, f"{name}{below}")


def _parts(kind: inspect.Type) -> tuple[inspect.Type | None, str]:
    if isinstance(kind, inspect.DictType):
        return unwrap(kind.value_type)[0], ".NAME."
    if isinstance(kind, inspect.VarTupleType):
        return unwrap(kind.item_type)[0], "[]."
    return None, ""


def _default(field: inspect.Field, remarks: Mapping[str, Any]) -> str:
    value = default_of(field)
    if value is None or value in ("", (), {}):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if remarks.get("unit") == "duration":
        return f"{value:g}s" if value >= 1 else f"{value * 1000:g}ms"
    if remarks.get("unit") == "size":
        return f"{value // (1024 * 1024)} MiB"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def cli_page() -> str:
    """Every command with its usage and options."""
    lines = [
        "# Command line",
        "",
        _NOTE,
        "Every command that reads takes `--json`; the schemas are in [schemas/](schemas/).",
        "",
    ]
    for path, command in commands():
        context = typer.Context(command, info_name=path)
        lines += [
            f"## {path}",
            "",
            _text(command.help),
            "",
            f"    {command.get_usage(context).removeprefix('Usage: ')}",
            "",
        ]
        lines += ["| option | meaning |", "|---|---|"]
        for parameter in command.params:
            record = parameter.get_help_record(context)
            if record is not None and record[0] != "--help":
                lines.append(f"| `{_cell(record[0])}` | {_cell(' '.join(record[1].split()))} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its whole name."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
        if hasattr(command, "commands"):
            for name, below in command.commands.items():
                yield from walk(below, f"{path} {name}")
        else:
            yield path, command

    yield from walk(typer.main.get_command(app), "tollbook")


def entries_page() -> str:
    """Every kind of entry and the members of every payload."""
    lines = ["# Entries of the journal", "", _NOTE, _text(entry.__doc__), "", "| kind | says |", "|---|---|"]
    lines += [f"| `{kind}` | {_cell(meaning)} |" for kind, meaning in entry.KINDS.items()]
    lines += ["", "## Payloads", ""]
    for name, struct in sorted(
        (vars(entry) | vars(registration) | vars(authority) | vars(casework) | vars(statement)).items()
    ):
        if isinstance(struct, type) and issubclass(struct, entry.Struct) and struct is not entry.Struct:
            members = ", ".join(f"`{member}`" for member in struct.__struct_encode_fields__)
            lines += [f"### {name}", "", _text(struct.__doc__ if struct.__doc__ else "") or "", "", members, ""]
    lines += ["## What `tollbook verify` can find", "", "| finding | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {_cell(meaning)} |" for code, meaning in FINDINGS.items()]
    return "\n".join(lines).rstrip() + "\n"


def vocabulary_page() -> str:
    """Every closed list of words."""
    lines = ["# Vocabulary", "", _NOTE, "Closed lists: a word is never renamed, and a new one is added at the end.", ""]
    for constant, title in _LISTS.items():
        lines += [f"## {title.capitalize()}", "", _text(_meaning_of(constant)), ""]
        lines += [", ".join(f"`{word}`" for word in getattr(vocabulary, constant)), ""]
    lines += ["## Usage classes", "", _text(usage.__doc__), ""]
    for title, words in (("tokens", usage.TOKEN_CLASSES), ("counters", usage.COUNTERS)):
        lines += [f"{title.capitalize()}: " + ", ".join(f"`{word}`" for word in words), ""]
    suffixes = ", ".join(f"`.{word}`" for word in usage.MODALITIES)
    lines += [f"A class of tokens takes a suffix for what is not text: {suffixes}."]
    return "\n".join(lines).rstrip() + "\n"


def _meaning_of(constant: str) -> str:
    """The string that stands below a constant in the source."""
    source = pathlib.Path(vocabulary.__file__).read_text()
    _, _, rest = source.partition(f"\n{constant}: Final")
    _, _, text = rest.partition('"""')
    return text.partition('"""')[0]


def exit_codes_page() -> str:
    """Exit codes, fault codes, error codes of the gateway, checks of doctor."""
    lines = ["# Exit codes and error codes", "", _NOTE, "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {_cell(meaning)} |" for code, meaning in exits.MEANINGS.items()]
    lines += ["", "## Error codes of the gateway", ""]
    lines += ["In the client's own wire format, with the request's id. A code is never renamed.", ""]
    lines += ["| code | status and meaning |", "|---|---|"]
    lines += [f"| `{code}` | {_cell(meaning)} |" for code, meaning in REFUSALS.items()]
    lines += ["", "## Faults", "", "```", _text(faults.__doc__, keep=True), "```", ""]
    lines += ["## What `tollbook doctor` looks at", "", "| check | hoped for |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in health.CHECKS.items()]
    return "\n".join(lines).rstrip() + "\n"


def tables_page() -> str:
    """Every table of the ledger and its columns."""
    lines = [
        "# Tables of the ledger",
        "",
        _NOTE,
        "DuckLake tables; amounts are exact decimals, instants UTC to the microsecond.",
        "",
    ]
    for table in TABLES:
        lines += [
            f"## {table.name}",
            "",
            f"{table.meaning}; ordered by {', '.join(f'`{name}`' for name in table.key)}.",
            "",
        ]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        lines += [f"| `{column.name}` | {column.type} | {_cell(column.meaning)} |" for column in table.columns]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


_FORMATS: Final = {
    "openai": "OpenAI and vendors that are compatible with it",
    "anthropic": "Anthropic",
    "azure": "Azure OpenAI",
    "gemini": "Gemini API",
    "vertex": "Vertex AI",
    "bedrock": "Amazon Bedrock",
    "cohere": "Cohere",
}


def formats_page() -> str:
    """Every operation of every wire format: what its adapter says of itself."""
    lines = ["# Wire formats", "", _NOTE]
    lines += ["What clients can call, how the vendor counts, and what of an answer's cost is not seen.", ""]
    lines += ["A tenant's key arrives as `Authorization: Bearer`, `x-api-key`, `api-key`, `x-goog-api-key` or `?key=`,"]
    lines += ["whatever the format; the vendor gets its own key only.", ""]
    lines += ["| convention | meaning |", "|---|---|"]
    lines += [f"| {word} | {_cell(meaning)} |" for word, meaning in CONVENTIONS.items()]
    for name, adapters in BY_FORMAT.items():
        lines += ["", f"## {_FORMATS[name]} (`format: {name}`)", ""]
        lines += ["| operation | routes | purpose | convention | vendor's request id | region | vendor objects named |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for one in adapters:
            routes = ", ".join(f"`{route.method} {route.path}`" for route in one.routes)
            ids = ", ".join(f"`{header.decode()}`" for header in one.vendor_request_id_headers)
            regions = ", ".join(f"`{header.decode()}`" for header in one.region_headers)
            kinds = ", ".join(sorted(set(one.object_fields.values())))
            lines.append(
                f"| `{one.endpoint}` | {routes} | {one.purpose} | {one.convention} | {ids} | {regions} | {kinds} |"
            )
        missing = [(one.endpoint, text) for one in adapters for text in one.not_captured]
        if missing:
            lines += ["", "Not captured:", ""]
            lines += [f"- `{endpoint}`: {_text(text)}" for endpoint, text in missing]
    return "\n".join(lines).rstrip() + "\n"


def duties_page() -> str:
    """The duties table."""
    table = duties()
    lines = ["# Duties", "", _NOTE, "What the words mean: [duties](../duties.md).", "", "| role | |", "|---|---|"]
    lines += [f"| `{role}` | {_cell(meaning)} |" for role, meaning in table.roles.items()]
    lines += ["", f"A proposal waits {table.approval_days} days, an emergency {table.emergency_days} days.", ""]
    lines += ["| act | | proposes or does | a second person | approves | may not be | alone up to, a month |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, duty in table.duties.items():
        does = [*duty.does, *(["the owner of the files"] if duty.local else [])]
        alone = [f"{amount} {currency}" for currency, amount in duty.alone_up_to.items()]
        cells = [does, duty.second or ["never"], duty.approves, duty.may_not_be, alone]
        lines.append(f"| `{name}` | {_cell(duty.title)} | " + " | ".join(", ".join(words) for words in cells) + " |")
    return "\n".join(lines).rstrip() + "\n"


def causes_page() -> str:
    """The closed list of causes, by what they are; each has a page of its own."""
    lines = [
        "# Causes of differences",
        "",
        _NOTE,
        "Why a vendor's book and ours differ ([reconciliation](../reconciliation.md)). Codes are never renamed.",
        "",
        "| cause | what it is | nature | more has |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| [`{one.code}`](causes/{one.code}.md) | {one.title} | {one.nature} | {_MORE[one.direction]} |"
        for one in CAUSES
    ]
    return "\n".join(lines) + "\n"


def cause_page(cause: Cause) -> str:
    """One cause: how it shows, what settles it, and how it is found."""
    rows = {
        "nature": cause.nature + (": it reverses by itself" if cause.nature == "timing" else ""),
        "more has": _MORE[cause.direction],
        "how it shows": cause.signature,
        "what settles it": cause.settles,
        "found by": _FOUND[cause.shown_by],
    }
    lines = [f"# `{cause.code}`", "", _NOTE, f"{cause.title}.", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join([*lines, "", "[All causes](../causes.md)"]) + "\n"


CAUSES: Final = tuple(causes().values())
_MORE: Final = {"theirs": "the vendor", "ours": "we", "either": "either", "none": "neither: the total is the same"}
_FOUND: Final = {
    "cell": "the two sides of a cell alone",
    "record": "traits of our record: the attempts behind the cell",
    "series": "several cells together",
    "elsewhere": "another check: a vendor's cell does not differ by it",
    "ask": "nobody here: only the vendor can settle it",
}

PAGES: Final[dict[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "entries.md": entries_page,
    "vocabulary.md": vocabulary_page,
    "exit-codes.md": exit_codes_page,
    "tables.md": tables_page,
    "formats.md": formats_page,
    "duties.md": duties_page,
    "price-differences.md": differences_page,
    "causes.md": causes_page,
    **{f"causes/{one.code}.md": partial(cause_page, one) for one in CAUSES},
}


def _text(text: str | None, *, keep: bool = False) -> str:
    cleaned = (text or "").strip().replace("\f", "")
    return cleaned if keep else "\n".join(line.strip() for line in cleaned.splitlines())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _code(text: str) -> str:
    return text if text == "none" else f"`{text}`"
