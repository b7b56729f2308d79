"""A plain HTTP client that keeps what it was told to the byte, also when an answer breaks off."""

import http.client
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from tollbook.conformance.suite import Case
from tollbook.core.faults import BadInput

TIMEOUT_SECONDS: Final = 30.0
LONGEST_WAIT_SECONDS: Final = 2.0
AGAIN: Final = frozenset({429, 500, 502, 503, 504, 529})
"""Statuses after which clients try again."""


class Answer(Struct, frozen=True, kw_only=True):
    """What came back: header names in lower case; `whole` when the HTTP message came to its end. Status 0: nothing."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


class Client:
    """Speaks to one address with one key."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url!r} is no address of a gateway; give one such as http://127.0.0.1:8080")
        self._tls: Final = ssl.create_default_context() if parts.scheme == "https" else None
        self._host: Final = parts.hostname
        self._port: Final = parts.port or (443 if self._tls else 80)
        self._prefix: Final = parts.path.rstrip("/")
        self._key: Final = key

    def send(self, case: Case) -> Answer:
        """Send a case's request as a client of its format would, and try again as often as the case says.

        Raises BadInput when nothing listens there.
        """
        headers = {**case.key_header(self._key), **case.headers, "content-type": "application/json"}
        for left in range(case.again, -1, -1):
            answer = self._once("POST", case.path, headers, case.body, case.leave_after)
            if not left or answer.status not in AGAIN:
                break
            time.sleep(_wait(answer))
        return answer

    def get(self, path: str) -> Answer:
        """The answer to a GET."""
        return self._once("GET", path, {"authorization": f"Bearer {self._key}"}, b"", None)

    def _once(self, method: str, path: str, headers: dict[str, str], body: bytes, leave_after: int | None) -> Answer:
        connection = self._connect()
        try:
            connection.request(method, self._prefix + path, body or None, headers)
            response = connection.getresponse()
        except (http.client.HTTPException, OSError):
            connection.close()
            return Answer(status=0, headers={}, body=b"", whole=False)
        try:
            told, whole = _read(response, leave_after)
        finally:
            connection.close()
        kept = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=kept, body=told, whole=whole)

    def _connect(self) -> http.client.HTTPConnection:
        made: http.client.HTTPConnection
        if self._tls is None:
            made = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        else:
            made = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=self._tls)
        try:
            made.connect()
        except OSError as fault:
            raise BadInput(f"nothing answers at {self._host}:{self._port}: {fault}; is the gateway running?") from None
        return made


def _read(response: http.client.HTTPResponse, leave_after: int | None) -> tuple[bytes, bool]:
    told = bytearray()
    try:
        while data := response.read1(65_536):
            told += data
            if leave_after is not None and len(told) >= leave_after:
                return bytes(told), False
    except (http.client.HTTPException, OSError):
        return bytes(told), False
    return bytes(told), not response.length


def _wait(answer: Answer) -> float:
    try:
        asked = float(answer.headers.get("retry-after", "0"))
    except ValueError:
        asked = 0.0
    return min(max(asked, 0.0), LONGEST_WAIT_SECONDS)
