"""Verifying a bundle: with nothing but the file and the book's public key.

Two things are found out, one after the other. Is the file, byte for byte, what the book's key signed? And do the
journal's lines in it hang on a signed checkpoint, belong to the requests that the manifest names, and miss none?
"""

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from tollbook.core.digest import canonical_json, sha256_hex
from tollbook.core.faults import BadInput, Tampered
from tollbook.evidence.bundle import (
    FILE_LIMIT,
    FORMAT,
    KINDS,
    LINE_LIMIT,
    SEED,
    EntryLine,
    HeadsLine,
    Manifest,
    Opening,
    PriceRow,
    Raw,
    Signature,
    SignedCheckpoint,
    Told,
    line_of,
    signed_text,
)
from tollbook.evidence.requests import Requests
from tollbook.journal.checkpoint import Checkpoint, parse_checkpoint, signature_of, verify_checkpoint, verify_note
from tollbook.journal.entry import Heads, KeyRotated, read_head
from tollbook.journal.keychain import KeyChain
from tollbook.journal.line import Line
from tollbook.journal.tree import extends, includes, leaf_hash

CODES: Final = {
    "bundle_cut": "the end of the file is missing",
    "bundle_extended": "bytes follow the signature",
    "line_changed": "a line does not follow the one before it: one of the two was changed, dropped, put in or moved",
    "line_unreadable": "a line is not what its kind says, or is too large",
    "signature_wrong": "the last line is not a signature of the book's key over what stands before it",
    "key_unknown": "the key given is none of the keys of this book",
    "key_not_signed": "a signing key was replaced without the signature of the one before",
    "manifest_differs": "the manifest says something else than the lines hold",
    "checkpoint_wrong": "a checkpoint is not signed by the book's key, or does not extend the one before",
    "heads_not_included": "heads are not in the tree that the checkpoint signs",
    "entry_not_included": "an entry is not in the tree that the heads name",
    "entry_foreign": "an entry is of a request or a tenant that the bundle is not about",
    "entry_missing": "an entry that another one names, or any entry of a request, is not in the bundle",
    "opening_wrong": "a value is not the one behind its digest, or its digest stands in no entry",
    "price_wrong": "a price row is not the one that its name stands for, or no charge names it",
    "told_wrong": "a diagnosis is not the one that the case's entry names by its digest",
    "checkpoint_differs": "the checkpoint given is of another history than the bundle's",
}
"""What can be wrong with a bundle."""

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


class BundleFinding(NamedTuple):
    """What is wrong, and in which line of the file, counted from 1 (None: with the file as a whole)."""

    code: str
    line: int | None
    message: str


class Checked(NamedTuple):
    """What came of it. `key` is the one the book's trust begins with, `given` whether the caller brought it; `compared`
    whether the caller's checkpoint could be compared; `amounts` what the proven ratings come to, by request."""

    manifest: Manifest | None
    findings: list[BundleFinding]
    key: str | None
    given: bool
    compared: bool | None
    checkpoints: list[Checkpoint]
    entries: int
    openings: int
    amounts: dict[str, dict[str, str | None]]
    report: str | None


class _Stop(Exception):
    """Ends the look at a file that does not hold; no fault of ours."""

    def __init__(self, code: str, line: int | None, message: str) -> None:
        super().__init__(message)
        self.finding: Final = BundleFinding(code, line, message)


def is_bundle(start: bytes) -> bool:
    """Whether a file that begins so is, or was, a bundle."""
    return start.startswith(b'{"n":0,') or b'"k":"manifest"' in start[:256]


def check(data: bytes, key: str | None = None, checkpoint: bytes | None = None) -> Checked:
    """Verify a bundle. `key` is the verification key (vkey) that the caller trusts, `checkpoint` a signed one that was
    kept elsewhere. Raises BadInput when this is no bundle, or one of a later format, or key or checkpoint are none."""
    if not is_bundle(data):
        raise BadInput("it is not an evidence bundle: that begins with a manifest; make one: tollbook evidence export")
    if len(data) > FILE_LIMIT:
        raise BadInput(f"it is larger than {FILE_LIMIT} bytes, which no bundle is")
    checker = _Checker(key, checkpoint)
    try:
        checker.run(data)
    except _Stop as stop:
        checker.findings.append(stop.finding)
    return checker.result()


class _Checker:
    def __init__(self, key: str | None, checkpoint: bytes | None) -> None:
        self._given: Final = key
        self._outside: Final = checkpoint
        self.findings: Final[list[BundleFinding]] = []
        self._manifest: Manifest | None = None
        self._keys: KeyChain | None = None
        self._parts: list[tuple[int, Any]] = []
        self._checkpoints: Final[list[Checkpoint]] = []
        self._heads: Final[dict[int, Heads]] = {}
        self._requests = Requests([], None)
        self._openings = 0
        self._compared: bool | None = None

    def run(self, data: bytes) -> None:
        raws = _chained(data)
        manifest = self._parts_of(raws)
        self._keys = self._follow_keys(manifest)
        self._check_signature(raws, manifest)
        self._check_counts(manifest)
        self._requests = Requests(manifest.requests, manifest.tenant)
        steps: list[tuple[type[Any], Callable[[int, Any], None]]] = [
            (SignedCheckpoint, self._check_checkpoint),
            (HeadsLine, self._check_heads),
            (EntryLine, self._check_entry),
            (Opening, self._check_opening),
            (PriceRow, self._check_price),
            (Told, self._check_told),
        ]
        for kind, step in steps:
            for number, part in self._parts:
                if type(part) is kind:
                    step(number, part)
        for code, message in self._requests.missing():
            self._report(code, None, message)
        self._compare_outside()

    def result(self) -> Checked:
        report = next((part.html for _, part in self._parts if hasattr(part, "html")), None)
        return Checked(
            manifest=self._manifest,
            findings=self.findings,
            key=self._given or (self._manifest.key if self._manifest else None),
            given=self._given is not None,
            compared=self._compared,
            checkpoints=self._checkpoints,
            entries=self._requests.entries,
            openings=self._openings,
            amounts=self._requests.amounts() if not self.findings else {},
            report=report,
        )

    def _parts_of(self, raws: list[bytes]) -> Manifest:
        """Decode every line. Raises _Stop at one that cannot be."""
        for number, raw in enumerate(raws, start=1):
            kind = KINDS.get(_kind(raw))
            if kind is None:
                raise _Stop("line_unreadable", number, f"holds {_kind(raw)!r}, which this release does not know")
            try:
                self._parts.append((number, msgspec.json.decode(raw, type=kind)))
            except UNREADABLE as fault:
                raise _Stop("line_unreadable", number, f"cannot be read: {fault}") from None
        first, last = self._parts[0][1], self._parts[-1][1]
        if not isinstance(first, Manifest):
            raise _Stop("line_changed", 1, "is not the manifest, with which a bundle begins")
        if first.format != FORMAT:
            raise BadInput(f"it is a bundle of format {first.format}; this release reads {FORMAT}: use a later one")
        self._manifest = first
        if not isinstance(last, Signature):
            raise _Stop("bundle_cut", len(raws), "is not the signature, with which a bundle ends: the end was cut")
        for number, part in self._parts[:-1]:
            if isinstance(part, Signature):
                raise _Stop("bundle_extended", number + 1, "follows the signature, after which nothing may")
        return first

    def _follow_keys(self, manifest: Manifest) -> KeyChain:
        chain = KeyChain(manifest.book, manifest.key)
        for number, part in self._parts:
            if isinstance(part, EntryLine):
                line = _line(number, part)
                if line.kind == "key.rotated":
                    try:
                        chain.take(line, msgspec.json.decode(line.bytes, type=KeyRotated).since)
                    except (Tampered, *UNREADABLE) as fault:
                        raise _Stop("key_not_signed", number, str(fault)) from None
        known = [link.key for link in chain.links]
        if self._given is not None and self._given not in known:
            raise _Stop("key_unknown", None, f"the key given is not this book's: its keys are {', '.join(known)}")
        trusted = known.index(self._given) if self._given is not None else 0
        for link in chain.links[trusted + 1 :]:
            if not link.signed:
                why = "the key before it was lost and did not sign it; give the key that you trust, with --key"
                raise _Stop("key_not_signed", None, f"key {link.key}: {why}")
        return chain

    def _check_signature(self, raws: list[bytes], manifest: Manifest) -> None:
        assert self._keys is not None
        number, signature = len(raws), self._parts[-1][1]
        previous = sha256_hex(raws[-2])
        if raws[-1] != line_of(number - 1, previous, signature) or not _is_plain(signature.note):
            raise _Stop("signature_wrong", number, "has another form than it is written in: it was changed")
        try:
            text = verify_note(signature.note.encode(), self._keys.current)
        except (Tampered, BadInput) as fault:
            raise _Stop("signature_wrong", number, f"does not hold: {fault}") from None
        if text != signed_text(manifest.book, number - 1, previous):
            raise _Stop("signature_wrong", number, "signs something else than the lines before it")

    def _check_counts(self, manifest: Manifest) -> None:
        counts: dict[str, int] = {}
        names = {kind: name for name, kind in KINDS.items()}
        for _, part in self._parts[1:-1]:
            name = names[type(part)]
            counts[name] = counts.get(name, 0) + 1
        if counts != manifest.lines:
            self._report("manifest_differs", 1, f"counts {manifest.lines}, and the lines are {counts}")

    def _check_checkpoint(self, number: int, part: SignedCheckpoint) -> None:
        assert self._keys is not None and self._manifest is not None
        try:
            told = parse_checkpoint(part.note.encode())
            told = verify_checkpoint(part.note.encode(), self._keys.at(told.size))
        except (Tampered, BadInput) as fault:
            return self._report("checkpoint_wrong", number, f"does not hold: {fault}")
        if told.origin != self._manifest.origin:
            return self._report("checkpoint_wrong", number, f"is of {told.origin}, not of {self._manifest.origin}")
        if self._checkpoints:
            first, steps = self._checkpoints[0], _hashes(part.consistency or [])
            if steps is None or not extends(first.size, told.size, first.root, told.root, steps):
                return self._report("checkpoint_wrong", number, "does not extend the checkpoint before it")
        self._checkpoints.append(told)
        return None

    def _check_heads(self, number: int, part: HeadsLine) -> None:
        line, steps = _line(number, part), _hashes(part.proof)
        base = self._checkpoints[0] if self._checkpoints else None
        leaf = leaf_hash(line.bytes)
        if base is None or steps is None or not includes(leaf, part.number - 1, base.size, steps, base.root):
            return self._report("heads_not_included", number, f"heads {part.number} are not in the signed tree")
        try:
            heads = msgspec.json.decode(line.bytes, type=Heads)
        except UNREADABLE as fault:
            return self._report("line_unreadable", number, f"heads {part.number} cannot be read: {fault}")
        if line.kind != "heads" or heads.number != part.number:
            return self._report("heads_not_included", number, f"is not heads {part.number}")
        self._heads[part.number] = heads
        return None

    def _check_entry(self, number: int, part: EntryLine) -> None:
        line, steps = _line(number, part), _hashes(part.proof)
        place = f"lane {part.lane}, entry {part.sequence}"
        heads = self._heads.get(part.heads)
        head = next((one for one in heads.lanes if one.lane == part.lane), None) if heads else None
        root = _hashes([head.root]) if head else None
        if head is None or not root or steps is None or part.sequence != line.sequence:
            return self._report("entry_not_included", number, f"{place}: heads {part.heads} do not speak of it")
        if not includes(leaf_hash(line.bytes), part.sequence, head.last + 1, steps, root[0]):
            return self._report(
                "entry_not_included", number, f"{place} is not in the tree that heads {part.heads} name"
            )
        why = self._requests.take(line)
        if why is not None:
            self._report("entry_foreign", number, f"{place}: {why}")
        return None

    def _check_opening(self, number: int, part: Opening) -> None:
        opening = _hashes([part.opening])
        digest = hashlib.sha256((opening or [b""])[0] + part.value.encode()).digest()
        if opening is None or urlsafe_b64encode(digest)[:43].decode() != part.digest:
            return self._report("opening_wrong", number, f"the value of {part.field} is not behind its digest")
        if not self._requests.holds(part.digest):
            return self._report("opening_wrong", number, f"the digest of {part.field} stands in no entry")
        self._openings += 1
        return None

    def _check_price(self, number: int, part: PriceRow) -> None:
        try:
            name = sha256_hex(canonical_json(part.content))[:12]
        except (TypeError, RecursionError):
            name = ""
        if name != part.row:
            self._report("price_wrong", number, f"the row's name is {part.row}, and by what it says it is {name}")
        elif not self._requests.holds(part.row):
            self._report("price_wrong", number, f"no charge in the bundle was priced by row {part.row}")

    def _check_told(self, number: int, part: Told) -> None:
        """A diagnosis is the one whose digest stands in the entry of the case."""
        if part.name != "diagnosis":
            return
        try:
            digest = sha256_hex(canonical_json(part.document))
        except (TypeError, RecursionError):
            digest = ""
        if not self._requests.holds(digest):
            self._report("told_wrong", number, "the diagnosis is not the one that is on record for the case")

    def _compare_outside(self) -> None:
        if self._outside is None:
            return
        told = parse_checkpoint(self._outside)
        assert self._keys is not None
        try:
            told = verify_checkpoint(self._outside, self._keys.at(told.size))
        except Tampered as fault:
            return self._report("checkpoint_differs", None, f"the checkpoint given: {fault}")
        same = [one for one in self._checkpoints if one.size == told.size]
        self._compared = bool(same)
        if any(one.root != told.root for one in same):
            self._report("checkpoint_differs", None, f"the checkpoint given signs {told.size} heads with another root")
        return None

    def _report(self, code: str, line: int | None, message: str) -> None:
        self.findings.append(BundleFinding(code, line, message))


def _chained(data: bytes) -> list[bytes]:
    """The lines, each following the one before. Raises _Stop where they do not."""
    if not data.endswith(b"\n"):
        raise _Stop("bundle_cut", data.count(b"\n") + 1, "does not end: the file was cut")
    raws = data[:-1].split(b"\n")
    previous = SEED
    for number, raw in enumerate(raws, start=1):
        if len(raw) > LINE_LIMIT:
            raise _Stop("line_unreadable", number, f"is longer than {LINE_LIMIT} bytes")
        if not raw.startswith(b'{"n":%d,"p":"%s","k":"' % (number - 1, previous.encode())):
            ended = number > 2 and _kind(raws[number - 2]) == "signature"
            code = "bundle_extended" if ended else "line_changed"
            told = "follows the signature" if ended else f"does not follow line {number - 1}: one of them was changed"
            raise _Stop(code, number, told if number > 1 else "does not begin as a bundle's first line does")
        previous = sha256_hex(raw)
    if len(raws) < 2:
        raise _Stop("bundle_cut", len(raws), "is the only line: the file was cut")
    return raws


def _kind(raw: bytes) -> str:
    """What a line holds, by its leading fields."""
    return raw[:200].partition(b'"k":"')[2].partition(b'"')[0].decode(errors="replace")


def _line(number: int, part: Raw) -> Line:
    """A line of the journal out of a bundle's line. Raises _Stop when it is none."""
    try:
        raw = part.bytes()
    except ValueError as fault:
        raise _Stop("line_unreadable", number, str(fault)) from None
    head = read_head(raw)
    if head is None:
        raise _Stop("line_unreadable", number, "does not hold a line of a journal")
    return Line(part.lane, head.sequence, head.recorded, head.kind, sha256_hex(raw), raw)


def _hashes(texts: list[str]) -> list[bytes] | None:
    """Hashes from hexadecimal; None when one is none."""
    if any(len(text) != 64 or not set(text) <= set("0123456789abcdef") for text in texts) or len(texts) > 64:
        return None
    return [bytes.fromhex(text) for text in texts]


def _is_plain(note: str) -> bool:
    """Whether a note has one signature, in the one way that it is written."""
    try:
        raw = signature_of(note.encode())
    except BadInput:
        return False
    return raw is not None and note.endswith(f" {b64encode(raw).decode()}\n")
