"""Every ending of the table, for every format and way: what the client sees, and what the book says."""

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from endings import FORMATS, PAGE, ROWS, WAYS, Case, cases, page, ways_of
from small_road import HASTY, Client, Reply, SmallRoad, request_bytes

from tollbook.core.money import parse_amount
from tollbook.gateway.recorder import Recorder
from tollbook.journal.closing import examine, unsettled
from tollbook.journal.entry import RequestEntry
from tollbook.simulator import Simulator

ALL = list(cases())
LONG = pytest.mark.long


def test_no_row_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    """Each ending of the list stands in the table, for each format and way that can show it; the count is printed."""
    names = {row["name"] for row in ROWS}
    assert len(names) == len(ROWS)
    assert {ending for ending in ENDINGS if not any(ending in name for name in names)} == set()
    assert len(ALL) == sum(len(ways_of(row, name)) for row in ROWS for name in FORMATS)
    long = sum(case.long for case in ALL)
    with capsys.disabled():
        print(f"\nendings: {len(ROWS)} rows, {len(FORMATS)} formats, {len(ALL)} cases, {long} of them long")  # noqa: T201


ENDINGS = (
    "success", "400", "429 with retry-after", "500", "refused", "DNS", "TLS", "connect timeout", "first-byte timeout",
    "idle timeout mid-stream", "mid-answer", "without terminal event", "usage missing", "usage zero", "odd place",
    "repeated cumulatively", "error event inside", "gone before forward", "gone before the first byte",
    "gone mid-stream", "after the last byte", "SIGTERM", "SIGKILL", "journal full",
)  # fmt: skip
"""What the table must hold at least."""


def test_the_page_is_made_from_the_table() -> None:
    """`make reference` writes it."""
    assert PAGE.read_text() == page()


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id, marks=LONG if case.long else ()) for case in ALL])
async def test_the_ending_is_as_the_table_says(vendor: Simulator, tmp_path: Path, case: Case) -> None:
    """What the client sees; outcome, basis, whether the vendor bills it, who bears it; and never a silent zero."""
    row = case.row
    with address_of(row.get("address"), vendor) as address:
        edits = HASTY | {"connect: 5s": "connect: 300ms"} if row.get("address") or "timeout" in row["name"] else {}
        if row.get("gateway"):
            edits = {}
        edits = edits | configured(case.format)
        async with SmallRoad(tmp_path, address, row.get("setting", ""), edits=edits) as road:
            seen = await CONDUCT[row.get("client") or row.get("gateway") or "asks"](road, case)
            await road.quiet()
            assert seen == row["sees"]
            entries = road.entries
            if row["outcome"] is None:
                assert entries == []
            elif row["outcome"] == "unsettled":
                check_unsettled(road, case)
            else:
                check(entries, row)


def check(entries: list[tuple[str, RequestEntry]], row: dict[str, Any]) -> None:
    assert [kind for kind, _ in entries] == ["request.opened", "request.settled"]
    entry = entries[-1][1]
    settled, close = entry.settlement, entry.close
    assert settled is not None
    assert close is not None
    found = (settled.outcome, settled.basis, settled.billable, settled.borne_by)
    assert found == (row["outcome"], row["basis"], row["billable"], row["bears"])
    assert close.outcome == row.get("ends", row["outcome"])
    if "error" in row:
        assert settled.error == row["error"]
    assert entry.rating is not None
    assert entry.rating.unpriced is None
    expected = sum(parse_amount(charge[4] or "") for charge in entry.rating.charges)
    assert row.get("flag") in (None, *(settled.flags or ()))
    zero = row["billable"] is False or row.get("fault") == "usage_zero"
    assert (expected == 0) == zero
    recharged = sum(parse_amount(charge[5] or "") for charge in entry.rating.charges)
    assert recharged == (expected if row["bears"] == "tenant" else 0)
    if settled.basis == "estimated":
        assert settled.method is not None
        assert settled.bound is not None
        assert settled.usage is not None
        assert all(settled.usage[name] <= most for name, most in settled.bound.items() if name in settled.usage)


def check_unsettled(road: SmallRoad, case: Case) -> None:
    """The opening stands alone, with what an estimate needs; the reaper's entry says so."""
    row = case.row
    ((kind, opening),) = road.entries
    assert kind == "request.opened"
    assert opening.attempt is not None
    assert opening.attempt.body_bytes
    assert opening.attempt.output_limit == FORMATS[case.format].get("output_limit", 200)
    directory = road.directory / "book" / "lanes" / "worker-x"
    if not (road.directory / "worker-x").exists():
        shutil.copytree(directory, road.directory / "worker-x")
    (entry,) = unsettled(examine(road.directory / "worker-x"))
    assert entry.settlement is not None
    found = (entry.settlement.outcome, entry.settlement.basis, entry.settlement.billable, entry.settlement.borne_by)
    assert found == (row["outcome"], row["basis"], row["billable"], row["bears"])


# --- what clients and gateways do


def configured(name: str) -> dict[str, str]:
    """The edits that put a format's vendor into the configuration, and the model that it is asked for by."""
    vendor = FORMATS[name].get("vendor")
    if vendor is None:
        return {}
    settings = {key: value for key, value in vendor.items() if key not in ("base_url", "sends")}
    lines = [f"    {key}: {json.dumps(value)}\n" for key, value in settings.items()]
    lines += [f'    base_url: "{{vendor}}{vendor["base_url"]}"\n', '    keys: [{{name: main, secret: "{secret}"}}]\n']
    target = f'{{{{vendor: of-the-format, model: "{vendor["sends"]}"}}}}'
    return {
        "\nvendors:\n": f"\nvendors:\n  of-the-format:\n{''.join(lines)}",
        "\nmodels:\n": f"\nmodels:\n  fast: {{{{targets: [{target}], retry: {{{{attempts: 1}}}}}}}}\n",
    }


def asked(case: Case) -> bytes:
    """The request of a case."""
    about = FORMATS[case.format]
    fault = case.row.get("fault")
    told = f"[[sim {case.row.get('vendor', 'input=10 output=5')}]]" + (f" [[sim fault={fault}]]" if fault else "")
    body = json.loads(json.dumps(about["body"]).replace("TEXT", f"Hello world. {told}"))
    path = about["path"]
    if isinstance(path, dict):
        path = path[case.way]
    elif case.streamed:
        body["stream"] = True
    return request_bytes(body.get("model", "fast"), body=json.dumps(body).encode(), path=path)


async def sees(client: Client) -> tuple[str, Reply | None]:
    """What came back, in the table's words."""
    try:
        reply = await client.answer()
    except (asyncio.IncompleteReadError, ConnectionError):
        return "an answer broken off", None
    if reply.status == 200:
        return "the answer", reply
    code = next((code for code in OWN if code.encode() in reply.body), "of the vendor")
    return f"{reply.status} {code}", reply


OWN = ("attempts_exhausted", "journal_unavailable")
"""The codes of our own errors here, wherever a format has them."""


async def asks(road: SmallRoad, case: Case) -> str:
    client = await road.connect()
    client.send(asked(case))
    seen, reply = await sees(client)
    for name, value in case.row.get("header", {}).items():
        assert reply is not None
        assert reply.headers[name] == value
    return seen


async def leaves_before_forward(road: SmallRoad, case: Case) -> str:
    waiting: list[Callable[[Exception | None], None]] = []
    object.__setattr__(road.parts, "durable", lambda sequence, then: waiting.append(then))
    client = await road.connect()
    client.send(asked(case))
    await road.until(lambda: waiting)
    client.cut()
    await road.until(lambda: all(exchange._gone for exchange in road.parts.running))
    waiting[0](None)
    return "nothing"


async def leaves_before_first_byte(road: SmallRoad, case: Case) -> str:
    client = await road.connect()
    client.send(asked(case))
    await road.until(lambda: any(call.sent for call in road.parts.calls))
    client.cut()
    return "nothing"


async def leaves_mid_answer(road: SmallRoad, case: Case) -> str:
    client = await road.connect()
    client.send(asked(case))
    await asyncio.wait_for(client.reader.readexactly(1_500), 10)
    client.cut()
    return "a part"


async def leaves_after_last_byte(road: SmallRoad, case: Case) -> str:
    client = await road.connect()
    client.send(asked(case))
    seen, _ = await sees(client)
    client.cut()
    return seen


async def is_stopped(road: SmallRoad, case: Case, *, grace: bool) -> str:
    client = await road.connect()
    client.send(asked(case))
    await road.until(lambda: any(call.sent for call in road.parts.calls))
    if case.streamed and not grace:
        await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 10)
        await asyncio.wait_for(client.reader.readuntil(b"\r\n"), 10)
    road.parts.stopping = True
    if not grace:
        for call in list(road.parts.calls):
            call.cut("stopped")
    if case.streamed and not grace:
        with contextlib.suppress(ConnectionError):
            rest = await asyncio.wait_for(client.reader.read(), 10)
            assert not rest.endswith(b"0\r\n\r\n")
        return "an answer broken off"
    return (await sees(client))[0]


async def is_killed(road: SmallRoad, case: Case) -> str:
    """What is on disk at that moment is all that is left, and the client's connection ends."""
    client = await road.connect()
    client.send(asked(case))
    await road.until(lambda: any(call.sent for call in road.parts.calls))
    shutil.copytree(road.directory / "book" / "lanes" / "worker-x", road.directory / "worker-x")
    road.recorder.settle = lambda *_: None  # type: ignore[method-assign]  # nobody writes any more
    for connection in list(road.road.connections):
        connection.abort()
    seen, _ = await sees(client)
    for call in list(road.parts.calls):
        call.cut("stopped")
    return seen


async def cannot_write(road: SmallRoad, case: Case) -> str:
    road.recorder.writable = False
    return await asks(road, case)


async def can_no_longer_write(road: SmallRoad, case: Case) -> str:
    client = await road.connect()
    client.send(asked(case))
    await road.until(lambda: any(call.sent for call in road.parts.calls))
    road.lane.dead = "the disk is full"
    seen, _ = await sees(client)
    assert isinstance(road.recorder, Recorder)
    assert road.recorder.settlements_lost == 1
    return seen


CONDUCT: dict[str, Callable[[SmallRoad, Case], Awaitable[str]]] = {
    "asks": asks,
    "leaves before the request is forwarded": leaves_before_forward,
    "leaves before the first byte": leaves_before_first_byte,
    "leaves mid-answer": leaves_mid_answer,
    "leaves after the last byte": leaves_after_last_byte,
    "is stopped with grace": lambda road, case: is_stopped(road, case, grace=True),
    "is stopped without grace": lambda road, case: is_stopped(road, case, grace=False),
    "is killed": is_killed,
    "cannot write": cannot_write,
    "can no longer write": can_no_longer_write,
}
"""What the table's words for clients and gateways mean."""


@contextlib.contextmanager
def address_of(kind: str | None, vendor: Simulator) -> Iterator[str]:
    """Where the vendor is said to be."""
    if kind is None:
        yield vendor.url
    elif kind == "dns":
        yield "https://vendor.invalid"
    elif kind == "tls":
        yield vendor.url.replace("http:", "https:")
    else:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            if kind == "silent":
                listener.listen(0)
                for _ in range(4):  # the queue is full, and a further connection waits
                    filler = stack.enter_context(socket.socket())
                    filler.setblocking(False)
                    filler.connect_ex(("127.0.0.1", port))
            yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("name", "dictated"),
    [
        (name, dictated)
        for name, about in FORMATS.items()
        for dictated in ("input=1000 output=40", "input=100 cache_read=900 output=40")
        if "ways" not in about and (about.get("caches", True) or "cache" not in dictated)
    ],
)
async def test_buffered_and_streamed_cost_the_same(vendor: Simulator, tmp_path: Path, name: str, dictated: str) -> None:
    """The same request in both forms has the same usage and the vendor's own amount, to the last digit (L3, L4)."""
    found = []
    async with SmallRoad(tmp_path, vendor.url, edits=configured(name)) as road:
        for way in WAYS:
            assert await asks(road, Case(name, way, {"vendor": dictated})) == "the answer"
            entry = await road.last()
            assert entry.settlement is not None
            assert entry.rating is not None
            billed = [line for line in vendor.books.billed if line.request_id == entry.request.id]
            amount = sum(parse_amount(charge[4] or "") for charge in entry.rating.charges)
            assert [parse_amount(line.amount) for line in billed] == [amount]
            found.append((entry.settlement.usage, entry.settlement.basis, entry.rating.charges))
    assert found[0] == found[1]
    assert found[0][1] == "provider_reported"
