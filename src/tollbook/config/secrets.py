"""Secrets: a reference (`env:NAME`, `file:/path`) becomes the secret, or a problem that names it and shows no value."""

import stat
from collections.abc import Mapping
from pathlib import Path

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Config, KeyHolder, Secrets


class _Missing(Exception):
    """A secret that cannot be had; the message says why and what to do."""


def resolve(config: Config, base: Path, environ: Mapping[str, str]) -> Secrets:
    """The secrets that the settings refer to; `file:` paths are relative to `base`.

    Raises BadConfiguration naming every one that cannot be had, or that two tenant keys share.
    """
    problems: list[str] = []
    vendors: dict[str, dict[str, str]] = {name: {} for name in config.vendors}
    tenants: dict[str, KeyHolder] = {}
    for place, owner, key, reference in _references(config):
        try:
            secret = _resolve_one(reference, base, environ)
        except _Missing as missing:
            problems.append(f"{place}: {missing}")
            continue
        if place.startswith("vendors."):
            vendors[owner][key] = secret
            continue
        other = tenants.setdefault(sha256_hex(secret.encode()), KeyHolder(owner, key))
        if other != KeyHolder(owner, key):
            problems.append(f"{place}: the same secret as tenants.{other.tenant}.keys.{other.key}; give each its own")
    if problems:
        raise BadConfiguration("\n".join(["secrets cannot be had:", *(f"  {problem}" for problem in problems)]))
    return Secrets(vendors, tenants)


def _references(config: Config) -> list[tuple[str, str, str, str]]:
    """Every secret that is referred to: place, owner, key name, reference."""
    return [
        (f"{kind}.{owner}.keys.{key.name}", owner, key.name, key.secret)
        for kind, owners in (("vendors", config.vendors), ("tenants", config.tenants))
        for owner, settings in owners.items()
        for key in settings.keys
    ]


def _resolve_one(reference: str, base: Path, environ: Mapping[str, str]) -> str:
    kind, _, name = reference.partition(":")
    if kind == "env":
        if name not in environ:
            raise _Missing(f"the environment variable {name} is not set; export it before serving")
        secret, origin = environ[name], f"the environment variable {name}"
    elif kind == "file":
        secret, origin = _read_file(base / name), name
    else:
        secret, origin = reference, "the secret"
    if not secret:
        raise _Missing(f"{origin} is empty")
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise _Missing(f"{origin} holds a space, a line break or a character that no header can carry")
    return secret


def _read_file(path: Path) -> str:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise _Missing(f"{path} can be read by others; do: chmod 600 {path}")
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as fault:
        raise _Missing(f"{path} cannot be read: {fault}") from None
