"""The head that a client sends again and again: what differs is the length of the body.

A head that the parser accepted, of a request that came in one piece, is read the same way the next time without it.
"""

import re
from typing import Final

from tollbook.gateway.message import ClientRequest, Usual

HEAD_LIMIT: Final = 4 * 1024

_LENGTH: Final = re.compile(rb"\r\ncontent-length: ?(0|[1-9]\d{0,8})\r\n", re.IGNORECASE)
_END: Final = b"\r\n\r\n"

_ONE_OF_A_KIND: Final = frozenset(
    (
        b"baggage",
        b"expect",
        b"idempotency-key",
        b"traceparent",
        b"transfer-encoding",
        b"upgrade",
        b"x-amz-date",
        b"x-request-id",
    )
)
"""Headers of messages that no other is like: framed in another way, signed for their own instant, or with an id."""


class FamiliarHead:
    """What the parser made of one connection's last head, known by its bytes without the digits of `content-length`.

    Two messages whose heads differ in nothing but that number are parsed alike: the parser needs it only to find the
    end of the body, which is found here.
    """

    __slots__ = ("_after", "_before", "_request")

    def __init__(self) -> None:
        self._before = self._after = b""
        self._request: ClientRequest | None = None

    def read(self, data: bytes, body_limit: int) -> ClientRequest | None:
        """The request that `data` is, whole and nothing after it, with a head that is known; else None."""
        known, start = self._request, len(self._before)
        if known is None or not data.startswith(self._before):
            return None
        stop = data.find(b"\r", start, start + 10)
        digits = data[start:stop]
        if not digits.isdigit() or (digits[0] == 48 and len(digits) > 1) or not data.startswith(self._after, stop):
            return None
        end = stop + len(self._after)
        size = int(digits)
        if end + size != len(data) or size > body_limit:
            return None
        return ClientRequest(
            known.method, known.path, known.query, known.headers, data[end:], known.keep_alive, True, known.usual
        )

    def learn(self, data: bytes, request: ClientRequest) -> None:
        """Keep what the parser made of `data`, if it was one whole request of the plainest kind."""
        length = _LENGTH.search(data, 0, HEAD_LIMIT)
        if length is None or not request.chunks or any(name in _ONE_OF_A_KIND for name, _ in request.headers):
            return
        start, stop = length.span(1)
        end = data.find(_END, stop) + 4
        # The body being where it must be proves that the parser saw head, number and end where they are seen here.
        if end > HEAD_LIMIT or int(length[1]) != len(data) - end or data[end:] != request.body:
            return
        self._before, self._after = data[:start], data[stop:end]
        request.usual = Usual()
        self._request = ClientRequest(
            request.method, request.path, request.query, request.headers, b"", request.keep_alive, True, request.usual
        )
