"""A piece of work the vendor does: its tokens are metered here, and billed once."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tollbook.core.clock import Clock, format_instant
from tollbook.simulator import tariff
from tollbook.simulator.answer import Answer
from tollbook.simulator.books import Billed, Books
from tollbook.simulator.call import Call
from tollbook.simulator.question import Question
from tollbook.simulator.rule import Rule
from tollbook.simulator.tokens import Tokens
from tollbook.simulator.vendor import Operation

_SHORTEST: Final = 16
_SPREAD: Final = 48


class Job(Struct):
    """An accepted request: who serves it, what it uses. `bill_whole` is the vendor's rule for aborted
    answers, `free` says that this one is not billed at all."""

    call: Call
    operation: Operation
    account: str
    asked: str
    tier: str
    bill_whole: bool
    books: Books
    clock: Clock
    batch_id: str | None = None
    custom_id: str | None = None
    free: bool = False
    settled: bool = False

    def settle(self, answer: Answer, generated: int, complete: bool) -> bool:
        """Bill the work, the first time this is called: all of it, or what was generated when it was given up.

        Returns whether the work is billed: what is `free` is not.
        """
        if self.settled or self.free:
            return not self.free
        self.settled = True
        tokens = answer.tokens if self.bill_whole else answer.tokens.generated(generated)
        vendor = self.operation.vendor
        self.books.bill(
            Billed(
                instant=format_instant(self.clock()),
                vendor=vendor.name,
                vendor_request_id=vendor.request_id(self.call.number),
                response_id=self.operation.response_id(answer.number),
                attempt_id=self.call.attempt_id,
                request_id=self.call.request_id,
                account=self.account,
                model_asked=self.asked,
                model_served=answer.model,
                tier=self.tier,
                usage=self.operation.usage(answer, tokens),
                amount=tariff.amount(answer.sold, self.tier, tokens, answer.geo, answer.speed),
                currency="USD",
                complete=complete,
                format=vendor.format,
                operation=self.operation.name,
                counts=tokens.counted(),
                geo=answer.geo,
                speed=answer.speed,
                batch_id=self.batch_id,
                custom_id=self.custom_id,
            )
        )
        return True


def meter(question: Question, numbers: Mapping[str, int], cached: Rule | None, mix: int) -> Tokens:
    """Count a request: what is dictated stands, the rest is counted or, for the answer's length, made from `mix`.

    Output never exceeds the limit the request asked for. `cached` moves input to cache reads.
    """
    counts = {"output": _SHORTEST + mix % _SPREAD, **question.counts}
    counts |= {name: number for name, number in numbers.items() if name in Tokens.__struct_fields__}
    if cached is not None:
        counted = counts.get("input", 0)
        read = min(counted, counted // 2 if cached.tokens is None else cached.tokens)
        counts["input"] = counted - read
        counts["cache_read"] = counts.get("cache_read", 0) + read
    tokens = Tokens(**counts)
    return tokens if question.limit is None else tokens.generated(question.limit)
