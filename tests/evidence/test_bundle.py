"""Bundles of evidence: what goes in verifies anywhere, and nothing that was changed does."""

import base64
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from evidence_house import USER, fill

from tollbook.assembly import service
from tollbook.assembly.exhibits import Exhibit, Export, export, sign_bundle
from tollbook.core.faults import BadInput, NotFound
from tollbook.evidence.bundle import SEED, Raw, Signature, Unsigned, line_of, sealed, signed_text
from tollbook.evidence.check import CODES, Checked, check
from tollbook.journal.book import Book
from tollbook.journal.checkpoint import parse_checkpoint
from tollbook.journal.heads import book_lines
from tollbook.journal.personal import PersonalDirectory
from tollbook.journal.recording import BookLane
from tollbook.journal.tail import lane_directories
from tollbook.journal.verify import verify

pytestmark = pytest.mark.xdist_group("bundle")

SCRIPT = Path(__file__).parent.parent.parent / "examples" / "verify-bundle.mjs"
NODE = shutil.which("node")


class House(NamedTuple):
    """A book with requests of two tenants."""

    root: Path
    acme: list[str]
    beta: list[str]

    def export(self, *requests: str, **options: Any) -> bytes:
        return export(self.root, Exhibit(list(requests), **options)).data


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("evidence") / "book"
    service.init(root)
    personal = PersonalDirectory(root)
    personal.remember("acme", USER, "user")
    personal.close()
    ids = fill(root, acme=9, beta=3)
    fill(root, acme=2)  # a later checkpoint than the one that covers them first
    return House(root, ids["acme"], ids["beta"])


@pytest.fixture(scope="module")
def bundle(house: House) -> bytes:
    return house.export(*house.acme[:2])


def codes(checked: Checked) -> set[str]:
    found = {finding.code for finding in checked.findings}
    assert found <= set(CODES)
    return found


def test_it_verifies_with_the_public_key_alone(house: House, bundle: bytes) -> None:
    """Entries, checkpoints, an opening; the sums by the proven entries; and a later checkpoint extends the first."""
    checked = check(bundle, Book.open(house.root).key)
    assert checked.findings == [] and checked.given
    assert checked.manifest is not None and checked.manifest.tenant == "acme"
    assert checked.entries == 4 and checked.openings == 2
    first, later = checked.checkpoints
    assert first.size < later.size
    assert checked.amounts == {one: {"USD": "0.000125"} for one in house.acme[:2]}
    assert "<h1>Evidence: 2 requests</h1>" in (checked.report or "") and USER in (checked.report or "")
    assert verify(house.root).findings == []


def test_what_was_handed_out_is_on_record(house: House, bundle: bytes) -> None:
    """The entry names the digest that was signed, the requests, and who asked."""
    entries = [json.loads(line.bytes) for line in book_lines(house.root) if line.kind == "evidence.exported"]
    digest = hashlib.sha256(bundle.splitlines()[-2]).hexdigest()
    (entry,) = [one for one in entries if one["digest"] == digest]
    assert entry["requests"] == house.acme[:2] and entry["tenant"] == "acme" and "local:" in entry["actor"]


def test_personal_values_can_be_withheld(house: House, bundle: bytes) -> None:
    """Without them the same entries verify, and the value is nowhere in the file."""
    withheld = house.export(house.acme[0], withhold=True)
    assert check(withheld).findings == [] and check(withheld).openings == 0
    assert USER.encode() not in withheld and USER.encode() in bundle


def test_another_tenants_data_never_enters(house: House) -> None:
    """Requests of two tenants are refused, but for an auditor; a bundle of one has no word of the other."""
    with pytest.raises(BadInput, match="2 tenants"):
        house.export(house.acme[0], house.beta[0])
    assert b"beta" not in house.export(*house.acme)
    complete = check(house.export(house.acme[0], house.beta[0], complete=True))
    assert complete.findings == [] and complete.manifest is not None and complete.manifest.tenant is None
    with pytest.raises(NotFound):
        house.export("0199e0c5-0000-7000-8000-ffffffffffff")


def test_every_byte_counts(bundle: bytes) -> None:
    """A byte flipped, anywhere: it does not verify, and it is said where. Each line's ends and middle, and a sample."""
    chance = random.Random(7)
    ends = [place for place, letter in enumerate(bundle) if letter == 10]
    places = {max(0, end + step) for end in ends for step in (-3, -2, -1, 0, 1, 20, 80) if end + step < len(bundle)}
    places |= set(range(120)) | set(range(len(bundle) - 260, len(bundle)))
    places |= set(chance.sample(range(len(bundle)), 500))
    for place in sorted(places):
        bad = bytearray(bundle)
        bad[place] ^= 1 << chance.randrange(8)
        checked = check(bytes(bad))
        assert checked.findings, f"byte {place} counts for nothing"
        line = bundle.count(b"\n", 0, place) + 1
        told = checked.findings[0].line
        assert told is None or abs(told - line) <= 1, (place, line, checked.findings)


def test_every_bit_of_the_signature_counts(house: House, bundle: bytes) -> None:
    """Also those that a decoder of base64 passes by; a second signature, or another bundle's, is refused as well."""
    for place in range(len(bundle) - 120, len(bundle)):
        for bit in range(8):
            bad = bytearray(bundle)
            bad[place] ^= 1 << bit
            assert check(bytes(bad)).findings, (place, bit)
    lines = bundle.splitlines()
    note = json.loads(lines[-1])["note"]
    other = json.loads(house.export(house.acme[6]).splitlines()[-1])["note"]
    previous = hashlib.sha256(lines[-2]).hexdigest()
    body = b"".join(line + b"\n" for line in lines[:-1])
    for wrong in (note + "— other AAAAAAAA\n", other, note.replace("— ", "—  "), ""):
        again = body + line_of(len(lines) - 1, previous, Signature(note=wrong)) + b"\n"
        assert codes(check(again)) == {"signature_wrong"}, wrong


def test_cut_extended_moved_or_mixed_is_refused(house: House, bundle: bytes) -> None:
    """Truncation at every line, bytes after the end, lines dropped, doubled, swapped, or of another bundle."""
    lines = bundle.splitlines(keepends=True)
    for count in range(1, len(lines)):
        assert codes(check(b"".join(lines[:count]))) & {"bundle_cut"}
    assert codes(check(bundle[:-1])) == {"bundle_cut"}
    for rest in (b"\n", b" ", b"x\n", lines[-1], bundle):
        assert codes(check(bundle + rest)) & {"bundle_extended", "bundle_cut"}, rest
    other = house.export(house.acme[5]).splitlines(keepends=True)
    for place in range(2, len(lines) - 1):
        for bad in (
            lines[:place] + lines[place + 1 :],
            [*lines[:place], lines[place], *lines[place:]],
            [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]],
            lines[:place] + other[place:],
        ):
            assert check(b"".join(bad)).findings


def forged(
    house: House, bundle: bytes, change: Callable[[list[dict[str, Any]]], None], root: Path | None = None
) -> bytes:
    """The bundle with other content, chained again and signed by the book's own key: what an operator could do."""
    documents = [json.loads(line) for line in bundle.splitlines()][:-1]
    change(documents)
    previous, lines = SEED, []
    for number, document in enumerate(documents):
        body = {name: value for name, value in document.items() if name not in ("n", "p", "k")}
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))[1:]
        lines.append(f'{{"n":{number},"p":"{previous}","k":"{document["k"]}",{text}'.encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    book = Book.open(root or house.root)
    note = book.signer().note(signed_text(documents[0]["book"], len(lines), previous)).decode()
    return sealed(Unsigned(len(lines), b"".join(line + b"\n" for line in lines), previous), note)


def lines_of(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in documents if one["k"] == kind]


def test_the_operator_cannot_forge_what_the_tree_holds(house: House, bundle: bytes) -> None:
    """Signed anew by the book's own key: changed amounts, proofs, heads, checkpoints, values, rows; all are found."""
    assert check(forged(house, bundle, lambda documents: None)).findings == []

    def cheaper(documents: list[dict[str, Any]]) -> None:
        for one in lines_of(documents, "entry"):
            one["line"] = one["line"].replace("0.000125", "0.000005")

    def other_proof(documents: list[dict[str, Any]]) -> None:
        one = lines_of(documents, "entry")[0]
        one["proof"] = one["proof"][1:]

    def other_place(documents: list[dict[str, Any]]) -> None:
        lines_of(documents, "entry")[0]["sequence"] += 1

    def other_heads(documents: list[dict[str, Any]]) -> None:
        one = lines_of(documents, "heads")[0]
        one["line"] = one["line"].replace('"number":', '"number": ')

    def other_origin(documents: list[dict[str, Any]]) -> None:
        one = lines_of(documents, "checkpoint")[0]
        told = parse_checkpoint(one["note"].encode())
        one["note"] = Book.open(house.root).signer().sign(told._replace(origin="tollbook/other")).decode()

    def other_consistency(documents: list[dict[str, Any]]) -> None:
        lines_of(documents, "checkpoint")[1]["consistency"] = ["00" * 32]

    def other_value(documents: list[dict[str, Any]]) -> None:
        lines_of(documents, "opening")[0]["value"] = "eve@example.com"

    def dropped(documents: list[dict[str, Any]]) -> None:
        documents.remove(lines_of(documents, "entry")[0])
        documents[0]["lines"]["entry"] -= 1

    def not_counted(documents: list[dict[str, Any]]) -> None:
        documents.remove(lines_of(documents, "told")[0])

    def other_requests(documents: list[dict[str, Any]]) -> None:
        documents[0]["requests"] = [house.acme[0]]

    def other_tenant(documents: list[dict[str, Any]]) -> None:
        documents[0]["tenant"] = "beta"

    for change, code in (
        (cheaper, "entry_not_included"),
        (other_proof, "entry_not_included"),
        (other_place, "entry_not_included"),
        (other_heads, "heads_not_included"),
        (other_origin, "checkpoint_wrong"),
        (other_consistency, "checkpoint_wrong"),
        (other_value, "opening_wrong"),
        (dropped, "entry_missing"),
        (not_counted, "manifest_differs"),
        (other_requests, "entry_foreign"),
        (other_tenant, "entry_foreign"),
    ):
        assert code in codes(check(forged(house, bundle, change))), change.__name__


def test_a_wrong_price_row_is_found(house: House, bundle: bytes) -> None:
    """A row is named by what it says: other words, or a row that no charge names, are refused."""

    def add(content: dict[str, Any], name: str) -> Callable[[list[dict[str, Any]]], None]:
        def change(documents: list[dict[str, Any]]) -> None:
            documents.append({"k": "price", "book": "b" * 64, "row": name, "content": content, "source": None})
            documents[0]["lines"]["price"] = 1

        return change

    name = hashlib.sha256(b'{"price":"1"}').hexdigest()[:12]
    for content, told in (({"price": "1"}, "no charge"), ({"price": "2"}, "by what it says")):
        (finding,) = check(forged(house, bundle, add(content, name))).findings
        assert finding.code == "price_wrong" and told in finding.message


def test_another_key_is_refused(house: House, bundle: bytes, tmp_path: Path) -> None:
    """By a key that is not the book's, and signed by another book's key."""
    service.init(tmp_path / "other")
    other = Book.open(tmp_path / "other")
    assert codes(check(bundle, other.key)) == {"key_unknown"}
    assert codes(check(forged(house, bundle, lambda documents: None, other.root))) == {"signature_wrong"}


def test_a_history_that_was_rewritten_is_found_by_a_checkpoint_from_outside(house: House, bundle: bytes) -> None:
    """A checkpoint that was kept elsewhere agrees; one of the same size over other heads is another history's."""
    note = (house.root / "checkpoints" / "latest").read_bytes()
    checkpoint = check(bundle).checkpoints[0]
    kept = (house.root / "checkpoints" / str(checkpoint.size)).read_bytes()
    assert check(bundle, checkpoint=kept).compared is True
    rewritten = Book.open(house.root).signer().sign(checkpoint._replace(root=b"\1" * 32))
    assert codes(check(bundle, checkpoint=rewritten)) == {"checkpoint_differs"}
    assert check(bundle, checkpoint=note).findings == []


def test_no_bundle_is_told_so(bundle: bytes) -> None:
    """What never was a bundle, or is of a later format, is bad input; bombs and depth are refused as such."""
    deep = b'{"n":0,"p":"' + SEED.encode() + b'","k":"manifest","x":' + b"[" * 100_000 + b"}\n"
    for data in (b"", b"PK\3\4", b"\x28\xb5\x2f\xfd", b"{}\n", b"\0" * 1000):
        with pytest.raises(BadInput, match="not an evidence bundle"):
            check(data)
    assert check(deep).findings and check(deep + deep).findings
    with pytest.raises(BadInput, match="format 2"):
        lines = bundle.replace(b'"format":1', b'"format":2', 1).splitlines()
        previous = hashlib.sha256(lines[0]).hexdigest()
        check(lines[0] + b"\n" + line_of(1, previous, _signature()) + b"\n")


def _signature() -> Any:
    return Signature(note="x")


def test_a_replaced_key_is_followed(tmp_path: Path) -> None:
    """A bundle made after the signing key was replaced verifies by the first key, and by the new one."""
    root = tmp_path / "book"
    service.init(root)
    ids = fill(root, acme=2)["acme"]
    rotated = service.replace_signing_key(root, "routine", None)
    ids += fill(root, acme=1)["acme"]
    data = export(root, Exhibit(ids)).data
    for key in (Book.open(root).key, rotated.key):
        assert check(data, key).findings == []


def test_what_is_signed_must_be_a_bundle(house: House) -> None:
    """The book's key signs no text that somebody makes up."""
    writer = BookLane.open(Book.open(house.root), release="test")
    try:
        with pytest.raises(BadInput):
            sign_bundle(writer, Export(digest="x\ny", lines=1, requests=[]), "a")
        with pytest.raises(ValueError, match="begins with its name"):
            writer.sign("tollbooks")
    finally:
        writer.close("test")


@pytest.mark.skipif(NODE is None, reason="there is no Node here")
def test_a_short_script_in_another_language_agrees(house: House, bundle: bytes, tmp_path: Path) -> None:
    """The example in JavaScript finds intact what is, and broken what is not."""

    def run(data: bytes) -> int:
        (tmp_path / "b").write_bytes(data)
        done = subprocess.run(
            [NODE or "", str(SCRIPT), str(tmp_path / "b"), Book.open(house.root).key], capture_output=True
        )
        return done.returncode

    assert run(bundle) == 0
    chance = random.Random(3)
    for place in chance.sample(range(len(bundle)), 12):
        assert run(bundle[:place] + bytes([bundle[place] ^ 1]) + bundle[place + 1 :]) == 3, place
    assert run(bundle[:-1]) == 3 and run(bundle + b"\n") == 3 and run(b"nothing") == 2
    cheaper = forged(house, bundle, lambda documents: _set(lines_of(documents, "entry")[0], "sequence", 3))
    assert run(cheaper) == 3


def _set(document: dict[str, Any], name: str, value: Any) -> None:
    document[name] = value


def test_a_line_that_is_no_text_can_be_carried() -> None:
    """An entry whose bytes are not UTF-8 stands in base64."""
    assert Raw(lane="l", sequence=0, base64=base64.b64encode(b"\xff").decode()).bytes() == b"\xff"
    for wrong in (Raw(lane="l", sequence=0), Raw(lane="l", sequence=0, line="x", base64="eA==")):
        with pytest.raises(ValueError, match="no line"):
            wrong.bytes()


def test_the_journal_is_as_before(house: House) -> None:
    """Exporting writes to the book's own lane only."""
    assert verify(house.root).findings == []
    assert len([path for path in lane_directories(house.root) if path.name.startswith("worker-")]) == 2
