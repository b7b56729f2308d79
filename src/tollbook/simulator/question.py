"""A request body as the vendor reads it: just what it meters, bills and answers by."""

from typing import Final

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.tokens import count_request


class Part(Struct):
    """One part of a content list; what is not text counts as an object."""

    type: str
    text: str | None = None


class StreamOptions(Struct):
    include_usage: bool | None = None


class Message(Struct):
    role: str
    content: str | list[Part] | None = None


class Question(Struct):
    """The members of both vendors' bodies that matter here; all others are ignored."""

    model: str
    messages: list[Message]
    system: str | list[Part] | None = None
    tools: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    service_tier: str | None = None
    inference_geo: str | None = None

    @property
    def limit(self) -> int | None:
        """The most output tokens, reasoning included, that were asked for."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    def texts(self) -> list[str]:
        """All texts of the messages, the system prompt first."""
        contents = [self.system, *(message.content for message in self.messages)]
        texts: list[str] = []
        for content in contents:
            if isinstance(content, str):
                texts.append(content)
            elif content:
                texts += [part.text for part in content if part.text is not None]
        return texts

    def count(self, texts: list[str]) -> int:
        """Input tokens by the simulator's own rule; tool definitions count as text."""
        contents = [self.system, *(message.content for message in self.messages)]
        objects = sum(part.text is None for content in contents if isinstance(content, list) for part in content)
        tools = bytes(self.tools).decode()
        return count_request(
            [*texts, "" if tools == "null" else tools], len(self.messages) + (self.system is not None), objects
        )


_DECODER: Final = msgspec.json.Decoder(Question)


def read_question(body: bytes) -> Question:
    """Read a request body. Raises BadInput with the reason for what a vendor would refuse."""
    try:
        question = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise BadInput(f"Invalid request: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"We could not parse the JSON body of your request. ({error})") from None
    if not question.messages:
        raise BadInput("messages: at least one message is required")
    if question.n not in (None, 1):
        raise BadInput("n: this vendor gives one choice")
    if question.limit is not None and question.limit < 1:
        raise BadInput("max_tokens: must be at least 1")
    return question
