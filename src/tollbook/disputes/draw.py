"""Drawing a sample so that neither side can choose it: from the seal of the population and the auditor's seed. Pure.

The seal is fixed when the auditor names his seed, and the seed is his: SHA-256(seal, newline, seed, newline, counter)
gives one number after the other. Whoever has both draws the same items again.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Final

METHODS: Final = {
    "random": "every request alike",
    "money_unit": "every unit of money alike: a request in proportion to its charge, the largest for certain",
    "stratified": "every request alike within its model; models in proportion to their requests",
}
"""How a sample is drawn."""


def numbers(seal: str, seed: str, name: str = "") -> Iterator[int]:
    """256-bit numbers in an order that nobody could choose; `name` tells several draws of one sample apart."""
    counter = 0
    while True:
        text = f"{seal}\n{seed}\n{name}\n{counter}\n".encode()
        yield int.from_bytes(hashlib.sha256(text).digest())
        counter += 1


def below(source: Iterator[int], limit: int) -> int:
    """The next number below a limit, each as likely as the other."""
    largest = (1 << 256) // limit * limit
    return next(number for number in source if number < largest) % limit


def ordinals(seal: str, seed: str, count: int, size: int, name: str = "") -> list[int]:
    """`count` different places of a population of `size`, in order; all of them when there are no more."""
    if count >= size:
        return list(range(size))
    source, found = numbers(seal, seed, name), set[int]()
    while len(found) < count:
        found.add(below(source, size))
    return sorted(found)


def units(seal: str, seed: str, count: int, total: int) -> list[int]:
    """The units of money that are drawn: one in each of `count` equal steps of the total, from a common start."""
    if total <= 0 or count <= 0:
        return []
    start = below(numbers(seal, seed, "money_unit"), total)
    return sorted({(start + total * step // count) % total for step in range(count)})


def portions(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """How many items of each stratum: in proportion, the largest remainders first; never more than there are."""
    total = sum(sizes.values())
    if not total:
        return {}
    count = min(count, total)
    found = {name: count * size // total for name, size in sizes.items()}
    order = sorted(sizes, key=lambda name: (-(count * sizes[name] % total), name))
    for name in order[: count - sum(found.values())]:
        found[name] += 1
    return found
