"""OpenAI's files and batches: each line of an input file is done and billed as a request of its own, at half price."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from tollbook.core.clock import SECOND
from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, encode
from tollbook.simulator.books import account_of
from tollbook.simulator.call import Call
from tollbook.simulator.disorder import ordered, said_of
from tollbook.simulator.form import read_form
from tollbook.simulator.openai import OPENAI
from tollbook.simulator.question import read_body
from tollbook.simulator.shelf import Refusal, Undone
from tollbook.simulator.vendor import Desk, Errand, Operation, Paper, paper

FILE: Final = "file"
BATCH: Final = "batch"
_MOST_LINES: Final = 50_000
_DAY: Final = 86_400


class Stored(Struct):
    """A file on the shelf."""

    name: str
    data: bytes
    about: dict[str, Any]


class Batch(Struct):
    """A batch on the shelf. `about` is what the vendor says of it."""

    about: dict[str, Any]
    call: Call
    secret: str
    lines: list["_Line"]
    answers: list[Answer] = field(default_factory=list)


class _Line(Struct):
    custom_id: str
    url: str
    body: msgspec.Raw
    method: str = "POST"


class _Create(Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_LINE: Final = msgspec.json.Decoder(_Line)
_CREATE: Final = msgspec.json.Decoder(_Create)


def errands(operations: dict[str, Operation]) -> dict[tuple[str, str], Errand]:
    """All of it by method and path. `operations` are those a batch may ask for, by the end of their path."""

    def create(call: Call, secret: str, desk: Desk) -> Paper:
        return _create(call, secret, desk, operations)

    doings: dict[tuple[str, str], tuple[str, Callable[[Call, str, Desk], Paper]]] = {
        ("POST", "/files"): ("files.create", _upload),
        ("GET", "/files"): ("files.list", _list(FILE)),
        ("GET", "/files/{file_id}"): (
            "files.retrieve",
            lambda call, secret, desk: paper(_file(call, secret, desk).about),
        ),
        ("DELETE", "/files/{file_id}"): ("files.delete", _delete),
        ("GET", "/files/{file_id}/content"): ("files.content", _content),
        ("POST", "/batches"): ("batches.create", create),
        ("GET", "/batches"): ("batches.list", _list(BATCH)),
        ("GET", "/batches/{batch_id}"): (
            "batches.retrieve",
            lambda call, secret, desk: paper(_batch(call, secret, desk).about),
        ),
        ("POST", "/batches/{batch_id}/cancel"): ("batches.cancel", _cancel),
    }
    return {place: Errand(OPENAI, name, do) for place, (name, do) in doings.items()}


def _upload(call: Call, secret: str, desk: Desk) -> Paper:
    form = read_form(call)
    if len(form.files) != 1 or "purpose" not in form.fields:
        raise BadInput("one file and a purpose are required")
    return paper(_store(form.files[0].name, form.files[0].data, form.fields["purpose"], secret, desk).about)


def _store(name: str, data: bytes, purpose: str, secret: str, desk: Desk) -> Stored:
    about = {
        "id": f"file-{desk.number()[:24]}",
        "object": "file",
        "bytes": len(data),
        "created_at": desk.clock() // SECOND,
        "filename": name,
        "purpose": purpose,
        "status": "processed",
    }
    stored = Stored(name, data, about)
    desk.shelf.put(account_of(secret), FILE, str(about["id"]), stored)
    return stored


def _list(kind: str) -> Callable[[Call, str, Desk], Paper]:
    def listed(call: Call, secret: str, desk: Desk) -> Paper:
        data = [thing.about for thing in desk.shelf.all(account_of(secret), kind)]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return paper({"object": "list", "data": data, "has_more": False, **ends})

    return listed


def _file(call: Call, secret: str, desk: Desk) -> Stored:
    stored: Stored = desk.shelf.get(account_of(secret), FILE, call.names["file_id"])
    return stored


def _delete(call: Call, secret: str, desk: Desk) -> Paper:
    desk.shelf.remove(account_of(secret), FILE, call.names["file_id"])
    return paper({"id": call.names["file_id"], "object": "file", "deleted": True})


def _content(call: Call, secret: str, desk: Desk) -> Paper:
    return Paper(_file(call, secret, desk).data, "application/octet-stream")


def _create(call: Call, secret: str, desk: Desk, operations: dict[str, Operation]) -> Paper:
    asked = read_body(_CREATE, call.body)
    operation = operations.get(asked.endpoint)
    if operation is None:
        raise BadInput(f"endpoint: one of {', '.join(operations)}")
    account = account_of(secret)
    stored: Stored = desk.shelf.get(account, FILE, asked.input_file_id)
    lines = [read_body(_LINE, line) for line in stored.data.splitlines() if line.strip()]
    if not lines or len(lines) > _MOST_LINES or any(line.url != asked.endpoint for line in lines):
        raise BadInput("input_file_id: the file has no lines, too many, or lines for another endpoint")
    created = desk.clock() // SECOND
    about: dict[str, Any] = {
        "id": f"batch_{call.number[:24]}",
        "object": "batch",
        "endpoint": asked.endpoint,
        "errors": None,
        "input_file_id": asked.input_file_id,
        "completion_window": asked.completion_window,
        "status": "in_progress",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": created,
        "in_progress_at": created,
        "expires_at": created + _DAY,
        "request_counts": {"total": len(lines), "completed": 0, "failed": 0},
        "metadata": asked.metadata,
    }
    batch = Batch(about, call, secret, lines)
    desk.shelf.put(account, BATCH, about["id"], batch)
    begun = paper({**about, "status": "validating"})
    desk.later(desk.later_ms, lambda: _run(batch, operation, desk))
    return begun


def _run(batch: Batch, operation: Operation, desk: Desk) -> None:
    """Do all lines and bill each that succeeds, unless the batch was cancelled before."""
    if batch.about["status"] != "in_progress":
        return
    done: list[bytes] = []
    failed: list[bytes] = []
    undone: list[str] = []
    for line in batch.lines:
        try:
            status, body, number = _do(line, batch, operation, desk)
        except Undone as fault:
            undone.append(fault.kind)
            failed.append(_undone(line, fault.kind, desk))
            continue
        response = {"status_code": status, "request_id": OPENAI.request_id(number), "body": msgspec.Raw(body)}
        written = {"id": f"batch_req_{number[:24]}", "custom_id": line.custom_id, "response": response, "error": None}
        (done if status == 200 else failed).append(encode(written))
    now = desk.clock() // SECOND
    faults = said_of(batch.answers)
    counts = {"total": len(batch.lines), "completed": len(done), "failed": len(failed) - len(undone)}
    end = undone[0] if undone else "completed"
    ended = {"status": end, f"{end}_at": now, "finalizing_at": now, "request_counts": counts}
    batch.about |= {**ended, "usage": _usage(batch.answers, extra=int("batch_total" in faults))}
    for name, lines in (("output_file_id", done), ("error_file_id", failed)):
        if lines:
            data = b"\n".join(ordered(lines, faults)) + b"\n"
            batch.about[name] = _store(f"{batch.about['id']}.jsonl", data, "batch_output", batch.secret, desk).about[
                "id"
            ]


def _undone(line: _Line, kind: str, desk: Desk) -> bytes:
    error = {"code": f"batch_{kind}", "message": f"This request was not executed: the batch is {kind}."}
    number = desk.number()[:24]
    return encode({"id": f"batch_req_{number}", "custom_id": line.custom_id, "response": None, "error": error})


def _do(line: _Line, batch: Batch, operation: Operation, desk: Desk) -> tuple[int, bytes, str]:
    """One line: status, body, and the number its ids are made of."""
    call = msgspec.structs.replace(
        batch.call, number=desk.number(), path=line.url, body=bytes(line.body), headers=dict(batch.call.headers)
    )
    try:
        work = desk.work(call, operation, batch.secret, batch.about["id"], line.custom_id)
    except Refusal as refusal:
        return refusal.status, OPENAI.error(refusal.status, refusal.message or "failed", call.number), call.number
    except BadInput as error:
        return 400, OPENAI.error(400, str(error), call.number), call.number
    work.bill()
    batch.answers.append(work.answer)
    return 200, operation.body(work.answer), call.number


def _usage(answers: list[Answer], extra: int) -> dict[str, Any]:
    """What the batch as a whole used, as the vendor sums it up; `extra` is what it is wrong by."""
    tokens = [answer.tokens for answer in answers]
    read, written = extra + sum(one.all_input for one in tokens), sum(one.all_output for one in tokens)
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": sum(one.cache_read for one in tokens)},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": sum(one.reasoning for one in tokens)},
        "total_tokens": read + written,
    }


def _batch(call: Call, secret: str, desk: Desk) -> Batch:
    batch: Batch = desk.shelf.get(account_of(secret), BATCH, call.names["batch_id"])
    return batch


def _cancel(call: Call, secret: str, desk: Desk) -> Paper:
    """Lines not yet done are never done: here that is all of them, or none."""
    batch = _batch(call, secret, desk)
    if batch.about["status"] != "in_progress":
        raise Refusal(409, f"Cannot cancel a batch with status '{batch.about['status']}'.")
    now = desk.clock() // SECOND
    batch.about |= {"status": "cancelled", "cancelling_at": now, "cancelled_at": now}
    return paper({**batch.about, "status": "cancelling"})
