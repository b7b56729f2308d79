"""The duties while the book is served: over the scribe's socket, with real processes."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from chaos_house import House, kill, until
from chaos_load import KINDS, post

from tollbook.assembly.acts import socket_path
from tollbook.journal.heads import book_lines
from tollbook.journal.verify import verify

PASSWORD = "correct horse battery"


class Desk:
    """A house, and people who type commands."""

    def __init__(self, house: House, directory: Path) -> None:
        self.house = house
        self.directory = directory

    def type(self, who: str, command: str, typed: str = "") -> tuple[int, str]:
        environ = {**os.environ, "XDG_CONFIG_HOME": str(self.directory / who)}
        words = [sys.executable, "-m", "tollbook", *command.split(), "--book", str(self.house.book)]
        done = subprocess.run(words, input=typed, capture_output=True, text=True, env=environ, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def actors(self, kind: str) -> list[str]:
        return [json.loads(line.bytes)["actor"] for line in book_lines(self.house.book) if line.kind == kind]

    def raw(self, **members: object) -> dict[str, object]:
        """What the scribe says to a line that no command of ours would write."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(socket_path(self.house.book)))
            client.sendall(json.dumps(members).encode() + b"\n")
            answer: dict[str, object] = json.loads(client.makefile("rb").readline())
            return answer


def test_over_the_socket_nobody_is_who_he_says(tmp_path: Path) -> None:
    """Lines written by hand with actors, invented sessions and made-up decisions do nothing; real logins do, also after
    the scribe was killed; a revoked key is refused although its owner was asked for a login."""
    with House(tmp_path, gateway={"workers": 1}) as house:
        desk = Desk(house, tmp_path)
        for command in ("identity add kim", "identity grant kim admin"):
            assert desk.type("root", command)[0] == 0
        assert desk.type("root", "identity password kim --stdin", PASSWORD)[0] == 0
        add = {"kind": "entity", "name": "forged"}
        forged = (
            {"act": "registry.add", "arguments": add, "actor": "kim", "name": "kim"},
            {"act": "registry.add", "arguments": {**add, "actor": "kim"}, "proof": {"session": "tbs_" + "x" * 43}},
            {"act": "registry.add", "arguments": add, "proof": {"session": "", "signature": "AA==", "at": 1}},
            {"act": "proposal.approve", "arguments": {"proposal": "P-1"}, "actor": "kim"},
            {"act": "session.open", "arguments": {"name": "kim"}},
            {"act": "session.open", "arguments": {"name": "kim", "password": ""}},
            {"act": "session.open", "arguments": {"token": ""}},
        )
        for line in forged:
            answer = desk.raw(**line)
            assert answer["fault"] and not answer.get("result"), line
        assert not [one for one in desk.actors("registry.changed") if one.startswith("kim")]
        assert desk.type("kim", "login kim --stdin", PASSWORD)[0] == 0
        kill(house.children("scribe")[0])
        until(lambda: desk.type("kim", "whoami")[1].startswith("kim, by password"), "the scribe is not back")
        assert desk.type("kim", "entity add gmbh")[0] == 0
        assert desk.actors("registry.changed")[-1] == "kim, by password"
        assert post(house.port, KINDS[0]).status == 200
        code, said = desk.type("root", "tenant end acme")
        assert code == 1 and "not done yet" in said
        assert post(house.port, KINDS[0]).status == 200
        house.stop()
        assert verify(house.book).findings == []
