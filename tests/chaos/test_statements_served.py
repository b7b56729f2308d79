"""Statements while the book is served: over the scribe's socket, with real processes."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from chaos_house import House

from tollbook.assembly.acts import socket_path
from tollbook.journal.entry import ObjectNamed
from tollbook.journal.heads import book_lines
from tollbook.journal.statement import StatementImported
from tollbook.journal.verify import verify

COSTS = Path(__file__).parent.parent / "statements" / "openai_costs" / "page.json"


def raw(book: Path, entry: StatementImported | str) -> dict[str, Any]:
    """What the scribe says to an act that no command of ours would ask for."""
    text = entry if isinstance(entry, str) else msgspec.json.encode(entry).decode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(socket_path(book)))
        client.sendall(json.dumps({"act": "statement.import", "arguments": {"entry": text}}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(client.makefile("rb").readline())
        return answer


def test_it_is_taken_in_once_whoever_is_killed(tmp_path: Path) -> None:
    """Two commands at once and one killed leave one entry; acts written by hand are refused and the scribe lives."""
    with House(tmp_path, gateway={"workers": 1}) as house:
        words = [sys.executable, "-m", "tollbook", "statement", "import", str(COSTS), "--book", str(house.book)]
        started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        started[2].kill()
        told = [one.communicate(timeout=60)[0] for one in started]
        assert all("imported as S-1" in one for one in told[:2])
        facts: dict[str, Any] = {"vendor": "v", "kind": "k", "type": "invoice", "importer": "k/1", "grade": "uploaded"}
        facts |= {"statement": "", "actor": "kim", "sha256": "a" * 64, "bytes": 1, "lines": 1}
        for digest in ("../../../keys/signing.key", "b" * 64, ""):
            entry = StatementImported(object=ObjectNamed(sha256=digest, bytes=1), **facts)
            assert raw(house.book, entry)["fault"] in ("bad_input", "not_found"), digest
        known = next(line for line in book_lines(house.book) if line.kind == "statement.imported")
        held = msgspec.json.decode(known.bytes, type=StatementImported).object
        for wrong in ({"number": "x" * 300_000}, {"object": ObjectNamed(sha256=held.sha256, bytes=1)}):
            entry = StatementImported(**{"object": held, **facts, **wrong})
            assert raw(house.book, entry)["fault"] == "bad_input"
        assert raw(house.book, "{}")["fault"] == "bad_input"
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.startswith("already imported")
        assert sum(line.kind == "statement.imported" for line in book_lines(house.book)) == 1
    # The house is killed in the end; nothing but its lanes may be left open.
    assert {one.code for one in verify(house.book).findings} <= {"lane_not_closed"}
