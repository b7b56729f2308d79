"""A multipart form as the vendor reads it: its fields, and the size and name of its files."""

import io
from typing import Any

from msgspec import Struct
from python_multipart import parse_form
from python_multipart.exceptions import FormParserError

from tollbook.core.faults import BadInput
from tollbook.simulator.call import Call


class File(Struct):
    """A file of a form."""

    name: str
    data: bytes


class Form(Struct):
    """The fields of a form by name, a later one replacing an earlier one, and its files."""

    fields: dict[str, str]
    files: list[File]

    def flag(self, name: str) -> bool:
        return self.fields.get(name, "").lower() == "true"


def read_form(call: Call) -> Form:
    """The form of a request. Raises BadInput when it is none."""
    form = Form({}, [])

    def on_field(field: Any) -> None:
        form.fields[(field.field_name or b"").decode()] = (field.value or b"").decode("utf-8", "replace")

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        name = (file.file_name or b"upload").decode("utf-8", "replace")
        form.files.append(File(name, file.file_object.read()))

    kind = call.header(b"content-type") or ""
    headers = {"Content-Type": kind.encode("latin-1"), "Content-Length": str(len(call.body)).encode()}
    try:
        parse_form(headers, io.BytesIO(call.body), on_field, on_file)
    except (FormParserError, ValueError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is not the form that its content-type says: {error}") from None
    return form
