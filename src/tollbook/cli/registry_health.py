"""The registry's part of `tollbook doctor`: does the configuration still say what the registry knows."""

import contextlib
from pathlib import Path

from tollbook.cli.health import Check
from tollbook.core.clock import now
from tollbook.core.faults import BadConfiguration, Fault
from tollbook.core.settings import Settings


def check_registry(root: Path, settings: Settings, base: Path) -> Check:
    """The file's tenants and keys beside the registry's. Secrets are compared where they can be had."""
    from tollbook.assembly import seeding, service

    try:
        found = seeding.compare(root, settings, _secrets(settings, base), service.read_registry(root), now())
    except Fault as fault:
        return Check("registry", "warning", str(fault), "start `tollbook serve`")
    if found:
        told = "\n".join(f"{one.kind} {one.name} {one.text}" for one in found)
        return Check("registry", "warning", told, "the registry holds: change it with tollbook tenant, workload, key")
    return Check("registry", "ok", "the configuration's tenants and keys are those of the registry")


def check_duties(root: Path) -> Check:
    """Whether two people can approve, and whether emergencies wait to be."""
    from tollbook.assembly import service

    try:
        office = service.read_office(root)
    except Fault as fault:
        return Check("duties", "warning", str(fault), "start `tollbook serve`")
    waiting = [one["proposal"] for one in office["proposals"] if one["state"] in ("emergency", "overdue")]
    if waiting:
        return Check(
            "duties", "warning", f"emergencies that nobody approved: {', '.join(waiting)}", "tollbook proposal show"
        )
    people = [one for one in office["identities"] if one["ended"] is None]
    admins = [one for one in people if any(has["role"] == "admin" for has in one["roles"])]
    if not admins:
        return Check("duties", "ok", "nobody logs in: every act is on record as unauthenticated")
    if len(admins) == 1:
        return Check("duties", "warning", "one administrator: nobody can approve what takes two", "tollbook identity")
    return Check("duties", "ok", f"{len(admins)} administrators; no emergency waits")


def _secrets(settings: Settings, base: Path) -> dict[str, dict[str, str]]:
    from tollbook import config

    found: dict[str, dict[str, str]] = {}
    for kind, owner, key, reference in config.references(settings):
        if kind == "tenants":
            with contextlib.suppress(BadConfiguration):
                found.setdefault(owner, {})[key] = config.secret_of(reference, base)
    return found
