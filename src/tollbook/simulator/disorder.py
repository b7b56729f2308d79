"""The order in which the results of a batch come: that of its lines, unless a fault of one of them says otherwise."""

from collections.abc import Iterable, Mapping
from random import Random

from tollbook.simulator.answer import Answer


def said_of(answers: Iterable[Answer]) -> frozenset[str]:
    """The faults that the lines of a batch dictated for the whole of it."""
    return frozenset(fault for answer in answers for fault in _names(answer.quirks) if fault.startswith("batch_"))


def _names(quirks: object) -> Iterable[str]:
    return quirks if isinstance(quirks, Mapping) else ()


def ordered(lines: list[bytes], faults: frozenset[str]) -> list[bytes]:
    """The results as they are written."""
    written = [one for place, line in enumerate(lines) for one in [line] * (2 - place % 2)]
    written = written if "batch_repeated" in faults else list(lines)
    if "batch_shuffled" in faults:
        Random(len(written)).shuffle(written)  # noqa: S311  the same in every run
    return written
