"""The vendor: takes a request, decides by rules and dictation, answers and bills."""

import hashlib
from functools import partial
from typing import Final, Literal

from msgspec import Struct

from tollbook.core.clock import SECOND, Clock, format_instant, now
from tollbook.core.faults import BadInput
from tollbook.simulator import anthropic, openai, tariff
from tollbook.simulator.admin import ADMIN_PATH, administer
from tollbook.simulator.answer import Answer, Wire
from tollbook.simulator.books import Books, Received, account_of
from tollbook.simulator.call import Call
from tollbook.simulator.delivery import Faults, answer_reply, error_reply
from tollbook.simulator.dictation import read_dictation
from tollbook.simulator.job import Job, meter
from tollbook.simulator.question import Question, read_question
from tollbook.simulator.reply import Reply
from tollbook.simulator.rule import STATUS_FAULTS, Rule
from tollbook.simulator.rulebook import Rulebook, Scene
from tollbook.simulator.tokens import Tokens, answer_words

KEY_PREFIX: Final = "sk-sim-"
"""Any key that begins so is accepted, and each is an account of its own."""

_WIRES: Final[dict[str, Wire]] = {openai.path: openai, anthropic.path: anthropic}
_COMMAND_HEADERS: Final = (b"x-simulator-usage", b"x-simulator-fault")


class Settings(Struct, frozen=True, kw_only=True):
    """How a vendor behaves when nothing goes wrong.

    `abort_billing` says what is billed when an answer is not delivered to its end: the `whole` answer (a vendor that
    generates on, noticing nothing), or what was `generated` until then.
    """

    seed: int = 0
    first_byte_ms: int = 0
    chunk_ms: int = 0
    chunk_tokens: int = 4
    abort_billing: Literal["whole", "generated"] = "whole"


class Refusal(Exception):
    """A request that is answered with an error status; `message` None is the vendor's usual words for it."""

    def __init__(self, status: int, message: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.retry_after = retry_after

    @classmethod
    def told(cls, rule: Rule) -> "Refusal":
        """The refusal that a rule orders."""
        return cls(int(rule.do), retry_after=rule.retry_after)


class Service:
    """Two vendors behind one address, told apart by path. Knows nothing of sockets."""

    def __init__(self, settings: Settings, rulebook: Rulebook, books: Books, clock: Clock = now) -> None:
        self._settings = settings
        self._clock = clock
        self.rulebook = rulebook
        self.books = books
        self._calls = len(books.received)
        self._connections = 0

    def connect(self) -> bool:
        """Whether a new connection is accepted."""
        self._connections += 1
        return not self.rulebook.refuses(self._connections)

    def call(self, method: str, path: str, headers: dict[bytes, bytes], keep_alive: bool, chunked: bool) -> Call:
        """Number a request whose headers have arrived."""
        self._calls += 1
        seed = f"{self._settings.seed}/{self._calls}".encode()
        number = hashlib.blake2b(seed, digest_size=16).hexdigest()
        return Call(number, method, path, headers, keep_alive, chunked)

    def note(self, call: Call, model: str | None = None) -> None:
        """Write a request down as received, once. The simulator's own endpoints are not a vendor's."""
        if call.noted or call.path.startswith(ADMIN_PATH):
            return
        call.noted = True
        wire = _WIRES.get(call.path)
        secret = wire.key(call.headers) if wire else None
        self.books.receive(
            Received(
                instant=format_instant(self._clock()),
                vendor=wire.vendor if wire else None,
                path=call.path[:256],
                vendor_request_id=(wire or openai).request_id(call.number),
                attempt_id=call.attempt_id,
                request_id=call.request_id,
                account=account_of(secret) if secret else None,
                model_asked=model[:256] if model else None,
            )
        )

    def reply(self, call: Call) -> Reply:
        """Answer a request whose body has arrived."""
        if call.path.startswith(ADMIN_PATH):
            return administer(call, self.rulebook, self.books)
        wire = _WIRES.get(call.path)
        if wire is None or call.method != "POST":
            self.note(call)
            return error_reply(call, wire or openai, 404, f"Invalid URL ({call.method} {call.path[:256]})")
        try:
            return self._serve(call, wire)
        except Refusal as refusal:
            return error_reply(call, wire, refusal.status, refusal.message, refusal.retry_after)
        except BadInput as error:
            return error_reply(call, wire, 400, str(error))

    def _serve(self, call: Call, wire: Wire) -> Reply:
        question = self._read(call, wire)
        secret = _admit(call, wire, question)
        texts = question.texts()
        dictation = read_dictation(texts, filter(None, map(call.header, _COMMAND_HEADERS)))
        faults = self.rulebook.choose(_scene(call, wire, secret, question), dictation.rules)
        refused = next((rule for name, rule in faults.items() if name in STATUS_FAULTS), None)
        if refused is not None and not refused.billed:
            raise Refusal.told(refused)
        job = self._job(call, wire, secret, question, faults)
        mix = call.checksum ^ (self._settings.seed * 2654435761 & 0xFFFFFFFF)
        tokens = meter(question, texts, dictation.numbers, faults.get("cached"), mix)
        answer = self._answer(job, question, tokens, faults, dictation.numbers, mix)
        if refused is not None:
            job.settle(answer, tokens.all_output, False)
            raise Refusal.told(refused)
        numbers = dictation.numbers
        first_byte_ms = numbers.get("first_byte_ms", self._settings.first_byte_ms)
        chunk_ms = numbers.get("chunk_ms", self._settings.chunk_ms)
        reply = answer_reply(call, wire, answer, faults, bool(question.stream), first_byte_ms, chunk_ms)
        reply.settle = partial(job.settle, answer)
        return reply

    def _read(self, call: Call, wire: Wire) -> Question:
        if call.too_large:
            self.note(call)
            raise Refusal(413)
        try:
            question = read_question(call.body)
        except BadInput:
            self.note(call)
            raise
        self.note(call, question.model)
        return question

    def _job(self, call: Call, wire: Wire, secret: str, question: Question, faults: Faults) -> Job:
        name = question.model
        if "served_model" in faults:
            name = faults["served_model"].served or next(n for n in tariff.model_names(wire.vendor) if n != name)
        model = tariff.find_model(wire.vendor, name)
        if model is None:
            sold = ", ".join(tariff.model_names(wire.vendor))
            raise Refusal(404, f"The model `{name[:128]}` does not exist or you do not have access to it; sold: {sold}")
        downgraded = "tier_downgrade" in faults
        return Job(
            call=call,
            wire=wire,
            account=account_of(secret),
            asked=question.model[:256],
            model=model,
            tier=wire.standard_tier if downgraded else wire.served_tier(question.service_tier, model.tiers),
            geo=wire.served_geo(question.inference_geo, bool(model.us_percent)),
            bill_whole=self._settings.abort_billing == "whole",
            books=self.books,
            clock=self._clock,
        )

    def _answer(
        self, job: Job, question: Question, tokens: Tokens, faults: Faults, numbers: dict[str, int], mix: int
    ) -> Answer:
        return Answer(
            number=job.call.number,
            created=self._clock() // SECOND,
            model=job.model.snapshot,
            tier=job.tier,
            geo=job.geo,
            tokens=tokens,
            words=answer_words(tokens.output, mix),
            chunk_tokens=max(1, numbers.get("chunk_tokens", self._settings.chunk_tokens)),
            truncated=tokens.all_output == question.limit,
            include_usage=bool(question.stream_options and question.stream_options.include_usage),
            quirks=faults,
        )


def _admit(call: Call, wire: Wire, question: Question) -> str:
    """The key of a request that may be served."""
    secret = wire.key(call.headers)
    if secret is None or not secret.startswith(KEY_PREFIX):
        raise Refusal(401, f"Incorrect API key provided; the simulator accepts keys that begin with {KEY_PREFIX}")
    objection = wire.objection(call.headers, question.limit)
    if objection is not None:
        raise Refusal(400, objection)
    return secret


def _scene(call: Call, wire: Wire, secret: str, question: Question) -> Scene:
    account = account_of(secret)
    return Scene(
        vendor=wire.vendor,
        path=call.path,
        model=question.model,
        key=secret,
        account=account,
        stream=bool(question.stream),
        attempt=call.attempt,
        scope=call.request_id or f"{account}/{call.checksum}",
        body=call.checksum,
    )
