"""The table of endings: what it says, and the page that is made from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

PAGE: Final = Path(__file__).parents[2] / "docs" / "endings.md"
WAYS: Final = ("buffered", "streamed")

_TABLE: Final[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "endings.yaml").read_text())
FORMATS: Final[dict[str, dict[str, Any]]] = _TABLE["formats"]
ROWS: Final[list[dict[str, Any]]] = _TABLE["rows"]


class Case(NamedTuple):
    """One cell of the table: a row for a format and a way, with the values of that way."""

    format: str
    way: str
    row: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.row['name']}-{self.format}-{self.way}".replace(" ", "_")

    @property
    def streamed(self) -> bool:
        return self.way == "streamed"

    @property
    def long(self) -> bool:
        """Whether another format of the same family shows the same by default."""
        return "family" in FORMATS[self.format] and not self.row.get("read")


def cases() -> Iterator[Case]:
    """Every cell there is."""
    for row in ROWS:
        for name in FORMATS:
            for way in ways_of(row, name):
                yield Case(name, way, {key: _of(value, name, way) for key, value in row.items()})


def ways_of(row: dict[str, Any], name: str) -> list[str]:
    """The ways in which a format can show a row."""
    return [way for way in row.get("ways", WAYS) if way in FORMATS[name].get("ways", WAYS)]


def page() -> str:
    """docs/endings.md."""
    lines = [
        "# How requests end",
        "",
        "<!-- Made from tests/gateway/endings.yaml by `make reference`; do not edit. -->",
        "",
        "For each way a request can end: what the client sees, what the attempt's outcome is, whether the vendor",
        "bills it, how its usage is known, and who bears it under the rules that ship with tollbook",
        "(`tollbook charging show`). An attempt that another one followed is the platform's whatever its outcome.",
        "Words are those of the [vocabulary](reference/vocabulary.md). Each row is tested for each format and way",
        f"through the gateway against the [simulated vendor](simulator.md): {len(list(cases()))} cases.",
        "",
        f"Formats: {', '.join(f'`{name}`' for name in FORMATS)}.",
        "",
        "| ending | way | the client sees | outcome | vendor bills | basis | borne by |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        for ways, values in _alike(row):
            told = [row["name"], ways, values["sees"], _word(values, "outcome"), _bills(values), _word(values, "basis")]
            lines.append(f"| {' | '.join((*told, _word(values, 'bears')))} |")
    lines += [
        "",
        "A usage that is all zero is kept as it was reported, and flagged `zero_usage`.",
        "A refusal of the gateway's own reaches no vendor, costs nothing and has no attempt.",
        "SIGTERM, SIGKILL and a full disk are tried with real processes in `tests/chaos` too.",
    ]
    return "\n".join(lines) + "\n"


def _of(value: Any, name: str, way: str) -> Any:
    """A value for a format and way."""
    if isinstance(value, dict) and set(value) <= {*WAYS, *FORMATS, "others"}:
        return _of(value.get(name, value.get(way, value.get("others"))), name, way)
    return value


def _alike(row: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ways of a row with their values; once, where they are the same. Formats that differ are told in words."""
    ways = row.get("ways", WAYS)
    told = [{key: _told(value, way) for key, value in row.items()} for way in ways]
    if len(ways) == 2 and told[0] == told[1]:
        yield "both", told[0]
    else:
        yield from zip(ways, told, strict=True)


def _told(value: Any, way: str) -> Any:
    if not isinstance(value, dict) or not set(value) <= {*WAYS, *FORMATS, "others"}:
        return value
    if set(value) <= set(WAYS):
        return _told(value[way], way)
    names: dict[str, list[str]] = {}
    for name, one in value.items():
        names.setdefault(_shown(_told(one, way)), []).append(name)
    return "; ".join(f"{shown} ({', '.join(of)})" for shown, of in names.items())


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _word(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return "none" if value is None else str(value)


def _bills(values: dict[str, Any]) -> str:
    if "billable" not in values:
        return str(values["bills"])
    known = {True: "yes", False: "no", None: "unknown"}.get(values["billable"], values["billable"])
    return f"{known}: {values['bills']}"
