"""The recorded shapes of vendors, and short ways to read them."""

import json
import pathlib
from typing import Any

from tollbook.providers.contract import Adapter, Call, Prepared, Reading
from tollbook.providers.registry import BY_FORMAT

WIRE = pathlib.Path(__file__).parent.parent / "wire"
EXPECTED: dict[str, dict[str, Any]] = json.loads((WIRE / "expected.json").read_text())
BESIDE: dict[str, dict[str, Any]] = {
    f"{path.parent.name}/{name}": expected
    for path in sorted(WIRE.glob("*/expected.json"))
    for name, expected in json.loads(path.read_text()).items()
}
"""What is expected of the answers of all other operations and formats, with the endpoint of each."""
STREAMS = sorted(name for name in EXPECTED if name.endswith(".sse"))
OPENAI: Adapter = BY_FORMAT["openai"][0]
ANTHROPIC: Adapter = BY_FORMAT["anthropic"][0]
BUFFERED = sorted(name for name in EXPECTED if not name.endswith(".sse"))


def adapter_of(name: str) -> Adapter:
    """The adapter of a recorded file."""
    return BY_FORMAT[name.partition("/")[0]][0]


def body_of(name: str) -> bytes:
    """The bytes of a recorded file."""
    return (WIRE / name).read_bytes()


def call_of(adapter: Adapter, body: bytes, query: bytes = b"", route: int = 0, **names: str) -> Call:
    """A client's request to an adapter, by one of its routes."""
    return Call(adapter.routes[route], names, query, [], body, adapter.scan([], body))


def read_pieces(adapter: Adapter, pieces: list[bytes], hides: bool = False) -> tuple[Reading, bytes]:
    """The reading of a stream that came in some pieces, and what its client got."""
    reader = adapter.stream(Prepared(path="", body=b"", hides_usage=hides))
    passed = b"".join(map(reader.feed, pieces)) + reader.flush()
    return reader.reading(), passed


def usage_of(reading: Reading) -> dict[str, int]:
    """A usage that must be there."""
    assert reading.usage is not None
    return reading.usage
