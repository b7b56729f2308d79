"""One HTTP request to the vendor, as it arrived."""

import re
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from msgspec import Struct

if TYPE_CHECKING:
    from tollbook.simulator.routes import Found

_COUNT: Final = re.compile(r"[0-9]{1,9}")


class Call(Struct):
    """A request; `number` is 32 hexadecimal digits, the root of the vendor's ids for it."""

    number: str
    method: str
    path: str
    headers: dict[bytes, bytes]
    query: str = ""
    found: "Found | None" = None
    """Where its path leads."""
    keep_alive: bool = True
    chunked: bool = True
    """Whether the client understands chunked transfer coding (HTTP/1.1)."""
    body: bytes = b""
    too_large: bool = False
    """Whether the body was longer than the vendor reads; `body` is then its beginning."""
    noted: bool = False
    """Whether it stands in the books."""
    billed: bool = False
    """Whether it was billed although it was refused."""
    ended: bool = False
    """Whether the books say how it ended."""

    def header(self, name: bytes) -> str | None:
        """A header's value by its lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def names(self) -> Mapping[str, str]:
        """The names in the path."""
        return self.found.names if self.found else {}

    def parameter(self, name: str) -> str | None:
        """The first value of a parameter in the query."""
        return parse_qs(self.query).get(name, [None])[0]

    def parameters(self, name: str) -> list[str]:
        """All values of a parameter in the query."""
        return parse_qs(self.query).get(name, [])

    @property
    def attempt_id(self) -> str | None:
        return self.header(b"x-tollbook-attempt-id")

    @property
    def request_id(self) -> str | None:
        """The gateway's request id, from its own header or from the attempt id."""
        stated = self.header(b"x-tollbook-request-id")
        attempt = self.attempt_id
        return stated if stated is not None or attempt is None else attempt.rpartition(".")[0]

    @property
    def attempt(self) -> int:
        """The attempt's number: the end of the attempt id, else one more than an SDK's retry count."""
        number = (self.attempt_id or "").rpartition(".")[2]
        if _COUNT.fullmatch(number):
            return int(number)
        retries = self.header(b"x-stainless-retry-count") or ""
        return int(retries) + 1 if _COUNT.fullmatch(retries) else 1

    @property
    def checksum(self) -> int:
        """A number made from the body alone."""
        return zlib.crc32(self.body)
