"""Objects: named by their digest, durable before they are named, never half there."""

import os
from pathlib import Path

import pytest
from bookmaking import ToldClock, make_book
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tollbook.core.digest import sha256_hex
from tollbook.core.faults import NotFound, Tampered
from tollbook.journal.objects import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(make_book(tmp_path, ToldClock()).root)


@given(st.binary(max_size=2000))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_put_is_got(store: ObjectStore, data: bytes) -> None:
    """Bytes come back by their digest; the same bytes twice are one object."""
    named = store.put(data)
    assert (named.sha256, named.bytes) == (sha256_hex(data), len(data))
    assert store.put(data) == named
    assert store.get(named.sha256) == data
    assert [path.name for path in store.path(named.sha256).parent.iterdir()].count(named.sha256) == 1


def test_objects_are_private(store: ObjectStore) -> None:
    """Objects are readable by their owner alone."""
    path = store.path(store.put(b"prices").sha256)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_object_that_is_not_there_is_not_found(store: ObjectStore) -> None:
    """A digest without its object is a fault that names it."""
    with pytest.raises(NotFound, match="0000"):
        store.get("0" * 64)
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        store.get("../../book.json")


def test_a_changed_object_is_not_given_out_and_can_be_put_again(store: ObjectStore) -> None:
    """Reading checks the digest; putting the right bytes again mends it."""
    named = store.put(b"prices")
    store.path(named.sha256).write_bytes(b"pricez")
    with pytest.raises(Tampered, match=named.sha256):
        store.get(named.sha256)
    store.put(b"prices")
    assert store.get(named.sha256) == b"prices"


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_disk_that_fails_leaves_no_part(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """An object that could not be written whole is not there, and its draft is gone."""

    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            store.put(b"prices")
    assert [path for path in store.path(sha256_hex(b"prices")).parent.glob("**/*") if path.is_file()] == []
