"""What a vendor says of a key, and which key the next request then has."""

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from small_road import SmallRoad

KEYS = {
    '"{vendor}/v1", keys: [{{name: main, secret: "{secret}"}}]}}\n  claude': '"{vendor}/v1", '
    'keys: [{{name: main, secret: "{secret}"}}, {{name: second, secret: "{secret}"}}]}}\n  claude',
    "  patient:": "  stubborn: {{targets: [{{vendor: openai, model: gpt-4o}}, {{vendor: openai, model: gpt-4.1}}],\n"
    '    retry: {{attempts: 3, on: ["401", "403"], backoff: 1ms}}}}\n  patient:',
}


class KeyedVendor:
    """A vendor that answers by the secret it is sent: a status and more header lines."""

    def __init__(self, answers: dict[str, tuple[int, str]]) -> None:
        self._answers = answers
        self.seen: Counter[str] = Counter()

    async def __aenter__(self) -> "KeyedVendor":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
                await reader.readexactly(int(fields["content-length"]))
                secret = fields["authorization"].removeprefix("Bearer ")
                self.seen[secret] += 1
                status, lines = self._answers[secret]
                body = b'{"model":"gpt-4o","usage":{"prompt_tokens":3,"completion_tokens":1}}'
                answer = f"HTTP/1.1 {status} Any\r\n{lines}content-length: {len(body)}\r\n\r\n"
                writer.write(answer.encode() + body)


@contextlib.asynccontextmanager
async def two_keys(directory: Path, vendor: KeyedVendor):  # type: ignore[no-untyped-def]
    """A road whose vendor knows the secrets `one` and `two`."""
    async with SmallRoad(directory, vendor.url, edits=KEYS) as road:
        road.parts.secrets.update({("openai", "main"): "one", ("openai", "second"): "two"})
        yield road


async def test_keys_share_the_requests(tmp_path: Path) -> None:
    """Both keys are used, each by about half of the requests."""
    async with KeyedVendor({"one": (200, ""), "two": (200, "")}) as vendor, two_keys(tmp_path, vendor) as road:
        for _ in range(60):
            assert (await road.ask()).status == 200
    assert min(vendor.seen["one"], vendor.seen["two"]) > 10


async def test_a_key_that_is_refused_is_left_and_the_other_serves(tmp_path: Path) -> None:
    """Where the policy tries 401 again, it is with the other key; later requests do not meet the refused one."""
    async with KeyedVendor({"one": (401, ""), "two": (200, "")}) as vendor, two_keys(tmp_path, vendor) as road:
        replies = [await road.ask("stubborn") for _ in range(12)]
    assert {reply.status for reply in replies} == {200}
    assert {reply.headers["x-tollbook-route"] for reply in replies} == {"openai/gpt-4o"}
    assert vendor.seen["one"] == 1


async def test_when_every_key_is_refused_one_is_used_all_the_same(tmp_path: Path) -> None:
    """No key is ever struck off: the client gets the vendor's own refusal."""
    async with KeyedVendor({"one": (403, ""), "two": (403, "")}) as vendor, two_keys(tmp_path, vendor) as road:
        replies = [await road.ask("stubborn") for _ in range(3)]
    assert {reply.status for reply in replies} == {403}
    assert set(vendor.seen) == {"one", "two"}


async def test_a_key_of_which_nothing_remains_rests(tmp_path: Path) -> None:
    """A success that says that it was the last one rests its key until the vendor's reset."""
    used_up = "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 2m\r\n"
    async with KeyedVendor({"one": (200, used_up), "two": (200, "")}) as vendor, two_keys(tmp_path, vendor) as road:
        for _ in range(20):
            assert (await road.ask()).status == 200
    assert vendor.seen["one"] == 1


async def test_a_rate_limited_key_rests_as_long_as_asked(tmp_path: Path) -> None:
    """`retry-after-ms` is obeyed, and when it is over the key takes its turn again."""
    async with (
        KeyedVendor({"one": (429, "retry-after-ms: 800\r\n"), "two": (200, "")}) as vendor,
        two_keys(tmp_path, vendor) as road,
    ):
        for _ in range(20):
            await road.ask()
        assert vendor.seen["one"] <= 2
        await asyncio.sleep(0.8)
        for _ in range(20):
            await road.ask()
        assert vendor.seen["one"] >= 2
