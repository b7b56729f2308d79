"""Reading `tollbook.yaml`: every problem at once, each with its line, what was found and what is allowed.

The settings themselves, with defaults and help, are in `tollbook.core.settings`; the file is read by their types.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tollbook.config.checks import check
from tollbook.config.reader import Reader
from tollbook.config.secrets import resolve
from tollbook.core.faults import BadConfiguration
from tollbook.core.settings import Config, Snapshot

__all__ = ["DEFAULT_PATH", "ENVIRONMENT_VARIABLE", "find_path", "load", "parse", "resolve", "snapshot"]

DEFAULT_PATH: Final = "tollbook.yaml"
ENVIRONMENT_VARIABLE: Final = "TOLLBOOK_CONFIG"


def find_path(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration file: the one given, else `$TOLLBOOK_CONFIG`, else `./tollbook.yaml`."""
    return given or Path(environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_PATH)


def load(path: Path) -> Config:
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


def parse(text: str, source: str = DEFAULT_PATH) -> Config:
    """The settings in a text; `source` names it in errors. Raises BadConfiguration."""
    reader = Reader(text, source)
    config: Config = reader.read(Config)
    check(config, reader)
    reader.finish()
    return config


def snapshot(config: Config, path: Path, environ: Mapping[str, str] = os.environ) -> Snapshot:
    """What workers are started with: the settings, the secrets they refer to, the book's directory.

    Raises BadConfiguration naming every secret that cannot be had.
    """
    secrets = resolve(config, path.parent, environ)
    return Snapshot(config, secrets, str(config.book_root(path.parent).resolve()))
