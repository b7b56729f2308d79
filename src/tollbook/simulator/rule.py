"""Rules: what a vendor does wrong, when and how often; the closed list of faults."""

import pathlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import yaml
from msgspec import Struct, field

from tollbook.core.faults import BadInput


class Fault(NamedTuple):
    """One kind of misbehaviour: what it does and which options of a rule it reads."""

    meaning: str
    options: tuple[str, ...] = ()


_ERROR_OPTIONS: Final = ("retry_after", "billed")

FAULTS: Final[dict[str, Fault]] = {
    "400": Fault("refused as an invalid request", _ERROR_OPTIONS),
    "401": Fault("refused: the key is not accepted", _ERROR_OPTIONS),
    "403": Fault("refused: the key may not do this", _ERROR_OPTIONS),
    "404": Fault("refused: no such model", _ERROR_OPTIONS),
    "408": Fault("request timeout", _ERROR_OPTIONS),
    "409": Fault("conflict", _ERROR_OPTIONS),
    "413": Fault("request too large", _ERROR_OPTIONS),
    "429": Fault("rate limited; `retry-after` is 1 second unless told", _ERROR_OPTIONS),
    "500": Fault("internal error", _ERROR_OPTIONS),
    "502": Fault("bad gateway", _ERROR_OPTIONS),
    "503": Fault("service unavailable", _ERROR_OPTIONS),
    "504": Fault("gateway timeout", _ERROR_OPTIONS),
    "529": Fault("overloaded (Anthropic's own status)", _ERROR_OPTIONS),
    "refuse": Fault("a new connection is reset at once; a rule for it has no `when`"),
    "accept_then_timeout": Fault("the request is done and billed, and never answered"),
    "drop": Fault("connection reset before the first byte of the answer"),
    "cut_before_body": Fault("connection reset after the headers"),
    "cut": Fault("connection reset in the middle of the answer", ("after",)),
    "cut_fin": Fault("connection closed in the middle of the answer, the HTTP message incomplete", ("after",)),
    "clean_end": Fault("a stream ends as a complete HTTP message without its terminal event", ("after",)),
    "error_event": Fault("an error event inside a 200 stream, then its end", ("after",)),
    "close_after": Fault("the connection is closed after a complete answer, without notice"),
    "slow_first_byte": Fault("the first byte waits", ("ms",)),
    "slow_chunks": Fault("each further chunk waits", ("ms",)),
    "tiny": Fault("the body is written one byte at a time"),
    "no_space": Fault("`data:{...}` without a space"),
    "crlf": Fault("lines of the stream end in CR LF"),
    "comments": Fault("comment lines between events"),
    "multiline": Fault("an event's data is spread over several `data:` lines"),
    "usage_missing": Fault("no usage anywhere"),
    "usage_null": Fault("usage is null where it should stand"),
    "usage_zero_first": Fault("the stream's first usage is all zero, the last is right"),
    "usage_cumulative": Fault("each content chunk repeats the usage so far"),
    "usage_with_choices": Fault("usage comes in the chunk with `finish_reason` (OpenAI)"),
    "delta_only": Fault("`message_start` has no usage, `message_delta` has all of it (Anthropic)"),
    "delta_zero_input": Fault("`message_delta` reports zero input after a right `message_start` (Anthropic)"),
    "served_model": Fault("another model answers and is billed", ("served",)),
    "tier_downgrade": Fault("a better tier was asked for, the standard one serves and is billed"),
    "usage_zero": Fault("every usage is all zero"),
    "usage_elsewhere": Fault("usage stands where some servers put it (see below)"),
    "failed": Fault(
        "the response fails after it began, without usage; not billed unless told (responses)", ("billed",)
    ),
    "batch_expired": Fault("a line of a batch is not done in time, and the batch ends as expired"),
    "batch_cancelled": Fault("a line of a batch is not done, and the batch ends as cancelled by someone else"),
    "batch_shuffled": Fault("the results of the batch come in another order"),
    "batch_repeated": Fault("the results of the batch have every other line twice"),
    "batch_total": Fault("the batch tells a total that its lines do not add up to"),
    "cached": Fault("part of the input is read from a cache: `tokens`, or half", ("tokens",)),
}
"""Every fault by name. `docs/simulator.md` lists them; a test compares."""

STATUS_FAULTS: Final = frozenset(name for name in FAULTS if name.isdigit())


class When(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The requests a rule is for; what is not named matches anything.

    `key` is a vendor key or its account name; `attempt` is the number at the end of `x-tollbook-attempt-id`, else one
    more than the SDK's retry count.
    """

    vendor: str | None = None
    path: str | None = None
    model: str | None = None
    key: str | None = None
    stream: bool | None = None
    attempt: int | tuple[int, ...] | None = None


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One thing a vendor does wrong.

    `times` bounds how often: over all requests for an installed rule, over the attempts of one request for a rule
    inside a request. `probability` is drawn from the seed and the request's body.
    """

    do: str
    when: When = field(default_factory=When)
    times: int | None = None
    probability: float | None = None
    after: int | None = None
    ms: int | None = None
    retry_after: int | None = None
    served: str | None = None
    tokens: int | None = None
    billed: bool | None = None

    def __post_init__(self) -> None:
        fault = FAULTS.get(self.do)
        if fault is None:
            raise ValueError(f"unknown fault {self.do!r}; known: {', '.join(FAULTS)}")
        for option in ("after", "ms", "retry_after", "served", "tokens", "billed"):
            if getattr(self, option) is not None and option not in fault.options:
                allowed = ", ".join(fault.options) or "none"
                raise ValueError(f"fault {self.do!r} has no option {option!r}; its options: {allowed}")
        for option in ("times", "after", "ms", "retry_after", "tokens"):
            if (getattr(self, option) or 0) < 0:
                raise ValueError(f"{option!r} of fault {self.do!r} is below zero")
        if self.probability is not None and not 0 <= self.probability <= 1:
            raise ValueError(f"'probability' of fault {self.do!r} is {self.probability}; it lies between 0 and 1")
        if self.do == "refuse" and self.when != When():
            raise ValueError("fault 'refuse' acts before a request is read and can have no 'when'")


def read_rules(value: Any, place: str) -> tuple[Rule, ...]:
    """Rules from plain data: a list of rules, or an object with the list under `rules`.

    Raises BadInput naming the place, the path inside it and what is wrong.
    """
    if isinstance(value, dict) and set(value) == {"rules"}:
        value = value["rules"]
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise BadInput(f"{place}: rules are a list, or an object whose only member is `rules`")
    return tuple(_read_rule(rule, f"{place}: rule {number}") for number, rule in enumerate(value, 1))


def _read_rule(value: Any, place: str) -> Rule:
    if isinstance(value, Rule):
        return value
    if isinstance(value, dict) and isinstance(value.get("do"), int):
        value = {**value, "do": str(value["do"])}
    try:
        return msgspec.convert(value, Rule)
    except msgspec.ValidationError as error:
        raise BadInput(f"{place}: {error}") from None


def load_rules(path: pathlib.Path) -> tuple[Rule, ...]:
    """Rules from a YAML or JSON file. Raises BadInput when it cannot be read or says something unknown."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not YAML or JSON: {error}") from None
    return read_rules(value, str(path))
