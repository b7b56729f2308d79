"""Reading `tollbook.yaml`: every problem at once, each with its line, what was found and what is allowed.

The settings themselves, with defaults and help, are in `tollbook.core.settings`; the file is read by their types.
"""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from tollbook.config.charging import load_charging
from tollbook.config.checks import check
from tollbook.config.reader import Reader
from tollbook.config.secrets import references, resolve, secret_of
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Journal, Settings, Tls, Vendor, digest_of

__all__ = ["DEFAULT_PATH", "ENVIRONMENT_VARIABLE", "find_path", "load", "parse", "references", "resolve", "secret_of"]

DEFAULT_PATH: Final = "tollbook.yaml"
ENVIRONMENT_VARIABLE: Final = "TOLLBOOK_CONFIG"


def find_path(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration file: the one given, else `$TOLLBOOK_CONFIG`, else `./tollbook.yaml`."""
    return given or Path(environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_PATH)


def load(path: Path) -> Settings:
    """The settings of a file.

    Raises BadConfiguration with all problems at once when it cannot be read, is not YAML, or says what it may not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadConfiguration(
            f"{path}: no such file; make one with `tollbook init`, or name it with --config or ${ENVIRONMENT_VARIABLE}"
        ) from None
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfiguration(f"{path}: cannot be read: {fault}") from None
    return parse(text, str(path), path.parent)


def parse(text: str, source: str = DEFAULT_PATH, base: Path = Path()) -> Settings:
    """The settings in a text; `source` names it in errors, its paths are relative to `base`.

    Raises BadConfiguration.
    """
    reader = Reader(text, source)
    settings: Settings = reader.read(Settings)
    check(settings, reader)
    reader.finish()
    return _completed(settings, base.absolute())


def _completed(settings: Settings, base: Path) -> Settings:
    """The settings with what follows from them: whole paths, billing parties, policy versions, the digest of it all."""
    settings = replace(
        settings,
        book=str(base / settings.book),
        gateway=replace(settings.gateway, tls=_whole_tls(settings.gateway.tls, base)),
        journal=_whole_journal(settings.journal, base),
        charging=_whole(settings.charging, base),
        charging_rules=load_charging(None if settings.charging is None else base / settings.charging),
        vendors={name: _completed_vendor(vendor, base) for name, vendor in settings.vendors.items()},
        models={name: replace(model, version=digest_of(model)[:12]) for name, model in settings.models.items()},
    )
    return replace(settings, digest=digest_of(settings))


PARTIES: Final = {"gemini": "google", "vertex": "google", "bedrock": "aws"}
"""Whose prices apply to a format, where it is not named for its vendor."""


def _completed_vendor(vendor: Vendor, base: Path) -> Vendor:
    """Raises BadConfiguration when its certificates cannot be read: a running gateway must not meet them first."""
    if vendor.ca_file is not None:
        try:
            ssl.create_default_context(cafile=str(base / vendor.ca_file))
        except (OSError, ValueError) as fault:
            place = f"vendors.{vendor.name}.ca_file"
            raise BadConfiguration(f"{place}: {base / vendor.ca_file}: no certificates in PEM form ({fault})") from None
    return replace(
        vendor,
        billing=vendor.billing or PARTIES.get(vendor.format, vendor.format),
        ca_file=_whole(vendor.ca_file, base),
        proxy=_proxy(vendor),
    )


def _proxy(vendor: Vendor) -> str | None:
    """The address of a vendor's proxy. Raises BadConfiguration when it is none, or names a variable that is not set."""
    told = vendor.proxy
    if told is None:
        return None
    address = os.environ.get(told.removeprefix("env:"), "") if told.startswith("env:") else told
    try:
        url = urlsplit(address)
        usable = url.scheme == "http" and url.hostname and url.port and url.username is None and url.path in ("", "/")
    except ValueError:
        usable = False
    if not usable:
        place = f"vendors.{vendor.name}.proxy"
        raise BadConfiguration(f"{place}: {told} is no address such as http://proxy:3128, without user and password")
    return address


def _whole_tls(tls: Tls | None, base: Path) -> Tls | None:
    return None if tls is None else Tls(certificate=str(base / tls.certificate), key=str(base / tls.key))


def _whole_journal(journal: Journal, base: Path) -> Journal:
    ship = None if journal.ship is None else replace(journal.ship, to=str(base / journal.ship.to))
    return replace(journal, anchor=_whole(journal.anchor, base), ship=ship)


def _whole(path: str | None, base: Path) -> str | None:
    return None if path is None else str(base / path)
