"""The screen of `tollbook top`: what a person on call looks for first stands first; a narrow one has fewer columns."""

from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tollbook.cli import screen
from tollbook.core.clock import SECOND
from tollbook.core.money import display, parse_amount

Document = dict[str, Any]

NARROW: Final = 110
NARROW_NAME, WIDE_NAME = 18, 48
TENANTS_SHOWN: Final = 15
PROBLEMS_SHOWN: Final = 6
_DASH: Final = "-"


def show_top(document: Document, width: int) -> RenderableType:
    """One look, for a screen of so many columns."""
    wide = width >= NARROW
    parts: list[RenderableType] = [_heading(document), *_problems(document)]
    if document["traffic"] is not None:
        parts += [Text(), *_traffic(document)]
        if document["tenants"]:
            parts += [Text(), _tenants(document["tenants"], document["ledger"]["window_seconds"], wide=wide)]
    if document["vendor_keys"]:
        parts += [Text(), _vendor_keys(document["vendor_keys"])]
    if document["limits"]:
        parts += [Text(), _limits(document["limits"])]
    return Group(*parts)


def _heading(document: Document) -> Text:
    alive, lag = document["processes"], document["ledger"]["lag_ms"]
    workers = f"{alive['workers']:,} worker{'' if alive['workers'] == 1 else 's'}"
    told = Text(f"{document['at'][:19].replace('T', ' ')} UTC  ")
    told.append(workers, style="green" if alive["workers"] else "red")
    for name in ("scribe", "desk"):
        told.append("  ")
        told.append(name if alive[name] else f"no {name}", style="green" if alive[name] else "red")
    told.append("  ledger ")
    told.append(screen.UNKNOWN if lag is None else f"{_time(lag * 1000)} behind", style="dim" if lag is None else "")
    if document["ship"] is not None:
        told.append("  copy " + screen.escape(document["ship"]["message"].partition(",")[0], 40))
    return told


def _problems(document: Document) -> list[Text]:
    found = document["problems"]
    shown = [Text(screen.escape(problem), style="yellow") for problem in found[:PROBLEMS_SHOWN]]
    if len(found) > PROBLEMS_SHOWN:
        shown.append(Text(f"and {len(found) - PROBLEMS_SHOWN:,} more", style="yellow"))
    return shown


def _traffic(document: Document) -> list[Text]:
    traffic, seconds = document["traffic"], document["ledger"]["window_seconds"]
    requests = Text(f"{_rate(traffic['requests'], seconds)} requests/s", style="bold")
    requests.append(f"  {_money(traffic['amounts'], traffic['attempts'])}/min", style="bold")
    requests.append(f"  under way {traffic['under_way']:,}, of it streams {traffic['streams']:,}", style="not bold")
    times = [
        f"{title} p50 {_time(traffic[name]['p50'])} p99 {_time(traffic[name]['p99'])}"
        for title, name in (("answer", "answer_us"), ("first byte", "first_byte_us"))
    ]
    outcomes = ", ".join(f"{screen.escape(name)} {count:,}" for name, count in traffic["outcomes"].items())
    opened = document["open"]
    cost = f"unsettled {opened['unsettled']:,}, unpriced {opened['unpriced']:,} in the whole book"
    recent = f"  last {seconds} s: {traffic['unsettled']:,} and {traffic['unpriced']:,}"
    style = "yellow" if traffic["unsettled"] or traffic["unpriced"] else ""
    return [requests, Text("  ".join(times)), Text(f"outcomes: {outcomes or 'none'}"), Text(cost + recent, style=style)]


def _tenants(tenants: list[Document], seconds: int, *, wide: bool) -> Table:
    titles = ["tenant", "req/s", "open", "p99", "money/min", "refused", "failed"]
    if wide:
        titles += ["streams", "p50", "first byte p99", "unsettled", "unpriced"]
    table = _table(*titles)
    for one in tenants[:TENANTS_SHOWN]:
        cells: list[Text | str] = [
            Text(screen.escape(one["tenant"], WIDE_NAME if wide else NARROW_NAME)),
            _rate(one["requests"], seconds),
            f"{one['under_way']:,}",
            _time(one["answer_us"]["p99"]),
            _money(one["amounts"], one["attempts"]),
            _count(one["refused"]),
            _count(one["failed"]),
        ]
        if wide:
            cells += [f"{one['streams']:,}", _time(one["answer_us"]["p50"]), _time(one["first_byte_us"]["p99"])]
            cells += [_count(one["unsettled"]), _count(one["unpriced"])]
        table.add_row(*cells)
    if len(tenants) > TENANTS_SHOWN:
        table.add_row(Text(f"and {len(tenants) - TENANTS_SHOWN:,} more", style="dim"))
    return table


def _vendor_keys(keys: list[Document]) -> Table:
    table = _table("vendor key", "attempts", "failed", "state")
    for one in keys:
        style = {"ok": "green", "limited": "yellow"}.get(one["state"], "red")
        name = screen.words(f"{one['vendor']}/{one['vendor_key']}")
        table.add_row(name, f"{one['attempts']:,}", _count(one["failed"]), Text(one["state"], style=style))
    return table


def _limits(limits: list[Document]) -> Table:
    table = _table("limit", "used", "of", "%")
    for one in limits:
        narrower = "" if one["kind"] == "tenant" else f" {one['kind']} {one['name']}"
        style = "red" if one["percent"] >= 100 else "yellow" if one["percent"] >= 80 else ""
        whose = screen.words(f"{one['tenant']}{narrower}: {one['limit'].replace('_', ' ')}")
        table.add_row(whose, f"{one['used']:,}", f"{one['most']:,}", Text(str(one["percent"]), style=style))
    return table


def _table(first: str, *titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, overflow="ellipsis", no_wrap=True, min_width=8)
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _count(count: int) -> Text:
    return Text(f"{count:,}", style="yellow" if count else "dim")


def _rate(count: int, seconds: int) -> str:
    """A number per second, to a tenth."""
    tenths = (count * 10 + seconds // 2) // seconds
    return f"{tenths // 10:,}.{tenths % 10}"


def _time(microseconds: int | None) -> str:
    """A time for people: `840 ms`, `12.4 s`; `-` when there is none."""
    if microseconds is None:
        return _DASH
    if microseconds < SECOND:
        return f"{microseconds // 1000} ms" if microseconds >= 1000 else f"{microseconds} us"
    tenths = microseconds * 10 // SECOND
    return f"{tenths // 10:,}.{tenths % 10} s"


def _money(amounts: dict[str, str], attempts: int) -> str:
    """What is known of the money of a minute; `unknown` when attempts have no price at all."""
    if not amounts:
        return screen.UNKNOWN if attempts else _DASH
    return ", ".join(display(parse_amount(amount), screen.escape(currency, 8)) for currency, amount in amounts.items())
