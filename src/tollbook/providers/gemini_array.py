"""The elements of one JSON array that arrives piece by piece, cut from the bytes at any split.

Without `alt=sse` Google streams an answer as one array of objects. Nothing is judged but where an element ends: what
stands in it is for a decoder.
"""

import re
from typing import Final

from tollbook.providers.sse import EVENT_LIMIT, Piece

_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

_QUOTE, _OPEN, _OPEN_LIST, _CLOSE, _CLOSE_LIST = b'"{[}]'


class ArraySplitter:
    """Cuts an array into the objects in it. Holds what is not whole yet, never more than `limit` bytes.

    A piece is one object, or, when it is longer than that, an empty one that says so.
    """

    __slots__ = ("_depth", "_element", "_held", "_in_text", "_limit", "_overlong", "_position")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit: Final = limit
        self._held: Final = bytearray()
        self._position = 0
        self._element: int | None = None
        self._depth = 0
        self._in_text = False
        self._overlong = False

    @property
    def clear(self) -> bool:
        """Whether nothing of an element is held."""
        return self._depth <= 1

    def push(self, data: bytes) -> list[Piece]:
        """Take the next bytes; give the elements that are complete."""
        held = self._held
        held.extend(data)
        pieces: list[Piece] = []
        while (end := self._next_end()) is not None:
            if self._depth == 1:
                if self._overlong:
                    pieces.append((b"", False))
                elif self._element is not None and held[self._element] == _OPEN:
                    pieces.append((bytes(held[self._element : end]), True))
                self._overlong = False
                self._element = None
        self._let_go()
        return pieces

    def _let_go(self) -> None:
        """Forget what is not needed: what stands between elements, and an element that has become too long."""
        if self._element is not None and len(self._held) - self._element > self._limit:
            self._overlong = True
            self._element = None
        kept = self._position if self._element is None else self._element
        del self._held[:kept]
        self._position -= kept
        if self._element is not None:
            self._element = 0

    def _next_end(self) -> int | None:
        """Where the next object or list ends; None when more bytes are needed."""
        held = self._held
        while True:
            if self._in_text:
                found = _TEXT.match(held, self._position)
                assert found is not None, "the pattern matches nothing at all"
                self._position = found.end()
                if self._position == len(held) or held[self._position] != _QUOTE:
                    return None
                self._position += 1
                self._in_text = False
            structure = _STRUCTURE.search(held, self._position)
            if structure is None:
                self._position = len(held)
                return None
            self._position = structure.end()
            mark = held[structure.start()]
            if mark == _QUOTE:
                self._in_text = True
            elif mark in (_OPEN, _OPEN_LIST):
                if self._depth == 1:
                    self._element = structure.start()
                self._depth += 1
            else:
                self._depth -= 1
                return self._position
