"""Reading `tollbook.yaml`: every problem at once, each with its line, what was found and what is allowed.

The settings themselves, with defaults and help, are in `tollbook.core.settings`; the file is read by their types.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tollbook.config.checks import check
from tollbook.config.reader import Reader
from tollbook.config.secrets import resolve
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Model, Settings, Vendor, digest_of

__all__ = ["DEFAULT_PATH", "ENVIRONMENT_VARIABLE", "find_path", "load", "parse", "resolve"]

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
    return parse(text, str(path))


def parse(text: str, source: str = DEFAULT_PATH) -> Settings:
    """The settings in a text; `source` names it in errors. Raises BadConfiguration."""
    reader = Reader(text, source)
    settings: Settings = reader.read(Settings)
    check(settings, reader)
    reader.finish()
    return _completed(settings)


def _completed(settings: Settings) -> Settings:
    """The settings with what follows from them: billing parties, policy versions, the digest of it all."""
    vendors = {name: _with_billing(vendor) for name, vendor in settings.vendors.items()}
    models = {name: _with_version(model) for name, model in settings.models.items()}
    settings = replace(settings, vendors=vendors, models=models)
    return replace(settings, digest=digest_of(settings))


def _with_billing(vendor: Vendor) -> Vendor:
    return replace(vendor, billing=vendor.billing or vendor.format)


def _with_version(model: Model) -> Model:
    return replace(model, version=digest_of(model)[:12])
