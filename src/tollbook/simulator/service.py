"""The vendors: take a request, decide by rules and dictation, answer and bill."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.faults import BadInput
from tollbook.simulator import tariff
from tollbook.simulator.admin import ADMIN_PATH, administer
from tollbook.simulator.answer import Answer
from tollbook.simulator.books import Books, Ended, Received, account_of
from tollbook.simulator.call import Call
from tollbook.simulator.catalogue import ROUTES, UNKNOWN
from tollbook.simulator.delivery import Faults, answer_reply, error_reply, paper_reply
from tollbook.simulator.dictation import Dictation, read_dictation
from tollbook.simulator.job import Job, meter
from tollbook.simulator.pricelist import Model
from tollbook.simulator.question import Question
from tollbook.simulator.reply import Reply
from tollbook.simulator.reports import REPORT_PATH, report
from tollbook.simulator.rule import STATUS_FAULTS, Rule
from tollbook.simulator.rulebook import Rulebook, Scene
from tollbook.simulator.shelf import Refusal, Shelf, Undone
from tollbook.simulator.tokens import answer_words
from tollbook.simulator.vendor import Errand, Operation, Vendor, Work

_COMMAND_HEADERS: Final = (b"x-simulator-usage", b"x-simulator-fault")


class Settings(Struct, frozen=True, kw_only=True):
    """How a vendor behaves when nothing goes wrong.

    `abort_billing` says what is billed when an answer is not delivered to its end: the `whole` answer (a vendor that
    generates on, noticing nothing), or what was `generated` until then. `later_ms` is how long batches and
    background responses take; what was billed within `report_lag_ms` is not in the reports yet. `aws_key` is
    `ID:SECRET`: Bedrock's signatures are then verified with it, else any well-formed one is accepted.
    """

    seed: int = 0
    first_byte_ms: int = 0
    chunk_ms: int = 0
    chunk_tokens: int = 4
    later_ms: int = 0
    report_lag_ms: int = 0
    abort_billing: Literal["whole", "generated"] = "whole"
    aws_key: str | None = None


class Service:
    """All the vendors behind one listening address. Knows nothing of sockets."""

    def __init__(self, settings: Settings, rulebook: Rulebook, books: Books, clock: Clock = now) -> None:
        self._settings = settings
        self._start = len(books.received)
        self._numbers = 0
        self._connections = 0
        self.clock = clock
        self.rulebook = rulebook
        self.books = books
        self.shelf = Shelf()
        self.timer: Callable[[float, Callable[[], None]], object] | None = None
        """Does something after some seconds; the server brings it."""

    # What connections use

    def connect(self) -> bool:
        """Whether a new connection is accepted."""
        self._connections += 1
        return not self.rulebook.refuses(self._connections)

    def call(
        self, method: str, path: str, headers: dict[bytes, bytes], keep_alive: bool, chunked: bool, query: str = ""
    ) -> Call:
        """Number a request whose headers have arrived, and see where it leads."""
        found = ROUTES.find(method, path)
        return Call(self.number(), method, path, headers, query, found, keep_alive, chunked)

    def note(self, call: Call, model: str | None = None) -> None:
        """Write a request down as received, once. The simulator's own endpoints are not a vendor's."""
        if call.noted or call.path.startswith((ADMIN_PATH, REPORT_PATH)):
            return
        call.noted = True
        target = call.found.target if call.found else None
        vendor = target.vendor if target else UNKNOWN
        secret = vendor.key(call) if target else None
        self.books.receive(
            Received(
                instant=format_instant(self.clock()),
                vendor=vendor.name if target else None,
                path=call.path[:256],
                vendor_request_id=vendor.request_id(call.number),
                attempt_id=call.attempt_id,
                request_id=call.request_id,
                account=account_of(secret) if secret else None,
                model_asked=model[:256] if model else None,
                format=vendor.format if target else None,
                operation=target.name if target else None,
            )
        )

    def abandon(self, call: Call) -> None:
        """The client left before its request had its turn."""
        if call.noted:
            self._end(call, None, "client_gone", False)

    def reply(self, call: Call) -> Reply:
        """Answer a request whose body has arrived."""
        if call.path.startswith(ADMIN_PATH):
            return administer(call, self.rulebook, self.books, self.reset)
        if call.path.startswith(REPORT_PATH):
            return report(call, self.books.billed, self.clock() - self._settings.report_lag_ms * 1000)
        vendor = call.found.target.vendor if call.found else UNKNOWN
        try:
            return self._serve(call)
        except Refusal as refusal:
            self.note(call)
            reply = error_reply(call, vendor, refusal.status, refusal.message, refusal.retry_after)
        except BadInput as error:
            self.note(call)
            reply = error_reply(call, vendor, 400, str(error))
        reply.settle = lambda _, ending: self._end(call, reply.status, ending, call.billed)
        return reply

    # What errands use

    @property
    def later_ms(self) -> int:
        return self._settings.later_ms

    @property
    def aws_key(self) -> str | None:
        return self._settings.aws_key

    def number(self) -> str:
        """A number never given before on these books: no two runs that gave any began at the same line."""
        self._numbers += 1
        seed = f"{self._settings.seed}/{self._start}/{self._numbers}".encode()
        return hashlib.blake2b(seed, digest_size=16).hexdigest()

    def later(self, milliseconds: int, act: Callable[[], None]) -> None:
        """Do something when a time has passed; at once when there is none to wait."""
        if milliseconds and self.timer is not None:
            self.timer(milliseconds / 1000, act)
        else:
            act()

    def work(self, call: Call, operation: Operation, secret: str, batch: str, custom_id: str) -> Work:
        """Do one line of a batch. Raises Refusal or BadInput as the operation would, Undone when it is not done."""
        question = replace(operation.read(call), stream=False, background=False)
        dictation = read_dictation(question.texts)
        faults = self.rulebook.choose(_scene(call, operation, secret, question), dictation.rules)
        _refuse(faults)
        for kind in ("expired", "cancelled"):
            if f"batch_{kind}" in faults:
                raise Undone(kind)
        work, job = self._work(call, operation, secret, question, dictation, faults, operation.vendor.batch_tier)
        job.batch_id, job.custom_id, job.tier = batch, custom_id, tariff.BATCH
        return work

    def reset(self) -> None:
        """Empty the books and the shelf, go back to the first rules."""
        self.rulebook.reset()
        self.books.clear()
        self.shelf.clear()

    # Inside

    def _serve(self, call: Call) -> Reply:
        found = call.found
        if found is None or not found.known:
            raise Refusal(404, f"Invalid URL ({call.method} {call.path[:256]})")
        if call.too_large:
            raise Refusal(413)
        if isinstance(found.target, Errand):
            return self._run(call, found.target)
        operation = found.target
        question = operation.read(call)
        self.note(call, question.model)
        secret = self._admit(call, operation.vendor)
        dictation = read_dictation(question.texts, filter(None, map(call.header, _COMMAND_HEADERS)))
        faults = self.rulebook.choose(_scene(call, operation, secret, question), dictation.rules)
        refused = _refuse(faults)
        operation.check(question, account_of(secret), self)
        work, job = self._work(call, operation, secret, question, dictation, faults)
        if refused is not None:
            job.settle(work.answer, work.answer.tokens.all_output, False)
            call.billed = True
            raise Refusal(int(refused.do), retry_after=refused.retry_after)
        return self._deliver(call, operation, secret, work, dictation, faults)

    def _run(self, call: Call, errand: Errand) -> Reply:
        """Do an errand: faults of status and connection act on it, nothing is billed for it."""
        self.note(call)
        secret = self._admit(call, errand.vendor)
        dictation = read_dictation((), filter(None, map(call.header, _COMMAND_HEADERS)))
        question = Question(model="", texts=[], counts={})
        faults = self.rulebook.choose(_scene(call, errand, secret, question), dictation.rules)
        refused = _refuse(faults)
        if refused is not None:
            raise Refusal(int(refused.do), retry_after=refused.retry_after)
        reply = paper_reply(call, errand.vendor, errand.do(call, secret, self), faults)
        reply.settle = lambda _, ending: self._end(call, reply.status, ending, False)
        return reply

    def _deliver(
        self, call: Call, operation: Operation, secret: str, work: Work, dictation: Dictation, faults: Faults
    ) -> Reply:
        numbers = dictation.numbers
        if work.answer.question.background:
            later_ms = numbers.get("later_ms", self._settings.later_ms)
            paper = operation.defer(work, account_of(secret), later_ms, self)
            reply = paper_reply(call, operation.vendor, paper, faults)
            reply.settle = lambda _, ending: self._end(call, reply.status, ending, False)
            return reply
        operation.keep(work.answer, account_of(secret), self)
        first_byte_ms = numbers.get("first_byte_ms", self._settings.first_byte_ms)
        chunk_ms = numbers.get("chunk_ms", self._settings.chunk_ms)
        stream = work.answer.question.stream
        reply = answer_reply(call, operation, work.answer, faults, stream, first_byte_ms, chunk_ms)
        reply.settle = partial(self._settle, call, work, reply)
        return reply

    def _settle(self, call: Call, work: Work, reply: Reply, generated: int, ending: str) -> None:
        self._end(call, reply.status, ending, work.settle(generated, ending == "answered"))

    def _end(self, call: Call, status: int | None, ending: str, billed: bool) -> None:
        """Write down how a request ended, once."""
        if call.ended:
            return
        call.ended = True
        vendor = call.found.target.vendor if call.found else UNKNOWN
        self.books.end(
            Ended(
                instant=format_instant(self.clock()),
                vendor_request_id=vendor.request_id(call.number),
                attempt_id=call.attempt_id,
                request_id=call.request_id,
                status=status,
                ending=ending,
                billed=billed,
            )
        )

    def _admit(self, call: Call, vendor: Vendor) -> str:
        """The key of a request that may be served. Raises Refusal."""
        vendor.verify(call, self._settings.aws_key)
        secret = vendor.key(call)
        if secret is None or not vendor.opens(secret):
            raise Refusal(401, "Incorrect API key provided; the simulator accepts keys that begin with sk-sim-")
        objection = vendor.objection(call)
        if objection is not None:
            raise Refusal(400, objection)
        return secret

    def _work(
        self,
        call: Call,
        operation: Operation,
        secret: str,
        question: Question,
        dictation: Dictation,
        faults: Faults,
        tier: str | None = None,
    ) -> tuple[Work, Job]:
        vendor = operation.vendor
        model = _model(vendor, question.model, faults)
        if tier is None:
            downgraded = "tier_downgrade" in faults
            tier = vendor.standard_tier if downgraded else vendor.served_tier(question.tier, model.tiers)
        job = Job(
            call=call,
            operation=operation,
            account=account_of(secret),
            asked=question.model[:256],
            tier=tier,
            bill_whole=self._settings.abort_billing == "whole",
            books=self.books,
            clock=self.clock,
            free="failed" in faults and operation.can_fail and not faults["failed"].billed,
        )
        mix = call.checksum ^ (self._settings.seed * 2654435761 & 0xFFFFFFFF)
        tokens = meter(question, dictation.numbers, faults.get("cached"), mix)
        answer = Answer(
            number=call.number,
            created=self.clock() // SECOND,
            sold=model,
            tier=tier,
            geo=vendor.served_geo(question.geo, bool(model.us_percent)),
            speed="fast" if question.speed == "fast" and model.fast_percent else question.speed and "standard",
            tokens=tokens,
            words=answer_words(tokens.output, mix),
            chunk_tokens=max(1, dictation.numbers.get("chunk_tokens", self._settings.chunk_tokens)),
            truncated=tokens.all_output == question.limit,
            question=question,
            quirks=faults,
        )
        return Work(answer, partial(job.settle, answer)), job


def _model(vendor: Vendor, asked: str, faults: Faults) -> Model:
    """The model that serves. Raises Refusal (404) when the vendor does not sell it."""
    name = vendor.model_named(asked)
    if "served_model" in faults:
        name = faults["served_model"].served or next(n for n in tariff.model_names(vendor.prices) if n != name)
    model = tariff.find_model(vendor.prices, name)
    if model is None:
        sold = ", ".join(tariff.model_names(vendor.prices))
        raise Refusal(404, f"The model `{name[:128]}` does not exist or you do not have access to it; sold: {sold}")
    return model


def _refuse(faults: Faults) -> Rule | None:
    """The status fault that is billed all the same. Raises Refusal for one that is not."""
    refused = next((rule for name, rule in faults.items() if name in STATUS_FAULTS), None)
    if refused is not None and not refused.billed:
        raise Refusal(int(refused.do), retry_after=refused.retry_after)
    return refused


def _scene(call: Call, target: Operation | Errand, secret: str, question: Question) -> Scene:
    account = account_of(secret)
    return Scene(
        vendor=target.vendor.name,
        path=call.path,
        model=question.model,
        key=secret,
        account=account,
        stream=question.stream,
        attempt=call.attempt,
        scope=call.request_id or f"{account}/{call.checksum}",
        body=call.checksum,
    )
