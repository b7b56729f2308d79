"""The Merkle tree against the vectors of RFC 6962's reference implementation, and its proofs against each other."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.journal.tree import (
    EMPTY_ROOT,
    Hashes,
    Tree,
    consistency_proof,
    extends,
    includes,
    inclusion_proof,
    leaf_hash,
    root_of,
)

LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves of certificate-transparency's merkle_tree_test.cc."""

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Roots over the first 0 to 8 leaves, from the same source."""

SIZES = 130
HASHES = [leaf_hash(str(number).encode()) for number in range(SIZES)]
ALL_ROOTS = [root_of(HASHES[:size]) for size in range(SIZES + 1)]


def grown(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_roots_are_those_of_the_reference_implementation(size: int) -> None:
    """Growing a tree, and computing it at once, give the published roots."""
    assert grown(LEAVES[:size]).root().hex() == ROOTS[size]
    assert root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size]


def test_an_empty_tree_has_the_digest_of_nothing() -> None:
    """RFC 6962 section 2.1: the hash of an empty list is SHA-256 of the empty string."""
    assert EMPTY_ROOT == hashlib.sha256().digest() == Tree().root()


def test_every_inclusion_proof_up_to_130_leaves() -> None:
    """A proof shows its leaf at its place in its tree, and no other leaf, place, size or root."""
    for size in range(1, SIZES + 1):
        for index in range(size):
            proof = inclusion_proof(HASHES[:size], index)
            assert len(proof) <= (size - 1).bit_length()
            assert includes(HASHES[index], index, size, proof, ALL_ROOTS[size])
            assert not includes(HASHES[index - 1], index, size, proof, ALL_ROOTS[size]) or size == 1
            assert not includes(HASHES[index], index ^ 1, size, proof, ALL_ROOTS[size])
            assert not includes(HASHES[index], index, size, proof, ALL_ROOTS[size - 1])
            assert not includes(HASHES[index], index, size, [*proof, HASHES[0]], ALL_ROOTS[size])
            assert not proof or not includes(HASHES[index], index, size, proof[:-1], ALL_ROOTS[size])


def test_every_consistency_proof_up_to_130_leaves() -> None:
    """A proof shows that the smaller tree is the beginning of the larger, and of no other."""
    for second in range(1, SIZES + 1):
        for first in range(1, second + 1):
            proof = consistency_proof(HASHES[:second], first)
            old, new = ALL_ROOTS[first], ALL_ROOTS[second]
            assert extends(first, second, old, new, proof)
            assert not extends(first, second, new, old, proof) or first == second
            assert not extends(first, second, old, ALL_ROOTS[second - 1], proof) or first == second - 1
            assert not extends(first, second, ALL_ROOTS[first - 1], new, proof)
            assert not extends(first, second, old, new, [*proof, HASHES[0]])


@given(st.lists(st.binary(max_size=40), max_size=70), st.data())
@settings(max_examples=60, deadline=None)
def test_a_tree_goes_on_from_its_edge(leaves: list[bytes], data: st.DataObject) -> None:
    """Size and edge are all there is to know of a tree: one made of them grows to the same root."""
    split = data.draw(st.integers(0, len(leaves)))
    first = grown(leaves[:split])
    tree = Tree(first.size, first.edge)
    tree.extend(leaves[split:])
    assert tree.size == len(leaves)
    assert tree.root() == root_of([leaf_hash(leaf) for leaf in leaves])


def test_an_edge_that_does_not_fit_the_size_is_refused() -> None:
    """A tree cannot be made of the wrong number of hashes."""
    with pytest.raises(ValueError, match="edge of 2 hashes, not 1"):
        Tree(3, [HASHES[0]])


def test_proofs_are_asked_for_leaves_that_are_there() -> None:
    """A leaf or a size outside the tree is an error, not a proof of nothing."""
    with pytest.raises(ValueError, match="no leaf 3 in a tree of 3"):
        inclusion_proof(HASHES[:3], 3)
    with pytest.raises(ValueError, match="no tree of 4 leaves within one of 3"):
        consistency_proof(HASHES[:3], 4)
    assert not includes(HASHES[0], 1, 1, [], ALL_ROOTS[1])
    assert not extends(0, 3, ALL_ROOTS[0], ALL_ROOTS[3], [])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 80), st.data())
def test_proofs_from_all_levels_are_those_of_the_rfc(count: int, data: st.DataObject) -> None:
    """With all levels kept, every root and proof of every size is the same as by definition."""
    leaves = [leaf_hash(bytes([number])) for number in range(count)]
    hashes = Hashes(b"".join(leaves))
    size = data.draw(st.integers(1, count))
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    assert hashes.root(size) == root_of(leaves[:size])
    assert hashes.inclusion(index, size) == inclusion_proof(leaves[:size], index)
    assert hashes.consistency(first, size) == consistency_proof(leaves[:size], first)
    for wrong in ((size, size), (0, count + 1)):
        with pytest.raises(ValueError, match="no leaf"):
            hashes.inclusion(*wrong)
    with pytest.raises(ValueError, match="no tree"):
        hashes.consistency(0, size)
