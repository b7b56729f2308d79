"""The page for people in a bundle: one HTML file without scripts or links to anything, which prints well."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape as escape_markup
from typing import Any, Final

from tollbook.core.clock import format_instant
from tollbook.evidence.bundle import Manifest, Opening

Document = dict[str, Any]

_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;"
    "padding:0 1rem}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;break-after:avoid}table{border-collapse:"
    "collapse;width:100%;margin:.5rem 0}th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;"
    "border-bottom:1px solid #8884}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code{font-size:.85em;"
    "overflow-wrap:anywhere}.dim{opacity:.7}tr{break-inside:avoid}@media print{body{margin:0;max-width:none;"
    "font-size:10pt}h2{margin-top:1rem}}"
)
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def page(
    manifest: Manifest, told: Mapping[str, Document], stories: Sequence[Document], openings: Sequence[Opening]
) -> str:
    """The page. Every word that came from outside is text."""
    about = f"case {manifest.case}" if manifest.case else _count(len(manifest.requests), "request")
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evidence: {escape(about)}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style></head><body>',
        f"<h1>Evidence: {escape(about)}</h1>",
        _facts(
            ("book", manifest.book),
            ("tenant", manifest.tenant or "several: an auditor's bundle"),
            ("made", format_instant(manifest.made)),
            ("by", f"tollbook {manifest.release}"),
            ("personal values", "withheld; their digests are in the entries" if manifest.withheld else "shown"),
        ),
        "<p>This page says in words what the bundle proves. What counts is the bundle: "
        "<code>tollbook verify FILE --key KEY</code> checks it without the book and without a network.</p>",
    ]
    if "case" in told:
        parts.append(_case(told["case"], {one.digest: one.value for one in openings}))
    if "diagnosis" in told:
        parts.append(_diagnosis(told["diagnosis"]))
    parts += [_story(story) for story in stories]
    if openings:
        rows = [(one.field, one.value, one.digest) for one in openings]
        parts.append("<h2>Values behind digests</h2>" + _table(("field", "value", "digest"), rows))
    return "".join(parts) + "</body></html>\n"


def _said(digest: str | None, words: Mapping[str, str]) -> str:
    """Words of a case; of what is withheld or erased, its digest."""
    return "" if digest is None else words.get(digest, f"withheld ({digest[:8]})")


def _case(case: Document, words: Mapping[str, str]) -> str:
    """A case: what is claimed, and every move."""
    facts = _facts(("state", case["state"]), ("opened", case["opened_at"]), ("claim", _said(case["claim"], words)))
    moves = [(move["at"], move["what"], move["actor"], _said(move["text"], words)) for move in case["moves"]]
    return f"<h2>Case {escape(str(case['case']))}</h2>{facts}" + _table(("when", "what", "by", ""), moves)


def _diagnosis(found: Document) -> str:
    """The verdict, and the questions that led to it."""
    rows = [(one["question"], one["answer"], one["strength"], one["text"]) for one in found["findings"]]
    what_if = [(one["what_if"], _money(one["amount"], one["currency"])) for one in found["counterfactuals"]]
    missing = "".join(f"<li>{escape(one)}</li>" for one in found["missing"])
    return (
        f"<h2>Verdict: {escape(found['verdict'].replace('_', ' '))}</h2><p>{escape(found['text'])}</p>"
        + _table(("question", "answer", "strength", ""), rows)
        + (f"<h2>What if</h2>{_table(('', 'amount'), what_if)}" if what_if else "")
        + (f"<h2>Missing evidence</h2><ul>{missing}</ul>" if missing else "")
    )


def _story(story: Document) -> str:
    """One request."""
    request = story["request"]
    route = request["route"] or "none"
    head = f"<h2>Request {escape(request['id'])}</h2>" + _facts(
        ("tenant, key", f"{request['tenant']}, {request['key']}"),
        ("model asked", request["model_asked"]),
        ("route", f"{route} ({request['reason']})"),
        ("outcome", request["outcome"]),
        ("opened", request["opened_at"]),
        ("closed", request["closed_at"]),
        ("expected cost", _money(request["amount"], request["currency"])),
        ("recharge", _money(request["amounts"].get("recharge"), request["currency"])),
    )
    attempts = [
        (
            one["number"],
            one["reason"],
            f"{one['vendor']}/{one['model_served'] or one['model_sent']}",
            one["outcome"],
            one["vendor_request_id"] or "none",
            one["borne_by"],
            _money(one["amount"], one["currency"]),
        )
        for one in story["attempts"]
    ]
    charges = [
        (
            one["number"],
            charge["class"],
            charge["quantity"],
            charge["unit_price"] or "unknown",
            charge["price_row"] or "none",
            _money(charge["amount"], charge["currency"]),
        )
        for one in story["attempts"]
        for charge in one["charges"]
    ]
    entries = [(one["kind"], one["lane"], one["sequence"], one["digest"] or "") for one in story["entries"]]
    return (
        head
        + _table(("", "why", "served by", "outcome", "vendor's id", "borne by", "cost"), attempts)
        + _table(("attempt", "class", "quantity", "unit price", "price row", "cost"), charges)
        + _table(("entry", "lane", "number", "SHA-256"), entries)
    )


def _facts(*facts: tuple[str, object]) -> str:
    return _table(("", ""), facts, head=False)


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]], *, head: bool = True) -> str:
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    if not body:
        return ""
    top = "<thead><tr>" + "".join(f"<th>{escape(title)}</th>" for title in titles) + "</tr></thead>" if head else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return '<td class="dim">unknown</td>'
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def escape(value: str) -> str:
    """Words from outside as text of a page; what does not print is written as a number."""
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in value)
    return escape_markup(text)


def _money(amount: str | None, currency: str | None) -> str:
    return "unknown" if amount is None else f"{amount} {currency or ''}".strip()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
