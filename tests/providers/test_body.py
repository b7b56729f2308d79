"""Request bodies are judged by the very bytes the vendor gets."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tollbook.core.faults import BadInput
from tollbook.providers import body as body_module
from tollbook.providers.body import AmbiguousBody, Splice, scan, splice, text_member

TRICKY = ["model", "stream", "a", "mod\u00e9l", 'q"uote', "back\\slash", "", "\U0001f6e3"]
NAMES = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
SPACES = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t ", "  "])


def write_name(draw: st.DrawFn, name: str) -> str:
    """A name as JSON, at times with letters written as escapes."""
    if draw(st.integers(0, 3)):
        return json.dumps(name, ensure_ascii=draw(st.booleans()))
    units = name.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, list[tuple[str, Any]]]:
    """The text of a JSON object, compact or with spaces, and its members in order, repeated names included."""
    members = draw(st.lists(st.tuples(NAMES, VALUES), max_size=6))
    spaced = draw(st.booleans())
    ascii_only = draw(st.booleans())

    def space() -> str:
        return draw(SPACES) if spaced else ""

    parts = []
    for name, value in members:
        written = json.dumps(value, ensure_ascii=ascii_only, separators=None if spaced else (",", ":"))
        parts.append(f"{space()}{write_name(draw, name)}{space()}:{space()}{written}{space()}")
    return space() + "{" + (",".join(parts) or space()) + "}" + space(), members


@given(objects())
@example(('{"model":"a","model":"b"}', [("model", "a"), ("model", "b")]))
@example(('{"model":1,"model":1}', [("model", 1), ("model", 1)]))
@example(('{"model":1,"mod\\u0065l":11}', [("model", 1), ("model", 11)]))
@example(('{ "a" : 1 , "a" : 12 }', [("a", 1), ("a", 12)]))
def test_members_and_places_are_exact(written: tuple[str, list[tuple[str, Any]]]) -> None:
    """Distinct names give every value and its place; a repeated name, however it is written, is refused."""
    text, members = written
    body = text.encode()
    names = [name for name, _ in members]
    if len(set(names)) != len(names):
        with pytest.raises(AmbiguousBody):
            scan(body)
        return
    found = scan(body)
    values, spans = found.values, found.spans
    assert list(values) == names == list(spans)
    for name, value in members:
        start, end = spans[name]
        assert body[start:end] == values[name]
        assert json.loads(values[name]) == value


@given(objects())
def test_adding_up_and_walking_agree(written: tuple[str, list[tuple[str, Any]]]) -> None:
    """Where the quick way has an answer it is the one of the exact way."""
    body = written[0].encode()
    found = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    quick = body_module._add_up(body, found)
    if quick is not None:
        walked = body_module._walk(body, found, "the request body")
        assert (quick.values, quick.spans) == (walked.values, walked.spans)


@given(objects(), TEXTS)
def test_a_spliced_body_differs_in_one_value_only(written: tuple[str, list[tuple[str, Any]]], model: str) -> None:
    """Replacing one value leaves every other byte, and the object but for that value, as it was."""
    text, members = written
    names = [name for name, _ in members]
    if len(set(names)) != len(names) or not names:
        return
    body = text.encode()
    start, end = scan(body).spans[names[0]]
    spliced = splice(body, [Splice(start, end, msgspec.json.encode(model))])
    assert json.loads(spliced) == {**dict(members), names[0]: model}
    assert spliced.startswith(body[:start]) and spliced.endswith(body[end:])


AMBIGUOUS = {
    "two models": b'{"model":"gpt-4o-mini","messages":[],"model":"gpt-5.5"}',
    "two models, spaced": b'{ "model": "gpt-4o-mini", "model": "gpt-5.5" }',
    "two equal models": b'{"model":"m","model":"m"}',
    "a model in escapes": b'{"model":"gpt-4o-mini","\\u006dodel":"gpt-5.5"}',
    "a prefix as value": b'{"a":1,"a":12}',
    "no object": b'["model"]',
    "text": b'"model"',
    "nothing": b"",
    "spaces": b" \n",
    "byte order mark": b'\xef\xbb\xbf{"model":"m"}',
    "not UTF-8 in a value": b'{"model":"m","messages":"\xff"}',
    "not UTF-8 in a name": b'{"\xff":1}',
    "surrogates in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "overlong UTF-8": b'{"a":"\xc0\x80"}',
    "UTF-16": '{"model":"m"}'.encode("utf-16"),
    "lone high surrogate": b'{"a":"\\ud800"}',
    "lone high surrogate before text": b'{"a":"\\ud800 and more"}',
    "lone low surrogate": b'{"a":"\\udc00"}',
    "not a number": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "trailing comma": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "comment": b'{"a":1/**/}',
    "trailing object": b'{"a":1}{"a":2}',
    "trailing letter": b'{"a":1}x',
    "trailing zero byte": b'{"a":1}\x00',
    "cut": b'{"a":1',
    "leading zero": b'{"a":01}',
    "control character": b'{"a":"\x01"}',
    "raw newline": b'{"a":"x\ny"}',
    "unknown escape": b'{"a":"\\q"}',
    "no-break space": b'{"a":\xc2\xa01}',
    "nested too deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested too deep, cut": b'{"a":' + b'{"a":' * 100_000,
}


@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_what_two_decoders_may_read_differently_is_refused(body: bytes) -> None:
    """A body that is not exactly one unambiguous JSON object is `ambiguous_body`, whatever is wrong with it."""
    with pytest.raises(AmbiguousBody) as refused:
        scan(body)
    assert refused.value.code == "ambiguous_body"
    assert str(refused.value)


@pytest.mark.parametrize("wrong", [b"\xff", b"[]", b'{"a":1,"a":2}'])
def test_a_refusal_names_the_place(wrong: bytes) -> None:
    """The message names what was read, so that a nested object is not blamed on the whole."""
    with pytest.raises(AmbiguousBody, match='member "stream_options"'):
        scan(wrong, 'member "stream_options"')


def test_a_refusal_shows_no_control_characters() -> None:
    """A name from outside comes back shortened and printable."""
    name = '\x1b[31m"' + "x" * 500
    body = json.dumps({name: 1})[:-1].encode() + b"," + json.dumps(name).encode() + b":2}"
    with pytest.raises(AmbiguousBody) as refused:
        scan(body)
    assert "\x1b" not in str(refused.value) and len(str(refused.value)) < 200


@given(st.binary(max_size=60))
@example(b"{}")
@example(b'{"a":1}')
def test_any_bytes_are_read_as_a_strict_decoder_does_or_refused(body: bytes) -> None:
    """What is accepted is the same object for another decoder; nothing but AmbiguousBody is ever raised."""
    try:
        values = scan(body).values
    except AmbiguousBody:
        return
    assert {name: json.loads(raw) for name, raw in values.items()} == json.loads(body.decode())


def test_repeated_names_inside_messages_pass() -> None:
    """What nobody here judges is not our business: it goes to the vendor as it came."""
    values = scan(b'{"model":"m","messages":[{"role":"user","role":"user","model":"x"}]}').values
    assert values["model"] == b'"m"'


@pytest.mark.parametrize("raw", [None, b"1", b"null", b'["m"]'])
def test_a_member_that_must_be_text_is_asked_for(raw: bytes | None) -> None:
    """A missing or odd model is bad input that names the member."""
    with pytest.raises(BadInput, match='"model"'):
        text_member({} if raw is None else {"model": raw}, "model")
