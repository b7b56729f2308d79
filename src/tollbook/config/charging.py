"""Reading charging rules: a file of their own, checked like the configuration, all problems at once."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

from tollbook.config.reader import Place, Reader, unknown
from tollbook.core.charging import ENDINGS, Charging
from tollbook.core.faults import BadConfiguration
from tollbook.core.vocabulary import BEARERS, CAUSES

PACKAGED: Final = "charging.yaml"


def load_charging(path: Path | None) -> Charging:
    """The rules of a file; those that ship with the package when none is given. Raises BadConfiguration."""
    if path is None:
        return parse_charging(files(__package__).joinpath(PACKAGED).read_text(encoding="utf-8"))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadConfiguration(f"{path}: cannot be read: {fault}; `charging` names a file of rules") from None
    return parse_charging(text, str(path))


def parse_charging(text: str, source: str = PACKAGED) -> Charging:
    """The rules in a text; `source` names it in errors. Raises BadConfiguration."""
    reader = Reader(text, source)
    charging: Charging = reader.read(Charging)
    sound = not reader.problems
    for index, rule in enumerate(charging.rules):
        place: Place = ("rules", index)
        _check_words("outcome", rule.outcomes, ENDINGS, (*place, "outcomes"), reader)
        _check_words("cause", rule.causes, CAUSES, (*place, "causes"), reader)
        if rule.bears not in BEARERS:
            reader.problem((*place, "bears"), unknown("bearer", rule.bears, BEARERS))
    if sound and not reader.problems:
        _check_whole(charging, reader)
    reader.finish()
    return charging


def _check_words(what: str, words: Iterable[str], known: Iterable[str], place: Place, reader: Reader) -> None:
    for index, word in enumerate(words):
        if word not in known:
            reader.problem((*place, index), unknown(what, word, known))


def _check_whole(charging: Charging, reader: Reader) -> None:
    """Every pair is decided, and every rule decides some."""
    deciding = {(outcome, cause): charging.deciding(outcome, cause) for outcome in ENDINGS for cause in CAUSES}
    open_pairs = [f"{outcome} by {cause}" for (outcome, cause), place in deciding.items() if place is None]
    if open_pairs:
        more = f" and {len(open_pairs) - 5} more" if len(open_pairs) > 5 else ""
        reader.problem(
            ("rules",),
            f"nothing decides {', '.join(open_pairs[:5])}{more}; end with a rule that names neither outcome nor cause",
        )
    for index in range(len(charging.rules)):
        if index not in deciding.values():
            reader.problem(("rules", index), "never decides: the rules before it decide all that it names; remove it")
