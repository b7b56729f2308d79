"""What goes to the vendor is the client's body, byte for byte but for what the gateway must change."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_wire import ANTHROPIC, OPENAI, call_of

from tollbook.core.faults import BadInput
from tollbook.providers.body import AmbiguousBody, BillingFieldRefused
from tollbook.providers.contract import Adapter, Prepared


def prepare(adapter: Adapter, body: bytes, model: str = "m") -> Prepared:
    return adapter.prepare(call_of(adapter, body), model)


@pytest.mark.parametrize("adapter", [OPENAI, ANTHROPIC])
def test_a_body_that_needs_nothing_is_the_same_object(adapter: Adapter) -> None:
    """Nothing is copied or written anew when the model is the client's own."""
    body = b'{ "model" : "m", "messages":[ ], "x_unknown": 1.50 }'
    assert prepare(adapter, body).body is body


@pytest.mark.parametrize("adapter", [OPENAI, ANTHROPIC])
def test_only_the_model_is_replaced(adapter: Adapter) -> None:
    """Another model stands in the place of the old one; a model inside the messages is nobody's business."""
    body = b'{"messages":[{"model":"alias"}], "model" : "alias" ,"seed":1.0}'
    assert prepare(adapter, body, 'q"x').body == b'{"messages":[{"model":"alias"}], "model" : "q\\"x" ,"seed":1.0}'


def test_a_model_written_in_escapes_is_the_same_model() -> None:
    """The model is compared as text, not as bytes."""
    body = b'{"model":"gpt\\u002d4o"}'
    assert prepare(OPENAI, body, "gpt-4o").body is body


OPTIONS = [
    (b'{"stream":true,"model":"m"}', b'{"stream":true,"stream_options":{"include_usage":true},"model":"m"}', True),
    (b'{"model":"m","stream":true}', b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}', True),
    (
        b'{ "model": "m", "stream" : true }',
        b'{ "model": "m", "stream" : true,"stream_options":{"include_usage":true} }',
        True,
    ),
    (
        b'{"model":"m","stream":true,"stream_options":{ }}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true }}',
        True,
    ),
    (
        b'{"model":"m","stream_options": {"include_obfuscation":false},"stream":true}',
        b'{"model":"m","stream_options": {"include_usage":true,"include_obfuscation":false},"stream":true}',
        True,
    ),
    (
        b'{"model":"m","stream":true,"stream_options":{"include_usage" : false}}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage" : true}}',
        True,
    ),
    (
        b'{"model":"m","stream":true,"stream_options":{"include_usage":null}}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        True,
    ),
    (
        b'{"model":"m","stream":true,"stream_options":null}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        True,
    ),
    (b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}', None, False),
    (b'{"model":"m","stream":true,"stream_options":{"include_usage":0}}', None, False),
    (b'{"model":"m","stream":true,"stream_options":"include_usage"}', None, False),
    (b'{"model":"m","stream":false}', None, False),
    (b'{"model":"m","stream":null,"stream_options":{}}', None, False),
    (b'{"model":"m"}', None, False),
]


@pytest.mark.parametrize(("body", "sent", "hides"), OPTIONS)
def test_a_stream_is_asked_for_its_usage(body: bytes, sent: bytes | None, hides: bool) -> None:
    """A stream that was not asked for its usage is; one that was, and everything else, is left alone."""
    prepared = prepare(OPENAI, body)
    assert prepared.body == (body if sent is None else sent)
    assert prepared.hides_usage is hides


@pytest.mark.parametrize("order", list(permutations(["model", "stream", "stream_options"])))
def test_several_changes_land_in_their_places(order: tuple[str, ...]) -> None:
    """Model and options are both changed, in whatever order they stand."""
    written = {"model": '"alias"', "stream": "true", "stream_options": "{}"}
    body = "{" + ",".join(f'"{name}":{written[name]}' for name in order) + "}"
    sent = json.loads(prepare(OPENAI, body.encode(), "m").body)
    assert sent == {"model": "m", "stream": True, "stream_options": {"include_usage": True}}


def test_stream_options_that_two_decoders_may_read_differently_are_refused() -> None:
    """An object we judge may not repeat a name."""
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":false,"include_usage":true}}'
    with pytest.raises(AmbiguousBody, match="stream_options"):
        prepare(OPENAI, body)


def test_anthropic_streams_need_no_asking() -> None:
    """Anthropic reports its usage in every stream; nothing is added and nothing hidden."""
    body = b'{"model":"m","stream":true}'
    assert prepare(ANTHROPIC, body) == Prepared(path="/v1/messages", body=body, streams=True)


def test_who_is_billed_is_not_for_the_client_to_say() -> None:
    """A body that names another organisation as payer is refused."""
    with pytest.raises(BillingFieldRefused, match="billing_policy"):
        prepare(ANTHROPIC, b'{"model":"m","billing_policy":{"type":"billing_policy","bill_to":"user_profile"}}')


@pytest.mark.parametrize("body", [b'{"messages":[]}', b'{"model":7}'])
def test_a_body_without_a_model_is_bad_input(body: bytes) -> None:
    """The error names the member that is missing or odd."""
    with pytest.raises(BadInput, match='"model"'):
        prepare(OPENAI, body)


@given(
    st.dictionaries(st.text(max_size=4), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=5),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_a_prepared_body_says_the_same_but_for_what_it_must(
    more: dict[str, Any], model: str, separators: tuple[str, str], escaped: bool
) -> None:
    """Decoded, a prepared body is the client's object with our model and the usage asked for, in any spelling."""
    request = more | {"model": "alias", "stream": True}
    body = json.dumps(request, separators=separators, ensure_ascii=escaped).encode(errors="replace")
    asked = json.loads(body)
    sent = json.loads(prepare(OPENAI, body, model).body)
    assert sent == asked | {"model": model, "stream_options": {"include_usage": True}}
