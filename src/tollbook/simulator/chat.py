"""OpenAI's chat completions and legacy completions, as the vendor writes them.

Checked in tests against the types of the official SDK. Usage is nested: `prompt_tokens` includes what was read from
and written to caches, `completion_tokens` includes reasoning. Vendors that speak this format in their own way are
made from these classes (`compatible`).
"""

from typing import Any, ClassVar, Final, Literal

import msgspec
from msgspec import Struct

from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.question import Message, Question, check_limit, count_contents, read_body, texts_of
from tollbook.simulator.tokens import Tokens, count_request
from tollbook.simulator.vendor import Operation

_FINGERPRINT: Final = "fp_simulator"
_ERROR: Final = "The server had an error while processing your request."

UsagePlace = Literal["asked", "apart", "beside"]
"""Where a stream has its usage: in a chunk of its own when the client asked, or always; or beside `finish_reason`."""


Place = Literal["body", "first", "last"]
"""A buffered body, the first chunk of a stream, the chunk with `finish_reason`."""


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _ChatBody(Struct):
    messages: list[Message]
    model: str = ""
    tools: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    service_tier: str | None = None


class _CompletionBody(Struct):
    prompt: str | list[str]
    model: str = ""
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    service_tier: str | None = None


_CHAT: Final = msgspec.json.Decoder(_ChatBody)
_COMPLETION: Final = msgspec.json.Decoder(_CompletionBody)


def asked_model(call: Call, stated: str) -> str:
    """The model: that of the path, for vendors who have it there, else that of the body. Raises BadInput for none."""
    model = call.names.get("model") or stated
    if not model:
        raise BadInput("you must provide a model parameter")
    return model


def nested_usage(tokens: Tokens) -> dict[str, Any]:
    """OpenAI's usage object for prompts and completions."""
    return {
        "prompt_tokens": tokens.all_input,
        "completion_tokens": tokens.all_output,
        "total_tokens": tokens.all_input + tokens.all_output,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cache_read,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": tokens.input_audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": tokens.output_audio,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


class Chat(Operation):
    """Chat completions. What vendors do in their own way are the class variables and the small methods."""

    name = "chat"
    prefix: ClassVar[str] = "chatcmpl-"
    object: ClassVar[str] = "chat.completion"
    chunk_object: ClassVar[str] = "chat.completion.chunk"
    usage_place: ClassVar[UsagePlace] = "asked"

    def read(self, call: Call) -> Question:
        body = read_body(_CHAT, call.body)
        if not body.messages:
            raise BadInput("messages: at least one message is required")
        _one(body.n)
        contents = [message.content for message in body.messages]
        texts = texts_of(contents)
        limit = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
        return Question(
            model=asked_model(call, body.model),
            texts=texts,
            counts={"input": count_contents(texts, contents, body.tools)},
            limit=check_limit("max_tokens", limit),
            stream=bool(body.stream),
            tier=body.service_tier,
            include_usage=bool(body.stream_options and body.stream_options.include_usage),
        )

    def response_id(self, number: str) -> str:
        return f"{self.prefix}{number[:29]}"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return nested_usage(tokens)

    def members(self, answer: Answer) -> dict[str, Any]:
        """Members of a body and of each chunk, beside those that say what was answered."""
        return {"service_tier": answer.tier, "system_fingerprint": _FINGERPRINT}

    def members_at(self, answer: Answer, place: Place) -> dict[str, Any]:
        """Members that stand in one place alone."""
        return {}

    def choice(self, answer: Answer) -> dict[str, Any]:
        """The one choice of a buffered answer."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}

    def delta(self, text: str | None) -> dict[str, Any]:
        """The part of a chunk's choice that says something: None opens it, empty text ends it."""
        if text is None:
            return {"delta": {"role": "assistant", "content": "", "refusal": None}}
        return {"delta": {"content": text} if text else {}}

    def body(self, answer: Answer) -> bytes:
        choice = self.choice(answer)
        reply: dict[str, Any] = {**self._head(answer, self.object), "choices": [choice]}
        holder = choice if "usage_elsewhere" in answer.quirks else reply
        answer.put_usage(holder, "usage", self.usage(answer, answer.reported))
        return encode({**reply, **self.members(answer), **self.members_at(answer, "body")})

    def events(self, answer: Answer) -> list[Event]:
        return [*_Stream(self, answer).events(), Event(None, b"[DONE]", answer.tokens.all_output)]

    def error_event(self, answer: Answer) -> Event:
        return Event(None, self.vendor.error(500, _ERROR, answer.number), 0)

    def _head(self, answer: Answer, kind: str) -> dict[str, Any]:
        return {
            "id": self.response_id(answer.number),
            "object": kind,
            "created": answer.created,
            "model": answer.model,
        }


class _Stream:
    """Writes the chunks of one answer, whose members before `choices` are all the same."""

    def __init__(self, operation: Chat, answer: Answer) -> None:
        self._operation, self._answer, self._quirks = operation, answer, answer.quirks
        self._place = "beside" if "usage_with_choices" in answer.quirks else operation.usage_place
        self._apart = self._place == "apart" or (self._place == "asked" and answer.question.include_usage)
        members = {**operation._head(answer, operation.chunk_object), **operation.members(answer)}
        self._head = encode(members)[:-1] + b',"choices":['

    def events(self) -> list[Event]:
        answer = self._answer
        total = answer.tokens.all_output
        spare = b"null" if self._apart and "usage_missing" not in self._quirks and self._place == "asked" else b""
        first = self._usage(Tokens()) if "usage_zero_first" in self._quirks else spare
        events = [self._chunk(None, None, first, answer.tokens.reasoning)]
        for text, generated in answer.chunks():
            repeated = "usage_cumulative" in self._quirks
            usage = self._usage(answer.reported_by(generated)) if repeated else spare
            events.append(self._chunk(text, None, usage, generated))
        events.append(self._finish(spare, total))
        elsewhere = "usage_elsewhere" in self._quirks
        if self._apart and not elsewhere and self._place != "beside" and "usage_missing" not in self._quirks:
            final = b"null" if "usage_null" in self._quirks else self._usage(answer.reported)
            events.append(Event(None, self._end(b"", final, {}), total))
        return events

    def _finish(self, spare: bytes, total: int) -> Event:
        """The chunk with `finish_reason`, and with whatever this vendor tells beside it."""
        answer, operation = self._answer, self._operation
        choice = {"index": 0, **operation.delta(""), "logprobs": None, "finish_reason": _finish_reason(answer)}
        usage = spare
        if "usage_elsewhere" in self._quirks:
            choice["usage"] = operation.usage(answer, answer.reported)
        elif self._place == "beside" and "usage_missing" not in self._quirks:
            usage = b"null" if "usage_null" in self._quirks else self._usage(answer.reported)
        return Event(None, self._end(encode(choice), usage, operation.members_at(answer, "last")), total)

    def _usage(self, tokens: Tokens) -> bytes:
        return encode(self._operation.usage(self._answer, tokens))

    def _chunk(self, text: str | None, finish_reason: str | None, usage: bytes, generated: int) -> Event:
        choice = {"index": 0, **self._operation.delta(text), "logprobs": None, "finish_reason": finish_reason}
        more = self._operation.members_at(self._answer, "first") if text is None else {}
        return Event(None, self._end(encode(choice), usage, more), generated, content=bool(text))

    def _end(self, choices: bytes, usage: bytes, members: dict[str, Any]) -> bytes:
        more = b"," + encode(members)[1:-1] if members else b""
        return self._head + choices + (b'],"usage":' + usage if usage else b"]") + more + b"}"


class Completions(Chat):
    """Legacy completions: a text for a prompt."""

    name = "completions"
    prefix = "cmpl-"
    object = "text_completion"
    chunk_object = "text_completion"

    def read(self, call: Call) -> Question:
        body = read_body(_COMPLETION, call.body)
        _one(body.n)
        texts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        if len(texts) != 1:
            raise BadInput("prompt: this vendor completes one prompt")
        return Question(
            model=asked_model(call, body.model),
            texts=texts,
            counts={"input": count_request(texts, 0, 0)},
            limit=check_limit("max_tokens", body.max_tokens),
            stream=bool(body.stream),
            tier=body.service_tier,
            include_usage=bool(body.stream_options and body.stream_options.include_usage),
        )

    def members(self, answer: Answer) -> dict[str, Any]:
        return {"system_fingerprint": _FINGERPRINT}

    def choice(self, answer: Answer) -> dict[str, Any]:
        return {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": _finish_reason(answer)}

    def delta(self, text: str | None) -> dict[str, Any]:
        return {"text": text or ""}


def _one(n: int | None) -> None:
    if n not in (None, 1):
        raise BadInput("n: this vendor gives one choice")


def _finish_reason(answer: Answer) -> str:
    return "length" if answer.truncated else "stop"
