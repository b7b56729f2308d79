"""What a vendor is to the simulator: its manners, and the operations it offers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Container
from typing import Any, ClassVar, Final, Protocol

from msgspec import Struct

from tollbook.core.clock import Clock
from tollbook.core.faults import BadInput
from tollbook.simulator.answer import Answer, Event, encode
from tollbook.simulator.call import Call
from tollbook.simulator.question import Question
from tollbook.simulator.reply import event_bytes
from tollbook.simulator.shelf import Shelf
from tollbook.simulator.tokens import Tokens

KEY_PREFIX: Final = "sk-sim-"
"""Any key that begins so is accepted, and each is an account of its own."""

JSON: Final = "application/json"
SSE: Final = "text/event-stream; charset=utf-8"


class Vendor(ABC):
    """A vendor's manners: how it is asked, how it names things, how it says no.

    `format` is the family of wire formats it speaks.
    """

    name: str
    format: str
    standard_tier: str = "default"
    batch_tier: str = "default"
    """The tier that a batch's answers name."""

    def key(self, call: Call) -> str | None:
        """The secret of a request: the bearer, unless a vendor knows better."""
        scheme, _, secret = (call.header(b"authorization") or "").partition(" ")
        return secret.strip() if scheme.lower() == "bearer" else None

    @property
    def prices(self) -> str:
        """Whose price list is used."""
        return self.name

    def model_named(self, asked: str) -> str:
        """The name in the price list for the one asked."""
        return asked

    def verify(self, call: Call, key_pair: str | None) -> None:
        """Look at a signature, where the vendor has its requests signed. Raises Refusal for a bad one."""
        return

    def opens(self, secret: str) -> bool:
        """Whether a key opens an account."""
        return secret.startswith(KEY_PREFIX)

    def objection(self, call: Call) -> str | None:
        """Why this vendor refuses any request like this: a header or a parameter that it demands is missing."""
        return None

    def served_tier(self, asked: str | None, sold: Container[str]) -> str:
        """The tier that serves a request, given the one it asked for and those that are sold."""
        return asked if asked is not None and asked in sold else self.standard_tier

    def served_geo(self, asked: str | None, us_sold: bool) -> str | None:
        """Where a request is served, when this vendor says so."""
        return None

    @abstractmethod
    def request_id(self, number: str) -> str:
        """The id in the headers; where a vendor has none there, the one it logs by."""

    @abstractmethod
    def headers(self, number: str, milliseconds: int) -> bytes:
        """The vendor's own headers of any answer, each line with its end."""

    def error_headers(self, status: int) -> bytes:
        """Headers of an error, beside the usual ones."""
        return b""

    @abstractmethod
    def error(self, status: int, message: str, number: str) -> bytes:
        """An error body."""


class Operation(ABC):
    """A metered operation: how its requests are read and its answers are written.

    The defaults are those of an operation that answers with one JSON object and cannot stream.
    """

    name: ClassVar[str]
    can_fail: ClassVar[bool] = False
    """Whether an accepted request can end as failed, without an error status."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    @abstractmethod
    def read(self, call: Call) -> Question:
        """The request. Raises BadInput or Refusal for what the vendor would refuse."""

    @abstractmethod
    def response_id(self, number: str) -> str:
        """The id in the body; where there is none, the request's."""

    @abstractmethod
    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        """The vendor's usage object."""

    @abstractmethod
    def body(self, answer: Answer) -> bytes:
        """A buffered answer."""

    def check(self, question: Question, account: str, desk: "Desk") -> None:
        """Look at what a request names that the vendor keeps. Raises Refusal for what the account does not have."""
        return

    def keep(self, answer: Answer, account: str, desk: "Desk") -> None:
        """Put what was made on the shelf, when the vendor keeps it."""
        return

    def defer(self, work: "Work", account: str, later_ms: int, desk: "Desk") -> "Paper":
        """Begin work that is done in the background, and say so."""
        raise BadInput("background: this operation answers at once")

    def head(self, answer: Answer, stream: bool) -> bytes:
        """Headers of an answer beside the vendor's usual ones, each line with its end."""
        return b""

    def content_type(self, answer: Answer, stream: bool) -> str:
        return SSE if stream else JSON

    def events(self, answer: Answer) -> list[Event]:
        """A streamed answer, its terminal event last."""
        return [Event(None, self.body(answer), answer.tokens.all_output)]

    def error_event(self, answer: Answer) -> Event:
        """An error inside a stream."""
        return Event(None, self.vendor.error(500, "Internal error.", answer.number), 0)

    def frame(self, event: Event, answer: Answer, first: bool) -> bytes:
        """One event as bytes of the stream."""
        return event_bytes(event, answer.quirks)


class Work(Struct, frozen=True):
    """A piece of work done: the answer, and how it is billed: with the output tokens generated, and whether the
    client got all of it; what it returns is whether it is billed."""

    answer: Answer
    settle: Callable[[int, bool], bool]

    def bill(self) -> None:
        """Bill all of it."""
        self.settle(self.answer.tokens.all_output, True)


class Paper(Struct, frozen=True):
    """A plain answer to an errand."""

    body: bytes
    content_type: str = JSON
    status: int = 200


class Desk(Protocol):
    """What an errand may use of the vendor."""

    shelf: Shelf

    @property
    def later_ms(self) -> int:
        """How long batches and background responses take."""
        ...

    @property
    def clock(self) -> Clock: ...

    def number(self) -> str:
        """A new number to make ids of."""
        ...

    def later(self, milliseconds: int, act: Callable[[], None]) -> None:
        """Do something when a time has passed; at once when there is none to wait."""
        ...

    def work(self, call: Call, operation: Operation, secret: str, batch: str, custom_id: str) -> Work:
        """Do one line of a batch, at the batch tier. Raises Refusal or BadInput as the operation would; Undone when a
        fault says so."""
        ...


class Errand:
    """An operation that is not metered: it looks after what the vendor keeps."""

    def __init__(self, vendor: Vendor, name: str, do: "Callable[[Call, str, Desk], Paper]") -> None:
        self.vendor, self.name, self.do = vendor, name, do
        """`do` is given the request, the key and the vendor's desk. Raises BadInput or Refusal."""


def paper(value: object, status: int = 200) -> Paper:
    """A JSON answer."""
    return Paper(encode(value), status=status)
