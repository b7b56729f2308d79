"""Multipart forms: the fields of a request that carries files, and where each field lies in the body.

Source: RFC 7578 (multipart/form-data) and RFC 2046, section 5.1. As with JSON bodies, one that two parsers could read
differently is refused. What lies between delimiters is cut by python-multipart; the plain form of the headers, and
that the delimiter stands nowhere else (where a parser that is content with a bare LF would find one more part), are
checked here.
"""

import re
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from tollbook.core.faults import BadInput
from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.body import AmbiguousBody, Members, Splice, shown
from tollbook.providers.contract import Call, Headers, VendorObject

PARTS: Final = 1024
"""More parts than any request of these formats has."""

_CONTENT_TYPE: Final = re.compile(
    rb'multipart/form-data\s*;\s*boundary=(?:"([^"\\\r\n]{1,70})"|([^\s";,]{1,70}))\s*(?:;\s*charset="?utf-8"?\s*)?',
    re.IGNORECASE,
)
_DISPOSITION: Final = re.compile(
    rb'form-data\s*;\s*name=(?:"([^"\\\r\n]*)"|([^\s";,]+))\s*'
    rb'(;\s*filename=(?:"(?:[^"\\]|\\.)*"|[^\s";,]+)\s*)?(;\s*filename\*=[^\s;,"]+\s*)?',
    re.IGNORECASE,
)
_PLAIN_TYPE: Final = re.compile(rb'text/plain\s*(?:;\s*charset="?utf-8"?\s*)?', re.IGNORECASE)
_PLAIN_ENCODINGS: Final = (b"binary", b"8bit", b"7bit")


def is_form(headers: Headers) -> bool:
    """Whether a request says that its body is a multipart form."""
    return any(name == b"content-type" and value[:19].lower() == b"multipart/form-data" for name, value in headers)


class _Part:
    """One part of a form: its headers, and for a field its value and where it begins."""

    __slots__ = ("file", "headers", "name", "start", "value")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.name = ""
        self.file = False
        self.start = -1
        self.value = b""


class _Collector:
    """What the parser calls: it cuts `body` into parts, and keeps nothing of files."""

    def __init__(self, body: bytes) -> None:
        self.parts: Final[list[_Part]] = []
        self.ended = False
        self._body: Final = body
        self._field = b""
        self._value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) >= PARTS:
            raise AmbiguousBody(f"the form has more than {PARTS} parts")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers.append((self._field.lower(), self._value.strip()))
        self._field = self._value = b""

    def on_headers_finished(self) -> None:
        _read_headers(self.parts[-1])

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if part.file:
            return
        if part.start < 0 and data is self._body:
            part.start = start
        part.value += data[start:end]

    def on_end(self) -> None:
        self.ended = True


def scan_form(headers: Headers, body: bytes, single: frozenset[str]) -> Members:
    """The fields of a form with the place of each value; files are left out.

    `single` names the fields that decide something: each may stand once, in its plain form. Of others that are repeated
    the first one is told. Raises AmbiguousBody.
    """
    boundary = _boundary(headers)
    parts = _cut(body, boundary)
    if body.count(b"--" + boundary) != len(parts) + 1:
        raise AmbiguousBody("the boundary of the form stands inside one of its parts; choose another")
    members = Members({}, {})
    for part in parts:
        base = part.name.partition("[")[0]
        if base in single:
            _judge(part, base, members)
        if not part.file and part.name not in members.values:
            members.values[part.name] = part.value
            end = part.start + len(part.value)
            if part.start >= 0 and body[part.start : end] == part.value:
                members.spans[part.name] = (part.start, end)
    return members


def _boundary(headers: Headers) -> bytes:
    types = [value for name, value in headers if name == b"content-type"]
    found = _CONTENT_TYPE.fullmatch(types[0]) if len(types) == 1 else None
    if found is None:
        raise AmbiguousBody("the content type of the form must be multipart/form-data with one boundary, once")
    return found[1] or found[2]


def _cut(body: bytes, boundary: bytes) -> list[_Part]:
    collector = _Collector(body)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": collector.on_part_begin,
            "on_part_data": collector.on_part_data,
            "on_header_field": collector.on_header_field,
            "on_header_value": collector.on_header_value,
            "on_header_end": collector.on_header_end,
            "on_headers_finished": collector.on_headers_finished,
            "on_end": collector.on_end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise AmbiguousBody("the body is not a multipart form with the boundary that its content type names") from None
    if not collector.ended:
        raise AmbiguousBody("the form has no end")
    return collector.parts


def _read_headers(part: _Part) -> None:
    """The name of a part, and whether it is a file. Raises AmbiguousBody when its headers are not plain."""
    told = [value for name, value in part.headers if name == b"content-disposition"]
    found = _DISPOSITION.fullmatch(told[0]) if len(told) == 1 else None
    if found is None:
        raise AmbiguousBody('each part of the form needs one header content-disposition: form-data; name="..."')
    part.name = (found[1] or found[2] or b"").decode("utf-8", "replace")
    part.file = found[3] is not None or found[4] is not None


def _judge(part: _Part, base: str, members: Members) -> None:
    """Raise AmbiguousBody when a field that decides something could be read in another way."""
    for name, value in part.headers:
        plain = {
            b"content-disposition": True,
            b"content-type": _PLAIN_TYPE.fullmatch(value) is not None,
            b"content-transfer-encoding": value.lower() in _PLAIN_ENCODINGS,
            b"content-length": True,
        }
        if not plain.get(name, False):
            raise AmbiguousBody(f'field "{shown(base)}" of the form has a header that changes how it is read')
    if part.file or part.name != base:
        raise AmbiguousBody(f'field "{shown(base)}" of the form must be plain text')
    if base in members.values:
        raise AmbiguousBody(f'field "{shown(base)}" stands more than once in the form; send it once')
    try:
        part.value.decode()
    except UnicodeDecodeError:
        raise AmbiguousBody(f'field "{shown(base)}" of the form is not UTF-8') from None


class FormAdapter(JsonAdapter):
    """The defaults of an operation that is asked by a multipart form, or by a JSON object."""

    def scan(self, headers: Headers, body: bytes) -> Members:
        """The members of the JSON object, or the fields of the form."""
        if not is_form(headers):
            return super().scan(headers, body)
        deciding = {path.partition(".")[0] for path in self.object_fields}
        single = {"model", "stream", "_charset_"} | self.model_fields | self.billing_fields | deciding
        return scan_form(headers, body, frozenset(single))

    def model(self, call: Call) -> str | None:
        """The field or member `model`. Raises BadInput when it is missing."""
        if self.purpose != "metered" or not is_form(call.headers):
            return super().model(call)
        named = call.members.values.get("model")
        if not named or "model" not in call.members.spans:
            raise BadInput('the form has no field "model"; add it, as text')
        return named.decode()

    def streamed(self, call: Call) -> bool:
        """Whether `stream` is true; a form has it as text."""
        return call.members.values.get("stream", b"").lower() == b"true"

    def objects(self, call: Call) -> list[VendorObject]:
        """The vendor objects named in the path, and in the form or the JSON object."""
        if not is_form(call.headers):
            return super().objects(call)
        named = {f"/{name}": text for name, text in call.names.items()}
        named |= {name: value.decode() for name, value in call.members.values.items() if name in self.object_fields}
        return [VendorObject(kind, named[path]) for path, kind in self.object_fields.items() if path in named]

    def model_change(self, call: Call, model: str) -> list[Splice]:
        """The change of the field or member `model`; in a form it is raw text."""
        if not is_form(call.headers):
            return super().model_change(call, model)
        if call.members.values.get("model") == model.encode():
            return []
        start, end = call.members.spans["model"]
        return [Splice(start, end, model.encode())]
