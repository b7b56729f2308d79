"""A piece of work the vendor does: its tokens are metered here, and billed once."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tollbook.core.clock import Clock, format_instant
from tollbook.simulator import tariff
from tollbook.simulator.answer import Answer, Wire
from tollbook.simulator.books import Billed, Books
from tollbook.simulator.call import Call
from tollbook.simulator.question import Question
from tollbook.simulator.rule import Rule
from tollbook.simulator.tokens import Tokens

_SHORTEST: Final = 16
_SPREAD: Final = 48


class Job(Struct):
    """An accepted request: who serves it, what it uses. `bill_whole` is the vendor's rule for aborted answers."""

    call: Call
    wire: Wire
    account: str
    asked: str
    model: tariff.Model
    tier: str
    geo: str | None
    bill_whole: bool
    books: Books
    clock: Clock
    settled: bool = False

    def settle(self, answer: Answer, generated: int, complete: bool) -> None:
        """Bill the work, the first time this is called: all of it, or what was generated when it was given up."""
        if self.settled:
            return
        self.settled = True
        tokens = answer.tokens if self.bill_whole else answer.tokens.generated(generated)
        self.books.bill(
            Billed(
                instant=format_instant(self.clock()),
                vendor=self.wire.vendor,
                vendor_request_id=self.wire.request_id(self.call.number),
                response_id=self.wire.response_id(self.call.number),
                attempt_id=self.call.attempt_id,
                request_id=self.call.request_id,
                account=self.account,
                model_asked=self.asked,
                model_served=self.model.snapshot,
                tier=self.tier,
                usage=self.wire.usage(answer, tokens),
                amount=tariff.amount(self.model, self.tier, tokens, self.geo),
                currency="USD",
                complete=complete,
            )
        )


def meter(question: Question, texts: list[str], numbers: Mapping[str, int], cached: Rule | None, mix: int) -> Tokens:
    """Count a request: what is dictated stands, the rest is counted or, for the answer's length, made from `mix`.

    Output never exceeds the limit the request asked for. `cached` moves input to cache reads.
    """
    counted = numbers["input"] if "input" in numbers else question.count(texts)
    read = 0
    if cached is not None:
        read = min(counted, counted // 2 if cached.tokens is None else cached.tokens)
    tokens = Tokens(
        input=counted - read,
        cache_read=numbers.get("cache_read", 0) + read,
        cache_write_5m=numbers.get("cache_write_5m", 0),
        cache_write_1h=numbers.get("cache_write_1h", 0),
        output=numbers.get("output", _SHORTEST + mix % _SPREAD),
        reasoning=numbers.get("reasoning", 0),
    )
    return tokens if question.limit is None else tokens.generated(question.limit)
