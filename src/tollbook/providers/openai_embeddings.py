"""OpenAI embeddings: `POST /v1/embeddings`.

Source: the API reference and the types of the official SDK, openai 3.54: the usage has an input only.
"""

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from tollbook.providers.adapter import JsonAdapter
from tollbook.providers.answer import error_word, read_error, word
from tollbook.providers.body import UNREADABLE, present, read_value
from tollbook.providers.contract import Call, Estimate, Headers, Prepared, Reading, Route, StreamReader
from tollbook.providers.estimate import Prompt, estimate_usage
from tollbook.providers.openai_chat import ChatReader
from tollbook.providers.openai_format import OpenAIFormat, report, routes
from tollbook.providers.openai_usage import decompose_input


class _Answer(Struct, gc=False):
    """What concerns us of an answer; some vendors add an id."""

    id: Any = None
    model: Any = None
    usage: Raw = Raw()
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


class OpenAIEmbeddings(OpenAIFormat, JsonAdapter):
    """The adapter of OpenAI embeddings."""

    endpoint: str = "openai.embeddings"
    name: str = "openai.embeddings/1"
    routes: tuple[Route, ...] = routes("POST /embeddings")
    model_fields: frozenset[str] = frozenset({"dimensions"})
    convention: str = "nested"

    def streamed(self, call: Call) -> bool:
        """Never."""
        return False

    def read(self, status: int, headers: Headers, body: bytes) -> Reading:
        """Read an answer."""
        if status >= 400:
            return Reading(error=read_error(status, body))
        try:
            answer = _decode(body)
        except UNREADABLE:
            return Reading(complete=False, flags=["unreadable_body"])
        reading = Reading(model_served=word(answer.model), response_id=word(answer.id))
        raw = bytes(answer.usage)
        if raw.startswith(b"{"):
            report(reading, raw, decompose_input, final=True)
        if answer.error is not None:
            reading.error = error_word(answer.error)
            reading.complete = False
        return reading

    def stream(self, prepared: Prepared) -> StreamReader:
        """Embeddings are never streamed; what a vendor sends all the same is read as a chat."""
        return ChatReader(hides=False)

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """The tokens of the text, or the number of those that were given as numbers. There is no output."""
        members = call.members.values
        estimate = estimate_usage(Prompt(conversation=present(members, ("input",)), schemas=[]), 0, reading)
        estimate.usage["input"] += count_tokens(read_value(members.get("input")))
        del estimate.usage["output"], estimate.bound["output"]
        return estimate


def count_tokens(value: object) -> int:
    """How many tokens an input has that is given as numbers, or as lists of them."""
    if not isinstance(value, list):
        return 0
    return sum(1 if type(one) is int else count_tokens(one) for one in value)
