"""What `tollbook statement pull` needs of the configuration, and what it prints."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tollbook.cli.provenance import provenance
from tollbook.core.clock import format_instant
from tollbook.core.faults import BadInput

if TYPE_CHECKING:
    from tollbook.assembly.pulling import Account, Pulled
    from tollbook.statements.admin import Report

Document = dict[str, Any]


def account_of(config_path: Path | None, vendor: str) -> "tuple[Path, Account, tuple[Report, ...]]":
    """The book, the vendor's account and its reports. Raises BadInput, BadConfiguration."""
    from tollbook import config
    from tollbook.assembly.pulling import Account
    from tollbook.statements.admin import ORIGINS, REPORTS

    path = config.find_path(config_path)
    settings = config.load(path)
    found = settings.vendors.get(vendor)
    if found is None or found.statements is None:
        having = [name for name, one in settings.vendors.items() if one.statements is not None]
        told = f"allowed: {', '.join(having)}" if having else "no vendor has `statements` in the configuration"
        raise BadInput(f"vendor: found {vendor!r}; {told}")
    origin = (found.statements.url or ORIGINS[found.format]).rstrip("/")
    key = config.secret_of(found.statements.secret, path.parent)
    return Path(settings.book), Account(vendor, origin, key), REPORTS[found.format]


def pulled_document(account: "Account", asked: tuple[str, str], pulled: "Iterable[Pulled]") -> Document:
    """What became of each report of each day."""
    statements = [_told(one) for one in pulled]
    new = [one for one in statements if one["import_id"] is not None and not one["duplicate"]]
    return {
        "vendor": account.vendor,
        "origin": account.origin,
        "statements": statements,
        "new": len(new),
        "replaced": sum(bool(one["revises"]) for one in new),
        "empty": sum(one["import_id"] is None for one in statements),
        "provenance": provenance(
            {"vendor": account.vendor, "from": asked[0], "to": asked[1]},
            rows=len(statements),
            control_totals={"lines": sum(one["lines"] for one in statements)},
        ),
    }


def _told(one: "Pulled") -> Document:
    entry = one.imported.entry if one.imported is not None else None
    return {
        "day": format_instant(one.day)[:10],
        "kind": one.kind,
        "import_id": entry.statement if entry else None,
        "duplicate": one.imported.duplicate if one.imported is not None else False,
        "revises": entry.revises if entry else [],
        "lines": entry.lines if entry else 0,
        "totals": entry.totals if entry else {},
        "problem_count": entry.problem_count if entry else 0,
    }
