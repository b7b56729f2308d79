"""A gateway that loses things on purpose, each loss by name."""

import contextlib
import http.client
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

LOSSES = (
    "stream_usage",
    "served_model",
    "rounded",
    "request_id",
    "tier",
    "tools",
    "retry_after",
    "terminal",
    "twice",
    "invented",
    "closed",
)
_KEPT = re.compile(r"content-type|.*request-?id|retry-after|x-amzn-.*|.*service-tier", re.IGNORECASE)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    vendor = ""
    losses: frozenset[str] = frozenset()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self._asked(self.rfile.read(int(self.headers["content-length"])))
        if "closed" in self.losses:
            self._refuse()
            return
        status, headers, told = self._call(body)
        if "twice" in self.losses:
            status, headers, told = self._call(body)
        told = self._told(told, stream="event-stream" in headers.get("content-type", ""))
        with contextlib.suppress(OSError):  # the client may have left
            self.send_response(status)
            for name, value in self._headers(headers):
                self.send_header(name, value)
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

    def _refuse(self) -> None:
        told = b'{"error":"no such key"}'
        self.send_response(401)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def _call(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.vendor, timeout=20)
        sent = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
        connection.request("POST", self.path, body, sent)
        answer = connection.getresponse()
        told = bytearray()
        with contextlib.suppress(http.client.HTTPException, OSError):
            while data := answer.read1(65_536):
                told += data
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, bytes(told)

    def _asked(self, body: bytes) -> bytes:
        asked: dict[str, Any] = json.loads(body)
        for loss, member in (("tier", "service_tier"), ("tools", "tools")):
            if loss in self.losses:
                asked.pop(member, None)
        return json.dumps(asked).encode()

    def _headers(self, headers: dict[str, str]) -> Iterator[tuple[str, str]]:
        for name, value in headers.items():
            if not _KEPT.fullmatch(name) or (name == "retry-after" and "retry_after" in self.losses):
                continue
            yield name, "req_of_my_own" if name.endswith("request-id") and "request_id" in self.losses else value

    def _told(self, told: bytes, *, stream: bool) -> bytes:
        text = told.decode("utf-8", "surrogateescape")
        if "served_model" in self.losses:
            text = re.sub(r'"model":\s*"(gpt-4o)[^"]*"', r'"model":"\1"', text)
        if "rounded" in self.losses:
            text = re.sub(
                r'"(prompt_tokens|input_tokens)":\s*(\d+)', lambda m: f'"{m[1]}":{int(m[2]) // 10 * 10}', text
            )
        if stream and "stream_usage" in self.losses:
            text = re.sub(r'"usage":\s*\{(?:[^{}]|\{[^{}]*\})*\}', '"usage":null', text)
        if stream and "terminal" in self.losses:
            text = text.replace("data: [DONE]", "")
        if not stream and "invented" in self.losses and '"usage"' not in text:
            text = re.sub(r"\}\s*$", ',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}', text)
        return text.encode("utf-8", "surrogateescape")


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave."""


@contextlib.contextmanager
def lossy(vendor_url: str, *losses: str) -> Iterator[str]:
    """The address of a proxy before a vendor that has these losses; without any it is an honest one."""
    assert set(losses) <= set(LOSSES)
    parts = urlsplit(vendor_url)
    handler = type("Handler", (_Handler,), {"vendor": parts.netloc, "losses": frozenset(losses)})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
