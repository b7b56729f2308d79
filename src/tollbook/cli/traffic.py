"""Recorded traffic: a CSV of `TIMESTAMP,ContextTokens,GeneratedTokens`, as the Azure LLM inference traces have it.

Prompts are not in such a file, only their counts; the simulator is told them from inside the body.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from tollbook.cli.sender import Shot
from tollbook.core.faults import BadInput

COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_COUNT: Final = re.compile(r"\d{1,8}", re.ASCII)
_FRACTION: Final = re.compile(r"(?<=\.\d{6})\d+$")


class Recorded(NamedTuple):
    """One request of a trace: seconds after the first one, tokens in, tokens out."""

    at: float
    tokens_input: int
    tokens_output: int


def read_traffic(path: Path) -> list[Recorded]:
    """All requests of a trace, in its order. Raises BadInput with the line when one cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(_read_rows(path, csv.DictReader(file)))
    except (OSError, UnicodeDecodeError) as fault:
        raise BadInput(f"{path}: cannot be read: {fault}") from None


def _read_rows(path: Path, rows: "csv.DictReader[str]") -> Iterator[Recorded]:
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise BadInput(f"{path}, line 1: lacks {', '.join(missing)}; the columns must be {','.join(COLUMNS)}")
    start: datetime | None = None
    for row in rows:
        instant = _instant(path, rows.line_num, row["TIMESTAMP"])
        start = start or instant
        counts = [_tokens(path, rows.line_num, name, row[name]) for name in COLUMNS[1:]]
        yield Recorded((instant - start).total_seconds(), *counts)


def _instant(path: Path, line: int, text: str | None) -> datetime:
    try:
        return datetime.fromisoformat(_FRACTION.sub("", text or ""))
    except ValueError:
        raise BadInput(f"{path}, line {line}: TIMESTAMP is {text!r}; allowed: 2023-11-16 18:15:46.68") from None


def _tokens(path: Path, line: int, name: str, text: str | None) -> int:
    if text is None or not _COUNT.fullmatch(text):
        raise BadInput(f"{path}, line {line}: {name} is {text!r}; allowed: a whole number of tokens")
    return int(text)


def shots_of(traffic: Iterable[Recorded], *, model: str, key: str, template: str, speed: float) -> Iterator[Shot]:
    """The trace as OpenAI chat completions; `speed` times as fast as it was, 0 as fast as can be."""
    headers = (("authorization", f"Bearer {key}"), ("x-tollbook-template", template))
    for row in traffic:
        command = f"[[sim input={row.tokens_input} output={row.tokens_output}]]"
        body = {"model": model, "messages": [{"role": "user", "content": command}]}
        yield Shot(row.at / speed if speed else 0.0, "/v1/chat/completions", headers, json.dumps(body).encode())
