"""A price book: an immutable, dated set of prices, named by the digest of its bytes.

The file is JSON Lines in canonical form (decisions/0007-money-and-price-books.md). The first line is the header:
where the book comes from, and the vendors' rules that are not prices. Each further line is a model of one billing
party with all its rows, in the order of their names. A line is decoded when its model is first asked for, so that a
process that rates three models does not pay for two thousand.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from itertools import combinations
from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import BadInput
from tollbook.core.usage import CLASSES
from tollbook.pricing.choice import Conditions
from tollbook.pricing.entry import FORMAT, Entry, Found, Header, Party
from tollbook.pricing.explain import Explanation, ShownRow, explain, show
from tollbook.pricing.match import Match, is_fine_tuned
from tollbook.pricing.row import DIMENSIONS, Key, Row, conflict, is_date, key_of, problems_of

SHOWN_PROBLEMS: Final = 50
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises on bytes that are not what they should be."""

_header_decoder: Final = msgspec.json.Decoder(Header)
_entry_decoder: Final = msgspec.json.Decoder(Entry)
_encoder: Final = msgspec.json.Encoder(order="sorted")  # for the header's maps; fields are in order as they stand


class _Index:
    """Where the models of one party stand in the file."""

    __slots__ = ("exact", "models", "patterns")

    def __init__(self) -> None:
        self.models: dict[str, int] = {}
        self.exact: dict[str, int] = {}
        self.patterns: list[tuple[int, Match, int]] = []


class PriceBook:
    """An immutable set of prices. Make one with `load`, or `assemble` from entries."""

    def __init__(self, data: bytes, header: Header, offsets: list[int], index: dict[str, _Index]) -> None:
        self._data: Final = data
        self._offsets: Final = offsets
        self._index: Final = index
        self.header: Final = header
        self.digest: Final = sha256_hex(data)

    @classmethod
    def load(cls, data: bytes) -> "PriceBook":
        """Read and verify a book. Raises BadInput with all problems found, each with its line."""
        lines = data.split(b"\n")
        if lines.pop():
            raise BadInput("price book: the last line does not end; the file is cut")
        if not lines:
            raise BadInput("price book: empty; expected a header line and one line per model")
        try:
            header = _header_decoder.decode(lines[0])
        except UNREADABLE as problem:
            raise BadInput(f"price book, line 1: not a header of {FORMAT}: {problem}") from None
        reading = _Reading(header)
        reading.check_header(lines[0])
        for number, line in enumerate(lines[1:], start=2):
            reading.add(number, line)
        reading.finish()
        return cls(data, header, reading.offsets, reading.index)

    @classmethod
    def assemble(cls, header: Header, entries: Iterable[Entry]) -> "PriceBook":
        """A book of these entries. Raises BadInput as `load` does."""
        ordered = sorted(entries, key=lambda entry: (entry.party, entry.model))
        lines = [_encoder.encode(header), *(_encoder.encode(entry) for entry in ordered)]
        return cls.load(b"".join(line + b"\n" for line in lines))

    def dump(self) -> bytes:
        """The bytes that the digest names."""
        return self._data

    @property
    def parties(self) -> list[str]:
        """The billing parties that have prices of their own here."""
        return sorted(self._index)

    def party(self, name: str) -> Party | None:
        """A party's rules; None when the book does not know it."""
        return self.header.parties.get(name)

    def models(self, party: str) -> list[str]:
        """The models of a party, by the source's own names for them."""
        index = self._index.get(party)
        return list(index.models) if index is not None else []

    def entries(self) -> Iterator[Entry]:
        """All models with their prices, in the order of the file."""
        for index in self._index.values():
            for number in index.models.values():
                yield self._entry(number)

    def find(self, party: str, model: str) -> Found:
        """The entry that prices a model for a party, by exact name, else by the first pattern that holds.

        A fine-tuned model is only found where the source speaks of fine-tuned models: its base's price is not its own.
        """
        rules = self.party(party)
        if rules is None:
            return Found(None, "unknown_party")
        name = model.lower()
        found = self._find_own(party, name)
        for other in rules.falls_back:
            if found is None and (found := self._find_own(other, name)) is not None:
                found = found._replace(borrowed=True)
        if found is not None:
            return found
        return Found(None, "fine_tuned" if is_fine_tuned(name) else "unknown_model")

    def explain(
        self,
        party: str,
        model: str,
        at: int,
        *,
        tier: str | None = None,
        region: str | None = None,
        speed: str | None = None,
        processing: str | None = None,
        tokens_input: int | None = None,
    ) -> Explanation:
        """Which rows price a model at an instant, and why its other rows do not.

        `tokens_input` (all input tokens, cached or not) selects the context band; None is the lowest.
        """
        reported = Conditions(processing, tier, speed, region)
        found = self.find(party, model)
        return explain(self.header, self.digest, found, party, model, reported, at, tokens_input)

    def show(self, party: str, model: str) -> list[ShownRow]:
        """All rows of a model, of every tier, band and date; empty when the book does not know it."""
        return show(self.header, self.find(party, model).entry)

    def _find_own(self, party: str, name: str) -> Found | None:
        index = self._index.get(party)
        if index is None:
            return None
        fine_tuned = is_fine_tuned(name)
        number = index.exact.get(name)
        if number is not None:
            entry = self._entry(number)
            return Found(entry) if entry.fine_tuned or not fine_tuned else None
        for _, match, number in index.patterns:
            if match.holds(name):
                entry = self._entry(number)
                if entry.fine_tuned or not fine_tuned:
                    return Found(entry, exact=False)
        return None

    def _entry(self, number: int) -> Entry:
        return _entry_decoder.decode(memoryview(self._data)[self._offsets[number] : self._offsets[number + 1]])


class _Reading:
    """A book while it is being read: its index so far, and what is wrong with it."""

    def __init__(self, header: Header) -> None:
        self.header: Final = header
        self.index: Final[dict[str, _Index]] = {}
        self.offsets: Final[list[int]] = []
        self._position = 0
        self._previous = ("", "")
        self._problems: list[str] = []

    def check_header(self, line: bytes) -> None:
        header = self.header
        self._position = len(line) + 1
        self._canonical(1, line, header)
        if not is_date(header.retrieved):
            self._note(1, f"retrieved {header.retrieved!r} is not a date")
        for rule in header.billed_as:
            for name in (rule.class_, rule.as_):
                if name not in CLASSES:
                    self._note(1, f"billed_as: class {name!r} is not one of the usage classes")
            self._known_parties("billed_as", rule.parties)
        for name, party in header.parties.items():
            self._known_parties(f"{name}: falls_back", party.falls_back)
            meanings = [meaning for words in party.reported.values() for meaning in words.values()]
            for dimension in {*party.reported, *party.silent, *(key for meaning in meanings for key in meaning)}:
                if dimension not in DIMENSIONS:
                    self._note(1, f"{name}: {dimension!r} is not one of {', '.join(DIMENSIONS)}")

    def add(self, number: int, line: bytes) -> None:
        self.offsets.append(self._position)
        self._position += len(line) + 1
        try:
            entry = _entry_decoder.decode(line)
        except UNREADABLE as problem:
            self._note(number, f"not a model with its prices: {problem}")
            return
        where = f"{entry.party} {entry.model}"
        self._canonical(number, line, entry)
        if (entry.party, entry.model) <= self._previous:
            self._note(number, f"{where}: out of order or twice; lines stand in the order of party and model")
        self._previous = (entry.party, entry.model)
        if entry.party not in self.header.parties:
            self._note(number, f"{where}: the header does not know this party")
        for trouble in (*entry.match.problems(), *_row_problems(entry.rows)):
            self._note(number, f"{where}: {trouble}")
        self._place(number, entry, where)

    def finish(self) -> None:
        for index in self.index.values():
            index.patterns.sort(key=lambda pattern: pattern[0])
        self.offsets.append(self._position)
        if self._problems:
            more = len(self._problems) - SHOWN_PROBLEMS
            shown = self._problems[:SHOWN_PROBLEMS] + ([f"... and {more} more"] if more > 0 else [])
            raise BadInput("price book:\n" + "\n".join(shown))

    def _place(self, number: int, entry: Entry, where: str) -> None:
        index = self.index.setdefault(entry.party, _Index())
        place = len(self.offsets) - 1
        index.models[entry.model] = place
        for name in entry.match.equals:
            if index.exact.setdefault(name, place) != place:
                self._note(number, f"{where}: {name!r} is already the name of another model")
        if entry.match.has_patterns != (entry.rank is not None):
            self._note(number, f"{where}: patterns need a rank, and only they have one")
        elif entry.rank is not None:
            if any(rank == entry.rank for rank, _, _ in index.patterns):
                self._note(number, f"{where}: rank {entry.rank} is taken")
            index.patterns.append((entry.rank, entry.match, place))

    def _known_parties(self, where: str, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.header.parties:
                self._note(1, f"{where}: {name!r} is not a party of this book")

    def _canonical(self, number: int, line: bytes, value: Struct) -> None:
        if _encoder.encode(value) != line:
            self._note(number, "not canonical JSON (sorted keys, no spaces, defaults left out)")

    def _note(self, number: int, problem: str) -> None:
        self._problems.append(f"line {number}: {problem}")


def _row_problems(rows: tuple[Row, ...]) -> list[str]:
    found = ["rows in more than one currency"] if len({row.currency for row in rows}) > 1 else []
    same: dict[Key, list[tuple[int, Row]]] = {}
    for number, row in enumerate(rows, start=1):
        problems = problems_of(row)
        found += [f"row {number}: {problem}" for problem in problems]
        if not problems:
            same.setdefault(key_of(row), []).append((number, row))
    for group in same.values():
        for (first, before), (second, after) in combinations(group, 2):
            if conflict(before, after):
                found.append(f"rows {first} and {second} price the same thing at the same time")
    return found


@cache
def base_book() -> PriceBook:
    """The book that ships with the package."""
    return PriceBook.load(resources.files("tollbook.pricing").joinpath("books", "base.jsonl").read_bytes())
