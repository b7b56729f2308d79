"""How a result was made: the object `provenance` that every `--json` output carries."""

from typing import Any

from tollbook import __version__


def provenance(
    parameters: dict[str, Any],
    *,
    position: dict[str, Any] | None = None,
    books: list[str] | None = None,
    rows: int = 0,
    control_totals: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Parameters, position (null where the result rests on none), price books, rows, control totals, version."""
    return {
        "parameters": parameters,
        "position": position,
        "incomplete": [],
        "books": books or [],
        "rows": rows,
        "control_totals": control_totals or {},
        "version": __version__,
    }
