"""The unit and the container file: what can be known of them without installing them."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tollbook.cli.main import app
from tollbook.core.settings import Gateway

ROOT = Path(__file__).parent.parent
UNIT = ROOT / "deploy" / "tollbook.service"
CONTAINER = ROOT / "deploy" / "Containerfile"
BINARY = "/opt/tollbook/bin/tollbook"
EXPOSURE_LIMIT = 25
"""Tenths: what `systemd-analyze security` calls OK ends at 4.9, and an unprotected service has 9.6."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")


def unit() -> dict[str, list[str]]:
    """The unit's settings; one may stand several times."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def instructions() -> list[tuple[str, str]]:
    """The container file's instructions, comments left out."""
    lines = [line for line in CONTAINER.read_text().splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def parse_command(arguments: list[str]) -> None:
    """What our command line makes of arguments; raises when it does not understand them."""
    group = typer.main.get_command(app)
    name, command, rest = group.resolve_command(group.make_context("tollbook", list(arguments)), list(arguments))  # type: ignore[attr-defined]
    assert name is not None
    command.make_context(name, rest)


def test_the_unit_starts_what_there_is() -> None:
    """Its command line is one that our CLI understands, of the release that is installed beside it."""
    (command,) = unit()["ExecStart"]
    binary, *arguments = shlex.split(command)
    assert binary == BINARY
    assert arguments[0] == "serve"
    parse_command(arguments)
    with pytest.raises(Exception, match="no-such-option"):
        parse_command([*arguments, "--no-such-option"])


def test_the_unit_waits_for_requests_to_end() -> None:
    """systemd kills later than the gateway gives requests to end, and only the supervisor is told to stop."""
    told = unit()
    assert int(told["TimeoutStopSec"][0]) >= Gateway().shutdown_grace + 30
    assert told["KillMode"] == ["mixed"]
    assert (told["Type"], told["NotifyAccess"]) == (["notify"], ["all"])
    assert told["RestartPreventExitStatus"] == ["2"]


def test_only_the_book_can_be_written() -> None:
    """Everything is read-only but the state directory; no capability, no new privilege, no secret in the unit."""
    told = unit()
    assert told["ProtectSystem"] == ["strict"]
    assert told["StateDirectory"] == ["tollbook"]
    assert "ReadWritePaths" not in told
    assert told["CapabilityBoundingSet"] == [""]
    assert told["NoNewPrivileges"] == ["yes"]
    assert told["User"] != ["root"]
    assert "Environment" not in told


@needs_systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, and its review finds little that could still be closed."""
    copy = tmp_path / "tollbook.service"
    copy.write_text(UNIT.read_text().replace(BINARY, sys.executable))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    ours = [line for line in checked.stderr.splitlines() if "tollbook" in line]
    assert ours == []
    assert checked.returncode == 0, checked.stderr
    reviewed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_LIMIT}", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert reviewed.returncode == 0, reviewed.stdout[-300:]


@needs_systemd
def test_a_misspelt_setting_would_be_seen(tmp_path: Path) -> None:
    """The check is one: a setting that there is not makes it speak."""
    copy = tmp_path / "tollbook.service"
    copy.write_text(UNIT.read_text().replace(BINARY, sys.executable).replace("ProtectHome=", "ProtectHomes="))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60
    )
    assert "ProtectHomes" in checked.stderr


def test_the_container_runs_without_root() -> None:
    """Its user is a number (so that a platform can see that it is not root), and owns nothing but the book's place."""
    told = instructions()
    (user,) = [rest for name, rest in told if name == "USER"]
    assert all(part.isdecimal() and int(part) > 0 for part in user.split(":"))
    assert not [rest for name, rest in told if name in ("VOLUME", "ADD")]  # a volume without a name would be lost
    assert [rest for name, rest in told if name == "WORKDIR"][-1] == "/var/lib/tollbook"
    after_user = told[[name for name, _ in told].index("USER") :]
    assert not [rest for name, rest in after_user if name in ("RUN", "COPY")]


def test_the_container_starts_what_there_is() -> None:
    """Entry point and command are understood by our CLI; what is copied into it is there."""
    told = dict(instructions())
    binary, *arguments = [*json.loads(told["ENTRYPOINT"]), *json.loads(told["CMD"])]
    assert binary == BINARY
    parse_command(arguments)
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
    compile(json.loads(told["HEALTHCHECK"].partition("CMD ")[2])[2], "healthcheck", "exec")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_containers_commands_make_a_release(tmp_path: Path) -> None:
    """The build stage's own commands, run in a copy of what it copies: the release has its version and all its data."""
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    stage = []
    for name, rest in instructions()[1:]:
        if name == "FROM":
            break
        stage.append((name, rest))
    for name, rest in stage:
        if name == "COPY":
            *parts, _ = rest.split()
            for part in parts:
                if (ROOT / part).is_dir():
                    shutil.copytree(
                        ROOT / part, source / part, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
                    )
                else:
                    shutil.copy(ROOT / part, source / part)
        elif name == "RUN":
            command = shlex.split(rest.replace("/opt/tollbook", str(target)))
            command[0] = sys.executable if command[0] == "python" else command[0]
            subprocess.run(command, cwd=source, check=True, env={**os.environ, "PYTHONPATH": ""}, timeout=800)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for arguments in (
        ["--version"],
        ["conformance", "--print-config", "envoy"],
        ["charging", "show"],
        ["init", str(tmp_path / "book")],
    ):
        subprocess.run([target / "bin" / "tollbook", *arguments], cwd=tmp_path, check=True, env=environment, timeout=60)
