"""OpenAI's embeddings: input tokens, no output, no stream."""

import base64
import struct
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.simulator.answer import Answer, encode
from tollbook.simulator.call import Call
from tollbook.simulator.chat import asked_model
from tollbook.simulator.question import Question, read_body
from tollbook.simulator.tokens import Tokens, count_request
from tollbook.simulator.vendor import Operation

DIMENSIONS: Final = 8
"""Length of the vectors of all simulated vendors."""


class _Body(Struct):
    input: str | list[str | int | list[int]]
    model: str = ""
    encoding_format: str | None = None


_BODY: Final = msgspec.json.Decoder(_Body)


def vector(number: str, place: int) -> list[float]:
    """A vector made from an answer's number."""
    return [((int(number[at * 4 : at * 4 + 4], 16) + place) % 2000 - 1000) / 1000 for at in range(DIMENSIONS)]


class Embeddings(Operation):
    """Embeddings; ids stand in the headers alone."""

    name = "embeddings"

    def read(self, call: Call) -> Question:
        body = read_body(_BODY, call.body)
        inputs = body.input if isinstance(body.input, list) and not _is_tokens(body.input) else [body.input]
        texts = [text for text in inputs if isinstance(text, str)]
        tokens = sum(len(part) for part in inputs if isinstance(part, list))
        details = {"inputs": len(inputs), "base64": body.encoding_format == "base64"}
        counts = {"input": count_request(texts, 0, 0) + tokens, "output": 0}
        return Question(model=asked_model(call, body.model), texts=texts, counts=counts, details=details)

    def response_id(self, number: str) -> str:
        return self.vendor.request_id(number)

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return {"prompt_tokens": tokens.all_input, "total_tokens": tokens.all_input}

    def members(self, answer: Answer) -> dict[str, Any]:
        """Members of a body beside those that say what was answered."""
        return {}

    def body(self, answer: Answer) -> bytes:
        vectors = [vector(answer.number, place) for place in range(answer.details["inputs"])]
        coded = [_base64(numbers) for numbers in vectors] if answer.details["base64"] else vectors
        data = [{"object": "embedding", "index": place, "embedding": value} for place, value in enumerate(coded)]
        reply: dict[str, Any] = {**self.members(answer), "object": "list", "data": data, "model": answer.model}
        answer.put_usage(reply, "usage", self.usage(answer, answer.reported))
        return encode(reply)


def _is_tokens(inputs: list[str | int | list[int]]) -> bool:
    """Whether a list is one input that has been made into tokens already."""
    return bool(inputs) and isinstance(inputs[0], int)


def _base64(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
