"""Multipart forms: what we judge is what the vendor reads, or the form is refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart.multipart import create_form_parser

from tollbook.core.faults import BadInput
from tollbook.providers.body import AmbiguousBody, splice
from tollbook.providers.contract import Adapter, Call, Headers, VendorObject
from tollbook.providers.form import PARTS, is_form, scan_form
from tollbook.providers.registry import BY_ENDPOINT

BOUNDARY = b"5f2a81c0d7e94b6f"
HEADERS: Headers = [(b"content-type", b"multipart/form-data; boundary=" + BOUNDARY)]
SINGLE = frozenset({"model", "stream"})
AUDIO = BY_ENDPOINT["openai.audio"]


def part(disposition: bytes, data: bytes, *more: bytes) -> bytes:
    lines = [b"Content-Disposition: form-data; " + disposition, *more]
    return b"--" + BOUNDARY + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + data + b"\r\n"


def field(name: bytes, data: bytes, *more: bytes) -> bytes:
    return part(b'name="' + name + b'"', data, *more)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


FILE = part(b'name="file"; filename="a.mp3"', b"ID3\r\n\r\n--5f2a\x00\xff", b"Content-Type: audio/mpeg")
MODEL = field(b"model", b"whisper-1")


def call(body: bytes, adapter: Adapter = AUDIO, **names: str) -> Call:
    return Call(adapter.routes[0], names, b"", HEADERS, body, adapter.scan(HEADERS, body))


def test_fields_are_found_where_they_lie() -> None:
    """A field has its raw value and its place; a file has neither."""
    body = form(FILE, MODEL, field(b"temperature", b"0"), field(b"prompt", "Straße".encode()))
    members = scan_form(HEADERS, body, SINGLE)
    assert members.values == {"model": b"whisper-1", "temperature": b"0", "prompt": "Straße".encode()}
    assert {name: body[start:end] for name, (start, end) in members.spans.items()} == members.values


def test_the_model_is_replaced_in_place() -> None:
    """Only the model's bytes change, as raw text; everything else stays byte for byte."""
    body = form(FILE, MODEL, field(b"language", b"de"))
    prepared = AUDIO.prepare(call(body), "voxtral-mini")
    assert prepared.body == form(FILE, field(b"model", b"voxtral-mini"), field(b"language", b"de"))
    assert prepared.path == "/audio/transcriptions"
    assert AUDIO.prepare(call(body), "whisper-1").body is body


def test_a_stream_is_asked_for_in_text() -> None:
    """`stream` of a form is text, in any case of letters."""
    assert AUDIO.streamed(call(form(FILE, MODEL, field(b"stream", b"True"))))
    assert not AUDIO.streamed(call(form(FILE, MODEL, field(b"stream", b"false"))))
    assert not AUDIO.streamed(call(form(FILE, MODEL)))


def test_objects_are_found_in_forms() -> None:
    """A form that names a stored file names a vendor object."""
    body = form(MODEL, field(b"file_id", b"file-abc"))
    assert AUDIO.objects(call(body)) == [VendorObject("file", "file-abc")]


@pytest.mark.parametrize("data", [None, b""])
def test_a_form_without_a_model_is_refused(data: bytes | None) -> None:
    """The model is missing where the form has none, or an empty one."""
    body = form(FILE) if data is None else form(FILE, field(b"model", data))
    with pytest.raises(BadInput, match="model"):
        AUDIO.model(call(body))


AMBIGUOUS = {
    "a field twice": form(MODEL, field(b"model", b"gpt-4o-transcribe")),
    "a field as a list": form(MODEL, field(b"model[]", b"gpt-4o-transcribe")),
    "a field as a file": form(FILE, part(b'name="model"; filename="m"', b"whisper-1")),
    "a field as an extended file": form(FILE, part(b"name=\"model\"; filename*=utf-8''m", b"whisper-1")),
    "an extended name": form(MODEL, part(b"name=\"x\"; name*=utf-8''model", b"other")),
    "two names": form(MODEL, part(b'name="x"; name="model"', b"other")),
    "an encoding": form(field(b"model", b"d2hpc3Blci0x", b"Content-Transfer-Encoding: base64")),
    "a charset": form(field(b"model", b"whisper-1", b"Content-Type: text/plain; charset=utf-16")),
    "a type": form(field(b"model", b'"whisper-1"', b"Content-Type: application/json")),
    "not UTF-8": form(field(b"model", b"\xff\xfe")),
    "two dispositions": form(field(b"model", b"w", b'Content-Disposition: form-data; name="x"')),
    "no name": form(MODEL, b"--" + BOUNDARY + b"\r\nContent-Type: text/plain\r\n\r\nx\r\n"),
    "a part behind bare LF": form(MODEL, part(b'name="file"; filename="a"', b"x\n--" + BOUNDARY + b'\nname="model"')),
    "no end": MODEL,
    "a part after the end": form(MODEL) + MODEL,
    "not a form": b'{"model":"whisper-1"}',
    "nothing": b"",
    "too many parts": form(*[field(b"x", b"1")] * (PARTS + 1)),
}


@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_ambiguous_forms_are_refused(body: bytes) -> None:
    """A form that two parsers could read differently is not forwarded (engineering: what the vendor sees)."""
    with pytest.raises(AmbiguousBody):
        scan_form(HEADERS, body, SINGLE)


@pytest.mark.parametrize(
    "kind",
    [
        b"multipart/form-data",
        b"multipart/form-data; boundary=a; boundary=" + BOUNDARY,
        b"multipart/form-data; boundary=" + b"x" * 71,
        b"multipart/form-data; charset=utf-16; boundary=" + BOUNDARY,
    ],
)
def test_ambiguous_content_types_are_refused(kind: bytes) -> None:
    """The boundary must be told once, plainly."""
    with pytest.raises(AmbiguousBody):
        scan_form([(b"content-type", kind)], form(MODEL), SINGLE)
    with pytest.raises(AmbiguousBody):
        scan_form([*HEADERS, *HEADERS], form(MODEL), SINGLE)


def test_lists_may_repeat() -> None:
    """What decides nothing may stand several times, as SDKs send lists."""
    granularity = field(b"timestamp_granularities[]", b"word")
    members = scan_form(HEADERS, form(granularity, granularity, MODEL), SINGLE)
    assert members.values["timestamp_granularities[]"] == b"word"


@pytest.mark.parametrize(
    "kind", [b'multipart/form-data; boundary="' + BOUNDARY + b'"', b"Multipart/Form-Data;boundary=" + BOUNDARY]
)
def test_usual_content_types_are_read(kind: bytes) -> None:
    """A quoted boundary, and any case of letters."""
    headers: Headers = [(b"content-type", kind)]
    assert is_form(headers)
    assert scan_form(headers, form(MODEL), SINGLE).values == {"model": b"whisper-1"}


NAMES = st.text("abcdefgh_", min_size=1, max_size=8)


@given(st.dictionaries(NAMES, st.binary(max_size=60)), st.binary(max_size=200))
@example({"a": b"\r\n--", "b": b"\r\n--5f2a81c0d7e94b6"}, b"\r\n--5f2a\r\n")
def test_our_reading_is_the_parsers(fields: dict[str, bytes], content: bytes) -> None:
    """Every field that a whole parser of forms finds is found here, with the same value, and lies where it is said."""
    upload = part(b'name="file"; filename="f"', content)
    body = form(*(field(name.encode(), value) for name, value in fields.items()), upload)
    if BOUNDARY in b"".join([*fields.values(), content]):
        return
    members = scan_form(HEADERS, body, SINGLE)
    found: dict[str, bytes] = {}
    parser = create_form_parser(
        {"Content-Type": HEADERS[0][1]},
        lambda one: found.setdefault((one.field_name or b"").decode(), one.value or b""),
        lambda one: None,
    )
    parser.write(body)
    parser.finalize()
    assert members.values == found == fields
    for name, (start, end) in members.spans.items():
        assert body[start:end] == fields[name]


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 20))
def test_damaged_forms_are_refused_or_read(noise: bytes, position: int, length: int) -> None:
    """Whatever bytes come, they are read or refused; what is read lies where it is said."""
    whole = form(FILE, MODEL)
    body = whole[:position] + noise + whole[position + length :]
    try:
        members = scan_form(HEADERS, body, SINGLE)
    except AmbiguousBody:
        return
    for name, (start, end) in members.spans.items():
        assert body[start:end] == members.values[name]


def test_a_replaced_field_is_read_as_replaced() -> None:
    """After the splice, the scan finds the new model at the new place."""
    body = form(MODEL, FILE)
    members = scan_form(HEADERS, body, SINGLE)
    changed = splice(body, AUDIO.model_change(call(body), "ü"))  # type: ignore[attr-defined]
    assert scan_form(HEADERS, changed, SINGLE).values["model"] == "ü".encode()
    assert members.values["model"] == b"whisper-1"
