"""Documentation is complete, true to the code, and whole: pages made from code are current, links lead somewhere."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from tests.reference.pages import PAGES, REFERENCE, commands

from tollbook.cli import health
from tollbook.config import parse
from tollbook.core import vocabulary
from tollbook.core.faults import Fault
from tollbook.gateway.refusal import REFUSALS
from tollbook.journal.entry import KINDS
from tollbook.journal.finding import FINDINGS
from tollbook.simulator import FAULTS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "decisions").glob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)

FORBIDDEN = re.compile(
    # Written so that this file does not name them either.
    r"/[w]ork/|/opt/[w]heels|py[p]i\.org|python[h]osted|registry\.[n]pmjs|index-url|find-links",
    re.IGNORECASE,
)
"""What no file of the project names: a machine it was made on, an index its packages came from."""


def tracked() -> list[Path]:
    """The files that are part of the project."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in (ROOT / line for line in listed.splitlines()) if path.is_file()]


@pytest.mark.parametrize("name", PAGES)
def test_pages_made_from_code_are_current(name: str) -> None:
    """A change of a command, setting, entry, word, table or code changes its page: run `make reference`."""
    assert (REFERENCE / name).read_text() == PAGES[name]()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A link to a file of ours, or to a heading in it, has a target."""
    for target in _LINK.findall(_FENCE.sub("", path.read_text())):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), f"{path.relative_to(ROOT)} links to {target}, which is not there"
        if anchor:
            headings = [_anchor(heading) for heading in _HEADING.findall(there.read_text())]
            assert anchor in headings, f"{path.relative_to(ROOT)} links to {target}; headings there: {headings}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_pages_that_code_names_are_there() -> None:
    """A page named in a docstring, a message or a document in plain text can be opened."""
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml"} and "pricing" not in path.parts:
            for name in re.findall(r"(?<![\w/.])(?:docs|decisions)/[\w/-]+\.md", path.read_text()):
                assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)} names {name}"


def test_every_closed_word_is_documented() -> None:
    """Entry kinds, findings, refusals, faults, checks and words of the closed lists all stand in the reference."""
    pages = {name: (REFERENCE / name).read_text() for name in PAGES}
    for page, words in {
        "entries.md": [*KINDS, *FINDINGS],
        "exit-codes.md": [
            *REFUSALS,
            *health.CHECKS,
            *(fault.__name__ for fault in Fault.__subclasses__() if _is_core(fault)),
        ],
        "vocabulary.md": [word for name in vars(vocabulary) if name.isupper() for word in getattr(vocabulary, name)],
    }.items():
        missing = [word for word in words if word not in pages[page]]
        assert not missing, f"{page} lacks {missing}"


def _is_core(fault: type[Fault]) -> bool:
    return fault.__module__ == "tollbook.core.faults"


def test_every_command_is_documented_and_shown() -> None:
    """Each command has words of help, stands in the changelog, and has a schema when it prints JSON."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for name, command in commands():
        short = name.removeprefix("tollbook ")
        assert command.help, name
        assert f"`{short}`" in changelog, f"the changelog does not name {short}"
        assert all(getattr(option, "help", "") for option in command.params), f"an option of {name} has no help"
        if any("--json" in option.opts for option in command.params):
            assert (REFERENCE / "schemas" / f"{short.replace(' ', '-')}.json").is_file(), f"{short} has no schema"


def test_every_fault_of_the_simulator_is_documented() -> None:
    """A user of the simulator finds every fault in its page."""
    page = (ROOT / "docs" / "simulator.md").read_text()
    assert [name for name in FAULTS if f"`{name}`" not in page] == []


def test_examples_of_configuration_can_be_read() -> None:
    """Every YAML example that names a book is a whole configuration, and is read without a problem."""
    examples = [
        block
        for path in DOCUMENTS
        for block in re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL)
        if block.lstrip().startswith("book:")
    ]
    for block in examples:
        parse(block)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_are_plain(path: Path) -> None:
    """Documents have a title, no work left to do, and lines that can be read in a terminal."""
    text = path.read_text()
    assert text.startswith("# "), "a document begins with its title"
    assert not re.search(r"\b(TODO|FIXME|TBD|XXX)\b", text)


def test_nothing_names_the_machine_it_was_made_on() -> None:
    """No file of the project holds a path or host of where it was made."""
    own = Path(__file__)
    for path in tracked():
        if path == own or path.suffix in {".zst", ".parquet", ".sqlite", ".png"}:
            continue
        found = FORBIDDEN.search(path.read_text(errors="replace"))
        assert found is None, f"{path.relative_to(ROOT)} names {found and found.group()}"


def test_fixtures_are_json() -> None:
    """Schemas are formatted as one writes them by hand: two spaces, a line break at the end."""
    for path in (REFERENCE / "schemas").glob("*.json"):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n", path.name
