"""Where a fuzzer begins: the recorded bodies of `tests/wire`, and small files of our own."""

import json
from pathlib import Path

from fuzz_books import sample
from fuzz_targets import PREPARED, TOLD
from recorded_formats import RECORDED, stream_of
from recorded_wire import BESIDE, EXPECTED, WIRE, adapter_of

from tollbook.pricing.book import base_book
from tollbook.providers.contract import Adapter
from tollbook.providers.registry import ADAPTERS, BY_ENDPOINT
from tollbook.statements.sources import IMPORTERS

ROOT = Path(__file__).parent.parent
STREAMS = (".sse", ".array", ".jsonl")
HTTP_ANSWERS = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: r\r\n\r\nhi",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\ntrailer: x\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
)
HTTP_REQUESTS = (
    b"POST /v1/chat/completions?x=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /x HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nt: x\r\n\r\nGET /y HTTP/1.1\r\n\r\n",
    b"POST /x HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 9999\r\n\r\n",
    b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
)


def recorded() -> list[tuple[str, Adapter, bytes]]:
    """Every recorded answer with its adapter."""
    found = [(name, adapter_of(name), (WIRE / name).read_bytes()) for name in EXPECTED]
    for name, said in {**BESIDE, **RECORDED}.items():
        data = stream_of(name) if name in RECORDED else (WIRE / name).read_bytes()
        found.append((name, BY_ENDPOINT[said["endpoint"]], data))
    return found


def seeds_of(target: str) -> list[bytes]:
    """The seeds of a target."""
    if target in ("sse", "json_array", "event_stream"):
        suffix = {"sse": ".sse", "json_array": ".array", "event_stream": ".jsonl"}[target]
        return [b"\x07" + data for name, _, data in recorded() if name.endswith(suffix)]
    if target == "streamed":
        return [
            bytes([TOLD.index(adapter), way % len(PREPARED), 7 * way]) + data
            for way in range(3)
            for name, adapter, data in recorded()
            if name.endswith(STREAMS) and adapter in TOLD
        ]
    if target == "buffered":
        return [
            bytes([TOLD.index(adapter), 2 if "error_" in name else 0]) + data
            for name, adapter, data in recorded()
            if not name.endswith(STREAMS) and adapter in TOLD
        ]
    if target == "request":
        return [bytes([number, 0]) + body for number, _ in enumerate(ADAPTERS) for body in _requests()]
    if target == "client_connection":
        return [b"\x03" + data for data in HTTP_REQUESTS]
    if target == "vendor_connection":
        return [b"\x03" + data for data in HTTP_ANSWERS]
    if target == "configuration":
        return [
            *(path.read_bytes() for path in (ROOT.parent / "benchmarks" / "peers").glob("*.yaml")),
            _configuration(),
        ]
    return _files_of(target)


def _files_of(target: str) -> list[bytes]:
    if target == "journal_lines":
        return [data[:4000] for path, data in sample().files if path.suffix == ".jsonl"]
    if target == "price_book":
        header, *lines = base_book().dump().splitlines(keepends=True)
        return [header + b"".join(lines[at : at + 2]) for at in range(0, len(lines), 200)]
    if target == "statement":
        return [bytes([number]) + path.read_bytes() for number, path in _statements()]
    if target == "mapping":
        return [b"vendor: v\ncolumns: {from: day, amount: cost}\nbucket: day\ncurrency: EUR\nclasses: {In: input}\n"]
    if target == "verified":
        return [bytes([at, 1, at * 7 % 256, at % 4]) + b"x" * (at % 3) for at in range(24)]
    person = {"tenant": "acme", "year": "2026", "kind": "user", "digest": "d" * 64, "value": "a@b", "recorded": 1}
    return [json.dumps(person).encode() + b"\n", b"5\n[]\n{}\n\n"]


def _statements() -> list[tuple[int, Path]]:
    """Samples of each source, with the number of its importer."""
    places = {"openai_costs": "openai_costs/page", "openai_usage": "openai_usage/page"}
    found = []
    for number, kind in enumerate(IMPORTERS):
        place = (ROOT / "statements").glob(f"{places.get(kind, f'samples/{kind}')}.*")
        found += [(number, path) for path in sorted(place)]
    return found


def _requests() -> list[bytes]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 5}
    others = {"model": "m", "input": ["a", {"file_id": "f"}], "previous_response_id": "r", "tools": [{"type": "x"}]}
    gemini = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 5}}
    form = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n'
    return [*(json.dumps(body).encode() for body in (asked, others, gemini)), form]


def _configuration() -> bytes:
    return b"""book: ./book
vendors: {v: {format: openai, base_url: "https://a.example/v1", keys: [{name: k, secret: "env:A"}]}}
models: {m: {targets: [{vendor: v, model: m, weight: 2}], retry: {attempts: 2, on: [429, 5xx], backoff: 5ms}}}
tenants: {t: {keys: [{name: k, secret: "env:B"}], fields: {openai: {service_tier: {force: default}}}}}
"""
