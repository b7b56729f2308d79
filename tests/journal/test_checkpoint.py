"""Signed checkpoints: C2SP's formats, and every way in which a note can be wrong."""

from base64 import b64decode, b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollbook.core.faults import BadInput, Tampered
from tollbook.journal.checkpoint import Checkpoint, Signer, parse_checkpoint, verify_checkpoint

SEED = bytes(range(32))
SIGNER = Signer("tollbook/b", SEED)
CHECKPOINT = Checkpoint("tollbook/b", 7, bytes(range(100, 132)))
NOTE = SIGNER.sign(CHECKPOINT)

# From the documentation of golang.org/x/mod/sumdb/note, whose format C2SP signed-note v1.0.0 specifies.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_a_signature_of_another_implementation_holds() -> None:
    """The signature in Go's documentation verifies under its key: key id, base64 and signed text are read alike."""
    with pytest.raises(BadInput, match="not a checkpoint"):
        verify_checkpoint(GO_NOTE.encode(), GO_KEY)
    with pytest.raises(Tampered, match="does not fit its text"):
        verify_checkpoint(GO_NOTE.replace("answer", "anwser").encode(), GO_KEY)


def test_a_checkpoint_comes_back_as_it_was_signed() -> None:
    """What was signed verifies under the signer's public key, and is what was meant."""
    assert verify_checkpoint(NOTE, SIGNER.verification_key) == CHECKPOINT
    assert parse_checkpoint(NOTE) == CHECKPOINT


def test_the_bytes_of_a_note_are_fixed() -> None:
    """Ed25519 is deterministic, so a note of known seed and text is known to the byte."""
    text, signature = NOTE.decode().split("\n\n")
    assert text == "tollbook/b\n7\nZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM="
    assert signature.startswith("— tollbook/b ")
    key_id = bytes.fromhex(SIGNER.verification_key.split("+")[1])
    raw = b64decode(signature.split(" ")[2])
    assert raw[:4] == key_id
    assert len(raw) == 4 + 64
    assert SIGNER.sign(CHECKPOINT) == NOTE


@given(st.integers(0, len(NOTE) - 2), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_no_byte_of_a_note_can_change(place: int, flip: int) -> None:
    """Whatever byte is another, the note is refused: as unreadable, or as not signed."""
    changed = bytearray(NOTE)
    changed[place] ^= flip
    with pytest.raises((BadInput, Tampered)):
        verify_checkpoint(bytes(changed), SIGNER.verification_key)


def test_another_key_does_not_verify() -> None:
    """A note of another signer is not ours, whether under its own name or under ours."""
    other = Signer("tollbook/other", SEED)
    with pytest.raises(Tampered, match="not signed by tollbook/b"):
        verify_checkpoint(other.sign(CHECKPOINT), SIGNER.verification_key)
    forger = Signer("tollbook/b", bytes(32))
    with pytest.raises(Tampered, match="not signed by tollbook/b"):
        verify_checkpoint(forger.sign(CHECKPOINT), SIGNER.verification_key)


def test_cosignatures_and_extension_lines_are_allowed() -> None:
    """Other signatures may stand beside ours, and later formats may say more in the signed text."""
    witness = Signer("witness", bytes(32)).sign(CHECKPOINT).split(b"\n\n")[1]
    assert verify_checkpoint(NOTE + witness, SIGNER.verification_key) == CHECKPOINT
    assert verify_checkpoint(NOTE.replace(b"\n\n", b"\n\n" + witness), SIGNER.verification_key) == CHECKPOINT
    extended = NOTE.split(b"\n\n")[0] + b"\nan extension\n\n" + NOTE.split(b"\n\n")[1]
    assert parse_checkpoint(extended) == CHECKPOINT


@pytest.mark.parametrize(
    ("note", "wanted"),
    [
        (b"", "needs a text, an empty line"),
        (b"\xff\n\n", "not UTF-8"),
        (NOTE[:-1], "ended by a newline"),
        (NOTE.replace(b"\n7\n", b"\n07\n"), "second line must be the size"),
        (NOTE.replace(b"\n7\n", b"\n-7\n"), "second line must be the size"),
        (NOTE.replace(b"ZGVm", b"ZG!m"), "third line must be a root"),
        (NOTE.replace(b"ZGVm", b""), "third line must be a root"),
        (b"tollbook/b\n7\n\n" + NOTE.split(b"\n\n")[1], "three lines"),
        (NOTE.replace(b"tollbook/b\n7", b"tollbook/b\t\n7"), "control characters"),
    ],
)
def test_what_is_no_checkpoint_is_refused(note: bytes, wanted: str) -> None:
    """Each malformed note is refused with the reason."""
    with pytest.raises(BadInput, match=wanted):
        parse_checkpoint(note)


def test_a_line_that_is_no_signature_is_refused() -> None:
    """What stands among the signatures must be signatures."""
    with pytest.raises(BadInput, match="no signature line"):
        verify_checkpoint(NOTE.replace("— ".encode(), b"- "), SIGNER.verification_key)


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("", "not an Ed25519 verification key"),
        (SIGNER.verification_key[:-4], "not an Ed25519 verification key"),
        (SIGNER.verification_key.replace("tollbook/b", "tollbook/c"), "does not fit its name"),
        ("a+00000000+" + b64encode(b"\x02" + bytes(32)).decode(), "not an Ed25519 verification key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(key: str, wanted: str) -> None:
    """A verification key that is cut, renamed or of another algorithm is refused with the reason."""
    with pytest.raises(BadInput, match=wanted):
        verify_checkpoint(NOTE, key)
