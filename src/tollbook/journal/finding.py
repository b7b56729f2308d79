"""What verifying a book can find wrong with it: a closed list."""

from typing import Final, NamedTuple

FINDINGS: Final = {
    "entry_changed": "an entry's bytes are not those that were chained",
    "entry_missing": "one or more entries were dropped",
    "entry_inserted": "an entry stands where there was none",
    "entries_swapped": "two entries stand in each other's place",
    "entry_renumbered": "an entry bears another number than its place",
    "lane_missing": "a lane is on record, and its directory is gone",
    "lane_cut": "a lane ends before what heads, its closing or a seal say",
    "lane_extended": "a lane goes on after its end",
    "lane_torn": "a lane ends with a part of a line, and no closing explains it",
    "lane_not_closed": "a lane's writer is dead, and nobody wrote where the lane ends",
    "lane_of_another_book": "a lane is bound to another book or to another name",
    "lane_opened_twice": "two entries open the same lane",
    "counts_differ": "a lane's running counts are not those of its entries",
    "unknown_heads": "a lane is bound to heads that are not in the book",
    "heads_out_of_order": "heads do not follow one another",
    "heads_differ": "heads say another digest or root of a lane than it has",
    "checkpoint_unusable": "a checkpoint cannot be read, or its signature is not the book's",
    "checkpoint_differs": "a signed checkpoint does not fit the heads of the book",
    "segment_damaged": "a sealed segment cannot be decompressed",
    "segment_differs": "a sealed segment does not hold what its seal says",
    "object_missing": "an entry names an object that is not there",
    "object_changed": "an object is not what its name says",
    "key_differs": "the verification key is not the one the book was born with",
    "key_chain_broken": "a signing key does not follow from the ones before it",
    "actor_not_proven": "an act names somebody who signs acts with a personal key, and is not signed by it",
    "entry_unreadable": "an entry holds, but says nothing that this release can read",
}
"""Every kind of finding, and what it means."""


class Finding(NamedTuple):
    """One thing that is wrong: where (lane and entry, as far as there is one), what, and what to do next."""

    code: str
    lane: str | None
    sequence: int | None
    message: str
