"""Secrets: a reference (`env:NAME`, `file:/path`) becomes the secret, or a problem that names it and shows no value."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Secrets, Settings


def resolve(settings: Settings, base: Path, environ: Mapping[str, str] = os.environ) -> Secrets:
    """The secrets that the settings refer to; `file:` paths are relative to `base`, the configuration's directory.

    Raises BadConfiguration naming every one that cannot be had, or that two tenant keys share.
    """
    problems: list[str] = []
    found: dict[str, dict[str, dict[str, str]]] = {
        "vendors": {name: {} for name in settings.vendors},
        "tenants": {name: {} for name in settings.tenants},
    }
    owners: dict[str, str] = {}
    for kind, owner, key, reference in references(settings):
        place = f"{kind}.{owner}.keys.{key}"
        try:
            secret = secret_of(reference, base, environ)
        except BadConfiguration as missing:
            problems.append(f"{place}: {missing}")
            continue
        found[kind][owner][key] = secret
        other = owners.setdefault(secret, place) if kind == "tenants" else place
        if other != place:
            problems.append(f"{place}: the same secret as {other}; give each its own")
    ingest: dict[str, str] = {}
    for one in settings.ingest.keys if settings.ingest is not None else ():
        place = f"ingest.keys.{one.name}"
        try:
            ingest[one.name] = secret_of(one.secret, base, environ)
        except BadConfiguration as missing:
            problems.append(f"{place}: {missing}")
            continue
        other = owners.setdefault(ingest[one.name], place)
        if other != place:
            problems.append(f"{place}: the same secret as {other}; give each its own")
    if problems:
        raise BadConfiguration("\n".join(["secrets cannot be had:", *(f"  {problem}" for problem in problems)]))
    return Secrets(found["vendors"], found["tenants"], ingest)


def references(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Every secret that is referred to: `vendors` or `tenants`, the owner, the key's name, the reference."""
    vendors = [
        ("vendors", vendor.name, key.name, key.secret) for vendor in settings.vendors.values() for key in vendor.keys
    ]
    tenants = [
        ("tenants", tenant.name, key.name, key.secret) for tenant in settings.tenants.values() for key in tenant.keys
    ]
    return vendors + tenants


def secret_of(reference: str, base: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The secret behind one reference; a text that is none is the secret itself.

    Raises BadConfiguration saying why it cannot be had and what to do, never showing a value.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        if name not in environ:
            raise BadConfiguration(f"the environment variable {name} is not set; export it before serving")
        secret, origin = environ[name], f"the environment variable {name}"
    elif kind == "file":
        secret, origin = _read_file(base / name), name
    else:
        secret, origin = reference, "the secret"
    if not secret:
        raise BadConfiguration(f"{origin} is empty")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise BadConfiguration(f"{origin} holds a space, a line break or a character that no header can carry")
    return secret


def _read_file(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise BadConfiguration(f"{path} can be read by others; do: chmod 600 {path}")
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfiguration(f"{path} cannot be read: {fault}") from None
