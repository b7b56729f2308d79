"""OpenAI's responses: buffered, streamed, in the background, and looked up later.

Checked in tests against the types of the official SDK. Usage is nested as in chat completions, under other names, and
stands in the terminal event of a stream. What the vendor's own tools did is told by items of the output alone.
"""

from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.books import account_of
from tollbook.simulator.call import Call
from tollbook.simulator.chat import asked_model
from tollbook.simulator.question import Content, Part, Question, check_limit, count_contents, read_body, texts_of
from tollbook.simulator.shelf import Refusal
from tollbook.simulator.tokens import Tokens
from tollbook.simulator.vendor import Desk, Errand, Operation, Paper, Vendor, Work, paper

KIND: Final = "response"

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class _Item(Struct):
    type: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    output: Any = None


class _Body(Struct):
    model: str = ""
    input: str | list[_Item] | None = None
    instructions: str | None = None
    tools: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    max_output_tokens: int | None = None
    service_tier: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    metadata: dict[str, str] | None = None


_BODY: Final = msgspec.json.Decoder(_Body)


class Kept(Struct):
    """A response on the shelf. `status` is None once it says how it ended by itself."""

    answer: Answer
    status: Status | None = None


class Responses(Operation):
    """`POST /v1/responses`."""

    name = "responses"
    can_fail = True

    def read(self, call: Call) -> Question:
        body = read_body(_BODY, call.body)
        items = [body.input] if isinstance(body.input, str) else [_content(item) for item in body.input or ()]
        contents: list[Content] = [*([] if body.instructions is None else [body.instructions]), *items]
        texts = texts_of(contents)
        details = {
            "store": body.store is not False,
            "previous": body.previous_response_id,
            "conversation": {"id": body.conversation} if isinstance(body.conversation, str) else body.conversation,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "metadata": body.metadata or {},
            "input": body.input if isinstance(body.input, str) else texts,
        }
        return Question(
            model=asked_model(call, body.model),
            texts=texts,
            counts={"input": count_contents(texts, contents, body.tools)},
            limit=check_limit("max_output_tokens", body.max_output_tokens),
            stream=bool(body.stream),
            tier=body.service_tier,
            background=bool(body.background) and not body.stream,
            details=details,
        )

    def response_id(self, number: str) -> str:
        return f"resp_{number}"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return {
            "input_tokens": tokens.all_input,
            "input_tokens_details": {"cached_tokens": tokens.cache_read, "cache_write_tokens": tokens.cache_write},
            "output_tokens": tokens.all_output,
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
            "total_tokens": tokens.all_input + tokens.all_output,
        }

    def check(self, question: Question, account: str, desk: Desk) -> None:
        previous = question.details["previous"]
        if previous is not None and previous not in desk.shelf.names(account, KIND):
            raise Refusal(400, f"Previous response with id '{previous[:128]}' not found.")

    def keep(self, answer: Answer, account: str, desk: Desk) -> None:
        if answer.details["store"]:
            desk.shelf.put(account, KIND, self.response_id(answer.number), Kept(answer))

    def defer(self, work: Work, account: str, later_ms: int, desk: Desk) -> Paper:
        kept = Kept(work.answer, "queued")
        desk.shelf.put(account, KIND, self.response_id(work.answer.number), kept)
        begun = paper(self.render(kept))
        desk.later(later_ms, _finish(kept, work))
        return begun

    def body(self, answer: Answer) -> bytes:
        return encode(self.render(Kept(answer)))

    def render(self, kept: Kept, elsewhere: bool = False) -> dict[str, Any]:
        """A response object in its present state."""
        answer = kept.answer
        done = kept.status is None
        status = _status(answer) if kept.status is None else kept.status
        reply: dict[str, Any] = {
            "id": self.response_id(answer.number),
            "object": "response",
            "created_at": answer.created,
            "status": status,
            "background": answer.question.background,
            "conversation": answer.details["conversation"],
            "error": {"code": "server_error", "message": "The model failed."} if status == "failed" else None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": answer.details["instructions"],
            "max_output_tokens": answer.details["max_output_tokens"],
            "metadata": answer.details["metadata"],
            "model": answer.model,
            "output": output_items(answer) if done else [],
            "parallel_tool_calls": True,
            "previous_response_id": answer.details["previous"],
            "service_tier": answer.tier if done else "auto",
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": None,
        }
        if done and status != "failed" and not elsewhere:
            del reply["usage"]
            answer.put_usage(reply, "usage", self.usage(answer, answer.reported))
        return reply

    def events(self, answer: Answer) -> list[Event]:
        return _Stream(self, answer).events()

    def error_event(self, answer: Answer) -> Event:
        data = {
            "type": "error",
            "code": "server_error",
            "message": "The server had an error while processing your request.",
            "param": None,
            "sequence_number": 99,
        }
        return Event("error", encode(data), 0)


class _Stream:
    """The events of one response, numbered as they come."""

    def __init__(self, operation: Responses, answer: Answer) -> None:
        self._operation, self._answer = operation, answer
        self._events: list[Event] = []

    def events(self) -> list[Event]:
        answer, quirks = self._answer, self._answer.quirks
        zero = self._operation.usage(answer, Tokens()) if "usage_zero_first" in quirks else None
        self._state("response.created", 0, zero)
        self._state("response.in_progress", 0, None)
        for place, item in enumerate(output_items(answer)):
            if item["type"] == "message":
                self._message(place, item)
            else:
                self._item("response.output_item.added", place, item, answer.tokens.reasoning)
                self._item("response.output_item.done", place, item, answer.tokens.reasoning)
        elsewhere = "usage_elsewhere" in quirks
        final = self._operation.render(Kept(answer), elsewhere)
        ending: dict[str, Any] = {"response": final}
        if elsewhere:
            ending["usage"] = self._operation.usage(answer, answer.reported)
        self._add(f"response.{final['status']}", answer.tokens.all_output, False, **ending)
        return self._events

    def _message(self, place: int, item: dict[str, Any]) -> None:
        answer, reasoning = self._answer, self._answer.tokens.reasoning
        where = {"item_id": item["id"], "output_index": place, "content_index": 0}
        whole = item["content"][0]
        begun = {**item, "status": "in_progress", "content": []}
        self._item("response.output_item.added", place, begun, reasoning)
        self._add("response.content_part.added", reasoning, part={**whole, "text": ""}, **where)
        for text, generated in answer.chunks():
            self._add("response.output_text.delta", generated, True, delta=text, logprobs=[], **where)
            if "usage_cumulative" in answer.quirks:
                usage = self._operation.usage(answer, answer.reported_by(generated))
                self._state("response.in_progress", generated, usage)
        total = answer.tokens.all_output
        self._add("response.output_text.done", total, text=answer.text, logprobs=[], **where)
        self._add("response.content_part.done", total, part=whole, **where)
        self._item("response.output_item.done", place, item, total)

    def _state(self, name: str, generated: int, usage: dict[str, Any] | None) -> None:
        state = self._operation.render(Kept(self._answer, "in_progress"))
        self._add(name, generated, response={**state, "usage": usage})

    def _item(self, name: str, place: int, item: dict[str, Any], generated: int) -> None:
        self._add(name, generated, output_index=place, item=item)

    def _add(self, name: str, generated: int, content: bool = False, **members: Any) -> None:
        data = {"type": name, "sequence_number": len(self._events), **members}
        self._events.append(Event(name, encode(data), generated, content))


def output_items(answer: Answer) -> list[dict[str, Any]]:
    """What the response did and said: thinking, one item for each use of a tool, the message."""
    number, tokens = answer.number[:24], answer.tokens
    items: list[dict[str, Any]] = []
    if tokens.reasoning:
        items.append({"id": f"rs_{number}", "type": "reasoning", "summary": []})
    for place in range(tokens.web_searches):
        action = {"type": "search", "query": "toll", "queries": ["toll"]}
        items.append(_tool("web_search_call", f"ws_{place}{number}", action=action))
    for place in range(tokens.file_searches):
        items.append(_tool("file_search_call", f"fs_{place}{number}", queries=["toll"], results=None))
    for place in range(tokens.code_sessions):
        container = f"cntr_{place}{number}"
        items.append(
            _tool("code_interpreter_call", f"ci_{place}{number}", container_id=container, code="1", outputs=None)
        )
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    status = "incomplete" if answer.truncated else "completed"
    message = {"id": f"msg_{number}", "type": "message", "status": status, "role": "assistant", "content": [part]}
    return items if _status(answer) == "failed" else [*items, message]


def errands(vendor: Vendor, operation: Responses) -> dict[tuple[str, str], Errand]:
    """What can be done with a response once it is there, by method and end of the path."""
    return {
        ("GET", "/{response_id}"): Errand(vendor, "responses.retrieve", _retrieve(operation)),
        ("DELETE", "/{response_id}"): Errand(vendor, "responses.delete", _delete),
        ("POST", "/{response_id}/cancel"): Errand(vendor, "responses.cancel", _cancel(operation)),
        ("GET", "/{response_id}/input_items"): Errand(vendor, "responses.input_items", _input_items),
    }


def _retrieve(operation: Responses) -> Callable[[Call, str, Desk], Paper]:
    return lambda call, secret, desk: paper(operation.render(_kept(call, secret, desk)))


def _delete(call: Call, secret: str, desk: Desk) -> Paper:
    name = call.names["response_id"]
    desk.shelf.remove(account_of(secret), KIND, name)
    return paper({"id": name, "object": "response", "deleted": True})


def _cancel(operation: Responses) -> Callable[[Call, str, Desk], Paper]:
    def cancel(call: Call, secret: str, desk: Desk) -> Paper:
        kept = _kept(call, secret, desk)
        if not kept.answer.question.background:
            raise Refusal(400, "Cannot cancel a synchronous response.")
        if kept.status == "queued":
            kept.status = "cancelled"
        return paper(operation.render(kept))

    return cancel


def _input_items(call: Call, secret: str, desk: Desk) -> Paper:
    kept = _kept(call, secret, desk)
    asked = kept.answer.details["input"]
    data = [
        {
            "id": f"msg_{place}{kept.answer.number[:20]}",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": text}],
        }
        for place, text in enumerate([asked] if isinstance(asked, str) else asked)
    ]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return paper({"object": "list", "data": data, "has_more": False, **ends})


def _kept(call: Call, secret: str, desk: Desk) -> Kept:
    kept: Kept = desk.shelf.get(account_of(secret), KIND, call.names["response_id"])
    return kept


def _finish(kept: Kept, work: Work) -> Callable[[], None]:
    """End a background response, unless it was cancelled before: then it is not billed."""

    def finish() -> None:
        if kept.status == "queued":
            kept.status = None
            work.bill()

    return finish


def _status(answer: Answer) -> Status:
    if "failed" in answer.quirks:
        return "failed"
    return "incomplete" if answer.truncated else "completed"


def _content(item: _Item) -> Content:
    """What an item of the input adds; a tool's output counts as text."""
    return item.content if item.content is not None else item.output if isinstance(item.output, str) else None


def _tool(kind: str, name: str, **members: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "status": "completed", **members}
