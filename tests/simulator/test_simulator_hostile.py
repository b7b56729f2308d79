"""Bodies that no client should send: a vendor answers or refuses, and never falls over."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from simulator_cases import CASES, KEY, Case

from tollbook.simulator import Books, Settings
from tollbook.simulator.catalogue import ROUTES
from tollbook.simulator.reply import Reply
from tollbook.simulator.rulebook import Rulebook
from tollbook.simulator.service import Service

SERVICE = Service(Settings(), Rulebook(0), Books())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner))
HEADERS = {b"authorization": f"Bearer {KEY}".encode(), b"anthropic-version": b"2023-06-01"}


def reply(method: str, path: str, body: bytes, kind: bytes = b"application/json") -> Reply:
    """What the vendor makes of a request, all of its stream included."""
    path, _, query = path.partition("?")
    call = SERVICE.call(method, path, {**HEADERS, b"content-type": kind}, True, True, query)
    call.body = body
    answered = SERVICE.reply(call)
    assert answered.status in (200, 400, 404, 409)
    return answered


def changed(value: Any, path: list[int], other: Any) -> Any:
    """A value with one of its members, found by a path of numbers, replaced."""
    if not path or not isinstance(value, dict | list) or not value:
        return other
    at, rest = path[0] % len(value), path[1:]
    if isinstance(value, list):
        return [changed(part, rest, other) if place == at else part for place, part in enumerate(value)]
    return {
        name: changed(part, rest, other) if place == at else part for place, (name, part) in enumerate(value.items())
    }


@settings(max_examples=300)
@given(st.sampled_from(CASES), st.lists(st.integers(0, 9), min_size=2, max_size=6), VALUES)
def test_a_member_of_any_kind_is_answered_or_refused(case: Case, path: list[int], other: Any) -> None:
    """One member of a good body, however deep, is something else."""
    if not case.body.startswith(b"--"):
        reply("POST", case.path, json.dumps(changed(json.loads(case.body), path, other)).encode())


@settings(max_examples=200)
@given(st.sampled_from(ROUTES.table), st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_answered_or_refused(route: Any, body: bytes) -> None:
    """Bytes and JSON of any kind, for every path there is."""
    reply(route.method, route.path.replace("{model}", "gpt-4o"), body)


@settings(max_examples=100)
@given(
    st.sampled_from([case for case in CASES if case.body.startswith(b"--")]), st.integers(0, 400), st.binary(max_size=9)
)
def test_a_broken_form_is_answered_or_refused(case: Case, at: int, other: bytes) -> None:
    """Some bytes of a form are others, or are not there."""
    reply("POST", case.path, case.body[:at] + other + case.body[at + 9 :], b"multipart/form-data; boundary=b")


def test_a_deep_body_is_refused() -> None:
    """Ten thousand brackets are no reason to fall over."""
    for case in CASES:
        if not case.body.startswith(b"--"):
            deep = b"[" * 10_000 + b"]" * 10_000
            reply("POST", case.path, case.body[:-1] + b',"metadata":' + deep + b"}")
            assert reply("POST", case.path, deep).status == 400
