"""One concept, one package; imports point inward. This table says which room may import which."""

import ast
import pathlib

import pytest

SOURCE = pathlib.Path(__file__).parent.parent / "src" / "tollbook"

ROOMS: dict[str, set[str]] = {
    "core": set(),
    "providers": {"core"},
    "pricing": {"core"},
    "dialects": {"core"},
    "journal": {"core"},
    "registry": {"core", "journal"},
    "gateway": {"core", "journal", "providers", "pricing"},
    "ledger": {"core", "journal", "pricing"},
    "evidence": {"core", "journal"},
    "disputes": {"core", "journal"},
    "ingest": {"core", "dialects", "journal", "pricing", "gateway"},
    "reconciliation": {"core", "journal", "pricing", "ledger"},
    "quote": {"core", "providers", "pricing"},
    "statements": {"core", "journal"},
    "simulator": {"core"},
    "conformance": {"core", "providers", "simulator"},
    "cli": {
        "core",
        "journal",
        "providers",
        "pricing",
        "registry",
        "ledger",
        "statements",
        "reconciliation",
        "simulator",
        "conformance",
        "evidence",
        "disputes",
        "config",
        "assembly",
        "quote",
        "tollbook",
    },
    "config": {"core"},
    "assembly": {
        "core",
        "journal",
        "providers",
        "pricing",
        "registry",
        "ledger",
        "statements",
        "reconciliation",
        "gateway",
        "evidence",
        "disputes",
        "quote",
        "config",
        "tollbook",
        "ingest",
    },
    "tollbook": {"quote"},
}
"""Room -> the rooms it may import, itself aside. `tollbook` is the package root (public API, version)."""


def room_of(path: pathlib.Path) -> str:
    parts = path.relative_to(SOURCE).parts
    if len(parts) > 1:
        return parts[0]
    return "tollbook" if parts[0] == "__init__.py" else parts[0].removesuffix(".py")


def imported_rooms(tree: ast.AST) -> set[str]:
    """The rooms of ours that a module imports, wherever in the file; TYPE_CHECKING blocks count too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    rooms = set()
    for parts in (name.split(".") for name in names):
        if parts[0] == "tollbook":
            rooms.add(parts[1] if len(parts) > 1 and _is_room(parts[1]) else "tollbook")
    return rooms


def _is_room(name: str) -> bool:
    return (SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file()


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_inward(path: pathlib.Path) -> None:
    """A module imports only the rooms that the table allows its own room."""
    room = room_of(path)
    if room == "__main__":
        return
    allowed = ROOMS[room] | {room}
    found = imported_rooms(ast.parse(path.read_text()))
    assert found <= allowed, f"{room} may not import {sorted(found - allowed)}"


def test_every_room_is_in_the_table() -> None:
    """A new room enters the table on purpose."""
    assert {room_of(path) for path in FILES} - {"__main__"} <= set(ROOMS)


def test_the_simulator_never_sees_our_metering() -> None:
    """The independent witness must not share code with what it witnesses."""
    assert not {"providers", "pricing"} & ROOMS["simulator"]
