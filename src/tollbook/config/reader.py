"""A YAML text read by the types of the settings, each value with its line, all problems collected."""

import difflib
import re
from collections.abc import Iterable
from datetime import date
from fractions import Fraction
from typing import Any, Final, NamedTuple

import yaml
from msgspec import NODEFAULT, inspect

from tollbook.core.faults import BadConfiguration

Place = tuple[str | int, ...]

_UNITS: Final = {
    "duration": {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)},
    "size": {"B": Fraction(1), "KiB": Fraction(1 << 10), "MiB": Fraction(1 << 20), "GiB": Fraction(1 << 30)},
}
_EXAMPLES: Final = {
    "duration": "a duration such as 500ms, 30s, 10m, 1h",
    "size": "a size such as 64 KiB, 64 MiB, 1 GiB",
    "day": "a day such as 2026-11-23",
    "secret": "env:NAME, file:/path, or the secret itself",
}
_NULL: Final = "tag:yaml.org,2002:null"
_BROKEN: Final = object()
"""Stands for a value that could not be read; its problem has been noted."""


class Problem(NamedTuple):
    """One thing that is wrong with a file."""

    line: int
    place: str
    message: str


class Reader:
    """Reads one text. Problems are collected; `finish` raises them all at once."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.names: dict[Place, set[str]] = {}
        """The names written under a mapping of names, whether or not what they stand for could be read."""
        self._lines: dict[Place, int] = {}
        self._root = self._compose(text)

    def read(self, settings: type[Any]) -> Any:
        """The root as a Struct; what could not be read is left at its default, so that other checks can go on."""
        kind = inspect.type_info(settings)
        assert isinstance(kind, inspect.StructType)
        values = self._members(self._root, kind, ())
        for field in kind.fields:
            if field.required and field.name not in values:
                values[field.name] = ""
        return settings(**values)

    def problem(self, place: Place, message: str) -> None:
        """Note what is wrong at a place, or at the nearest place around it that was written."""
        around = place
        while around and around not in self._lines:
            around = around[:-1]
        self.problems.append(Problem(self._lines.get(around, 1), show_place(place), message))

    def finish(self) -> None:
        """Raise BadConfiguration with every problem, in order of lines, when there is any."""
        if self.problems:
            count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
            lines = [f"  line {line}: {place}: {message}" for line, place, message in sorted(set(self.problems))]
            raise BadConfiguration("\n".join([f"{self.source} has {count}:", *lines]))

    def _compose(self, text: str) -> yaml.Node:
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as fault:
            mark = fault.problem_mark or fault.context_mark
            where = f"line {mark.line + 1}: " if mark else ""
            raise BadConfiguration(f"{self.source}: {where}not YAML: {fault.problem}") from None
        except yaml.YAMLError as fault:
            raise BadConfiguration(f"{self.source}: not YAML: {fault}") from None
        except RecursionError:
            raise BadConfiguration(f"{self.source}: nested too deeply to be settings") from None
        if not isinstance(node, yaml.MappingNode):
            raise BadConfiguration(f"{self.source}: holds no settings; begin with: book: ./book")
        return node

    def _value(self, node: yaml.Node, kind: inspect.Type, place: Place) -> Any:
        self._lines[place] = node.start_mark.line + 1
        kind, extra = unwrap(kind)
        if isinstance(kind, inspect.UnionType):
            if node.tag == _NULL:
                return None
            kind, inner = unwrap(next(part for part in kind.types if not isinstance(part, inspect.NoneType)))
            extra = {**inner, **extra}
        if isinstance(kind, inspect.StructType):
            values = self._members(node, kind, place)
            missing = {field.name for field in kind.fields if field.required} - set(values)
            return _BROKEN if missing else kind.cls(**values)
        if isinstance(kind, inspect.DictType):
            return self._mapping(node, kind, place)
        if isinstance(kind, inspect.VarTupleType):
            return self._list(node, kind, place)
        return self._scalar(node, kind, extra, place)

    def _pairs(self, node: yaml.Node, place: Place) -> Iterable[tuple[str, yaml.Node]]:
        """The members of a mapping by the text of their names: YAML 1.1 would read `on` as true."""
        if not isinstance(node, yaml.MappingNode):
            if node.tag != _NULL:
                self.problem(place, f"found {_show(node)}; allowed: a mapping")
            return
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if not isinstance(name, yaml.ScalarNode):
                self.problem(place, f"found {_show(name)} as a name; allowed: a plain name")
            elif name.value in seen:
                self._lines[(*place, name.value)] = line
                self.problem((*place, name.value), f"written twice, first in line {seen[name.value]}; keep one")
            else:
                seen[name.value] = line
                yield name.value, value

    def _members(self, node: yaml.Node, kind: inspect.StructType, place: Place) -> dict[str, Any]:
        fields = {field.encode_name: field for field in kind.fields if not is_derived(field)}
        values: dict[str, Any] = {"name": place[-1]} if _is_named_by_place(kind) else {}
        seen = set()
        for name, value in self._pairs(node, place):
            seen.add(name)
            if name not in fields:
                self._lines[(*place, name)] = value.start_mark.line + 1
                self.problem((*place, name), unknown("setting", name, fields))
                continue
            found = self._value(value, fields[name].type, (*place, name))
            if found is not _BROKEN:
                values[fields[name].name] = found
        for name, field in fields.items():
            if field.required and name not in seen:
                self.problem(place, f"{name} is missing; allowed: {allowed(field.type)}")
        return values

    def _mapping(self, node: yaml.Node, kind: inspect.DictType, place: Place) -> dict[str, Any]:
        values = {}
        for name, value in self._pairs(node, place):
            self.names.setdefault(place, set()).add(name)
            found = self._value(value, kind.value_type, (*place, name))
            if not _fits(name, kind.key_type):
                self.problem((*place, name), f"found {_quote(name)} as a name; allowed: {allowed(kind.key_type)}")
            elif found is not _BROKEN:
                values[name] = found
        return values

    def _list(self, node: yaml.Node, kind: inspect.VarTupleType, place: Place) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            self.problem(place, f"found {_show(node)}; allowed: {allowed(kind)}")
            return _BROKEN
        count, most = len(node.value), kind.max_length
        if count < (kind.min_length or 0) or (most is not None and count > most):
            limits = f"{kind.min_length or 0} or more" if most is None else f"{kind.min_length or 0} to {most}"
            self.problem(place, f"found {count} in the list; allowed: {limits}")
        parts = [self._value(part, kind.item_type, (*place, index)) for index, part in enumerate(node.value)]
        return tuple(part for part in parts if part is not _BROKEN)

    def _scalar(self, node: yaml.Node, kind: inspect.Type, extra: dict[str, Any], place: Place) -> Any:
        value = None
        if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
            value = _parse(node.value, kind, extra)
        if value is None:
            hidden = extra.get("unit") == "secret" and isinstance(node, yaml.ScalarNode) and node.tag != _NULL
            shown = "a text that cannot be one" if hidden else _show(node)
            self.problem(place, f"found {shown}; allowed: {allowed(kind, extra)}")
            return _BROKEN
        return value


def unwrap(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """A type without its remarks, and the remarks."""
    remarks: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        remarks = {**(kind.extra_json_schema or {}), **(kind.extra or {}), **remarks}
        kind = kind.type
    return kind, remarks


def allowed(kind: inspect.Type, remarks: dict[str, Any] | None = None) -> str:
    """What a setting may be, in words: for errors and for the reference page."""
    kind, own = unwrap(kind)
    remarks = {**own, **(remarks or {})}
    if isinstance(kind, inspect.UnionType):
        return next(allowed(part, remarks) for part in kind.types if not isinstance(part, inspect.NoneType))
    if remarks.get("unit") in _EXAMPLES:
        return _EXAMPLES[remarks["unit"]]
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(str(value) for value in kind.values)
    if isinstance(kind, inspect.IntType):
        return f"an integer of at least {kind.ge}" if kind.le is None else f"an integer from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.BoolType):
        return "true, false"
    if isinstance(kind, inspect.StrType):
        return str(remarks.get("title", "a text"))
    if isinstance(kind, inspect.VarTupleType):
        part, part_remarks = unwrap(kind.item_type)
        return "a list" if isinstance(part, inspect.StructType) else f"a list of: {allowed(part, part_remarks)}"
    return "a mapping"


def is_derived(field: inspect.Field) -> bool:
    """Whether a field is not written in the file but follows from it."""
    return bool(unwrap(field.type)[1].get("derived"))


def _is_named_by_place(kind: inspect.StructType) -> bool:
    return any(field.name == "name" and is_derived(field) for field in kind.fields)


def default_of(field: inspect.Field) -> Any:
    """A setting's default value; NODEFAULT when it must be given."""
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def show_place(place: Place) -> str:
    """A place as people write it: `models.fast.targets[1].vendor`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """A name that is not known, what is allowed, and the nearest one."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"found {_quote(name)}, an unknown {what}; allowed: {', '.join(names) or 'none'}{hint}"


def _parse(text: str, kind: inspect.Type, remarks: dict[str, Any]) -> Any:
    """The value a scalar's text stands for; None when it is not allowed."""
    unit = remarks.get("unit")
    if unit in _UNITS:
        found = re.fullmatch(r"(\d{1,15})\s*([A-Za-z]+)", text)
        factor = _UNITS[unit].get(found.group(2)) if found else None
        return _within(int(found.group(1)) * factor, kind) if found and factor else None
    if unit == "day":
        return text if _is_day(text) else None
    if isinstance(kind, inspect.LiteralType):
        return text if text in kind.values else None
    if isinstance(kind, inspect.BoolType):
        return {"true": True, "false": False}.get(text)
    if isinstance(kind, inspect.IntType):
        return _within(Fraction(text), kind) if re.fullmatch(r"\d{1,15}", text) else None
    return text if _fits(text, kind) else None


def _within(number: Fraction, kind: inspect.Type) -> int | float | None:
    """A number as the kind asks for it; None when it is out of bounds or would have to be rounded."""
    assert isinstance(kind, inspect.IntType | inspect.FloatType)
    low = kind.ge if kind.ge is not None else kind.gt
    if (low is not None and number < low) or number == kind.gt or (kind.le is not None and number > kind.le):
        return None
    if isinstance(kind, inspect.FloatType):
        return float(number)
    return int(number) if number.denominator == 1 else None


def _is_day(text: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _fits(text: str, kind: inspect.Type) -> bool:
    kind, _ = unwrap(kind)
    assert isinstance(kind, inspect.StrType)
    shortest, longest = kind.min_length or 0, kind.max_length
    return (
        len(text) >= shortest
        and (longest is None or len(text) <= longest)
        and (kind.pattern is None or re.search(kind.pattern, text) is not None)
        and text.isprintable()
    )


def _show(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return "nothing" if node.tag == _NULL else _quote(node.value)
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _quote(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
