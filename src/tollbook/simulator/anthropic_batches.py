"""Anthropic's message batches and token counting: each request of a batch is done and billed as a message of its own,
at half price."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from tollbook.core.clock import SECOND, format_instant
from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, encode
from tollbook.simulator.anthropic import ANTHROPIC, Messages, message, read_messages
from tollbook.simulator.books import account_of
from tollbook.simulator.call import Call
from tollbook.simulator.disorder import ordered, said_of
from tollbook.simulator.question import read_body
from tollbook.simulator.shelf import Refusal, Undone
from tollbook.simulator.vendor import Desk, Errand, Paper, paper

KIND: Final = "message batch"
_DAY: Final = 86_400 * SECOND


class _Request(Struct):
    custom_id: str
    params: msgspec.Raw


class _Create(Struct):
    requests: list[_Request]


class Batch(Struct):
    """A batch on the shelf: what the vendor says of it, and its results once it has ended."""

    about: dict[str, Any]
    call: Call
    secret: str
    requests: list[_Request]
    results: bytes = b""
    faults: frozenset[str] = frozenset()


_CREATE: Final = msgspec.json.Decoder(_Create)


def errands(messages: Messages) -> dict[tuple[str, str], Errand]:
    """All of it by method and path."""

    def create(call: Call, secret: str, desk: Desk) -> Paper:
        return _create(call, secret, desk, messages)

    doings: dict[tuple[str, str], tuple[str, Callable[[Call, str, Desk], Paper]]] = {
        ("POST", "/count_tokens"): ("count_tokens", _count_tokens),
        ("POST", "/batches"): ("batches.create", create),
        ("GET", "/batches"): ("batches.list", _list),
        ("GET", "/batches/{batch_id}"): (
            "batches.retrieve",
            lambda call, secret, desk: paper(_batch(call, secret, desk).about),
        ),
        ("POST", "/batches/{batch_id}/cancel"): ("batches.cancel", _cancel),
        ("GET", "/batches/{batch_id}/results"): ("batches.results", _results),
        ("DELETE", "/batches/{batch_id}"): ("batches.delete", _delete),
    }
    return {place: Errand(ANTHROPIC, name, do) for place, (name, do) in doings.items()}


def _count_tokens(call: Call, secret: str, desk: Desk) -> Paper:
    return paper({"input_tokens": read_messages(call.body).counts["input"]})


def _create(call: Call, secret: str, desk: Desk, messages: Messages) -> Paper:
    requests = read_body(_CREATE, call.body).requests
    if not requests or len({request.custom_id for request in requests}) != len(requests):
        raise BadInput("requests: at least one, each with a custom_id of its own")
    now = desk.clock()
    about: dict[str, Any] = {
        "id": f"msgbatch_{call.number[:24]}",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": _counts(processing=len(requests)),
        "ended_at": None,
        "created_at": format_instant(now),
        "expires_at": format_instant(now + _DAY),
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    }
    batch = Batch(about, call, secret, requests)
    desk.shelf.put(account_of(secret), KIND, about["id"], batch)
    begun = paper(about)
    desk.later(desk.later_ms, lambda: _run(batch, messages, desk))
    return begun


def _run(batch: Batch, messages: Messages, desk: Desk) -> None:
    """Do all requests and bill each that succeeds, unless the batch was canceled before."""
    if batch.about["processing_status"] != "in_progress":
        return
    answers: list[Answer] = []
    results = [_do(request, batch, messages, desk, answers) for request in batch.requests]
    batch.faults = said_of(answers)
    _end(batch, [request.custom_id for request in batch.requests], results, desk)


def _do(request: _Request, batch: Batch, messages: Messages, desk: Desk, answers: list[Answer]) -> dict[str, Any]:
    """One request: its result. Its answer, where there is one, is added to `answers`."""
    call = msgspec.structs.replace(batch.call, number=desk.number(), path="/v1/messages", body=bytes(request.params))
    try:
        work = desk.work(call, messages, batch.secret, batch.about["id"], request.custom_id)
    except Undone as fault:
        return {"type": fault.kind.replace("cancelled", "canceled")}
    except Refusal as refusal:
        error = ANTHROPIC.error(refusal.status, refusal.message or "failed", call.number)
        return {"type": "errored", "error": msgspec.Raw(error)}
    except BadInput as fault:
        return {"type": "errored", "error": msgspec.Raw(ANTHROPIC.error(400, str(fault), call.number))}
    work.bill()
    answers.append(work.answer)
    return {"type": "succeeded", "message": message(work.answer)}


def _end(batch: Batch, names: list[str], results: list[dict[str, Any]], desk: Desk) -> None:
    pairs = zip(names, results, strict=True)
    lines = [encode({"custom_id": name, "result": result}) + b"\n" for name, result in pairs]
    batch.results = b"".join(ordered(lines, batch.faults))
    kinds = [result["type"] for result in results]
    if "batch_total" in batch.faults:
        kinds.append("succeeded")
    batch.about |= {
        "processing_status": "ended",
        "ended_at": format_instant(desk.clock()),
        "request_counts": _counts(**{kind: kinds.count(kind) for kind in kinds}),
        "results_url": f"/v1/messages/batches/{batch.about['id']}/results",
    }


def _counts(**counts: int) -> dict[str, int]:
    return dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0) | counts


def _list(call: Call, secret: str, desk: Desk) -> Paper:
    data = [batch.about for batch in desk.shelf.all(account_of(secret), KIND)]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return paper({"data": data, "has_more": False, **ends})


def _batch(call: Call, secret: str, desk: Desk) -> Batch:
    batch: Batch = desk.shelf.get(account_of(secret), KIND, call.names["batch_id"])
    return batch


def _cancel(call: Call, secret: str, desk: Desk) -> Paper:
    """Requests not yet done are never done: here that is all of them, or none."""
    batch = _batch(call, secret, desk)
    if batch.about["processing_status"] == "in_progress":
        batch.about["cancel_initiated_at"] = format_instant(desk.clock())
        canceling = {**batch.about, "processing_status": "canceling"}
        canceled = [{"type": "canceled"} for _ in batch.requests]
        _end(batch, [request.custom_id for request in batch.requests], canceled, desk)
        return paper(canceling)
    return paper(batch.about)


def _results(call: Call, secret: str, desk: Desk) -> Paper:
    batch = _batch(call, secret, desk)
    if batch.about["processing_status"] != "ended":
        raise Refusal(404, f"Batch {batch.about['id']} has no available results")
    return Paper(batch.results, "application/x-jsonl")


def _delete(call: Call, secret: str, desk: Desk) -> Paper:
    batch = _batch(call, secret, desk)
    if batch.about["processing_status"] != "ended":
        raise Refusal(400, "a batch that has not ended cannot be deleted")
    desk.shelf.remove(account_of(secret), KIND, batch.about["id"])
    return paper({"id": batch.about["id"], "type": "message_batch_deleted"})
