"""The RFC 6962 Merkle tree: roots that grow with a log, and proofs that anybody can check without the log.

A leaf is hashed as SHA-256(0x00 || data), a node as SHA-256(0x01 || left || right). The tree that grows keeps its right
edge only, one hash per set bit of its size; proofs are made from the leaf hashes. Source: RFC 6962 section 2.1,
RFC 9162 sections 2.1.3 and 2.1.4.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

_sha256: Final = hashlib.sha256

EMPTY_ROOT: Final = _sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf's data."""
    return _sha256(b"\0" + leaf).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return _sha256(b"\1" + left + right).digest()


class Tree:
    """A tree that grows at its right edge.

    `edge` are the roots of its full subtrees from left to right: with the size it is all there is to know.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, edge: Iterable[bytes] = ()) -> None:
        self.size = size
        self._edge = list(edge)
        if len(self._edge) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has an edge of {size.bit_count()} hashes, not {len(self._edge)}")

    @property
    def edge(self) -> tuple[bytes, ...]:
        return tuple(self._edge)

    def append(self, leaf: bytes) -> None:
        """Add one leaf's data."""
        self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add the data of many leaves."""
        nodes = [_sha256(b"\0" + leaf).digest() for leaf in leaves]
        place, self.size = self.size, self.size + len(nodes)
        left_over = []
        while nodes:
            if place & 1:
                nodes.insert(0, self._edge.pop())
            if len(nodes) & 1:
                left_over.append(nodes.pop())
            nodes = [
                _sha256(b"\1" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=True)
            ]
            place >>= 1
        self._edge += reversed(left_over)

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self._edge:
            return EMPTY_ROOT
        node = self._edge[-1]
        for left in reversed(self._edge[:-1]):
            node = _node_hash(left, node)
        return node


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    return _node_hash(root_of(hashes[:split]), root_of(hashes[split:]))


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from leaf `index` to the root over `hashes`, from the bottom up."""
    if not 0 <= index < len(hashes):
        raise ValueError(f"no leaf {index} in a tree of {len(hashes)}")
    if len(hashes) == 1:
        return []
    split = _split(len(hashes))
    if index < split:
        return [*inclusion_proof(hashes[:split], index), root_of(hashes[split:])]
    return [*inclusion_proof(hashes[split:], index - split), root_of(hashes[:split])]


def consistency_proof(hashes: Sequence[bytes], size: int) -> list[bytes]:
    """The hashes that show that the tree over `hashes` begins with the tree over its first `size` leaves."""
    if not 0 < size <= len(hashes):
        raise ValueError(f"no tree of {size} leaves within one of {len(hashes)}")
    return _subproof(hashes, size, whole=True)


def _subproof(hashes: Sequence[bytes], size: int, *, whole: bool) -> list[bytes]:
    if size == len(hashes):
        return [] if whole else [root_of(hashes)]
    split = _split(len(hashes))
    if size <= split:
        return [*_subproof(hashes[:split], size, whole=whole), root_of(hashes[split:])]
    return [*_subproof(hashes[split:], size - split, whole=False), root_of(hashes[:split])]


class Hashes:
    """All levels of a tree over leaf hashes, packed, so that every proof takes a few look-ups only.

    64 bytes a leaf. `leaves` is the leaf hashes one after the other.
    """

    def __init__(self, leaves: bytes) -> None:
        self._levels: Final = [leaves]
        while len(level := self._levels[-1]) >= 64:
            pairs = range(0, len(level) // 64 * 64, 64)
            self._levels.append(b"".join([_sha256(b"\1" + level[place : place + 64]).digest() for place in pairs]))

    def __len__(self) -> int:
        return len(self._levels[0]) // 32

    def root(self, size: int) -> bytes:
        """The root over the first `size` leaves."""
        return self._node(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """As `inclusion_proof`, in the tree of the first `size` leaves."""
        if not 0 <= index < size <= len(self):
            raise ValueError(f"no leaf {index} in a tree of {size}")
        begin, end, proof = 0, size, list[bytes]()
        while end - begin > 1:
            middle = begin + _split(end - begin)
            if index < middle:
                proof.append(self._node(middle, end))
                end = middle
            else:
                proof.append(self._node(begin, middle))
                begin = middle
        return proof[::-1]

    def consistency(self, first: int, second: int) -> list[bytes]:
        """As `consistency_proof`, between the trees of the first `first` and `second` leaves."""
        if not 0 < first <= second <= len(self):
            raise ValueError(f"no tree of {first} leaves within one of {second}")
        begin, end, whole, proof = 0, second, True, list[bytes]()
        while first != end:
            middle = begin + _split(end - begin)
            if first <= middle:
                proof.append(self._node(middle, end))
                end = middle
            else:
                proof.append(self._node(begin, middle))
                begin, whole = middle, False
        if not whole:
            proof.append(self._node(begin, end))
        return proof[::-1]

    def _node(self, begin: int, end: int) -> bytes:
        """The root over leaves `begin` to `end`, which is a place where a tree divides."""
        size = end - begin
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            place = (begin >> level) * 32
            return self._levels[level][place : place + 32]
        middle = begin + _split(size)
        return _node_hash(self._node(begin, middle), self._node(middle, end))


def _split(size: int) -> int:
    """The largest power of two smaller than the size: where a tree divides."""
    return 1 << (size - 1).bit_length() - 1


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that `leaf` (a leaf hash) is leaf `index` of the tree of that size and root.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    place, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            node = _node_hash(step, node)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            node = _node_hash(node, step)
        place, last = place >> 1, last >> 1
    return last == 0 and node == root


def extends(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the tree of size `second` begins with the tree of size `first`.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = _node_hash(step, old), _node_hash(step, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = _node_hash(new, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root
