"""Running a simulator: in a thread of a test, or as a process of its own."""

import asyncio
import pathlib
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Self

import uvloop
from msgspec import Struct

from tollbook.core.clock import Clock, now
from tollbook.core.faults import BadInput
from tollbook.simulator.books import Books
from tollbook.simulator.connection import Connection
from tollbook.simulator.rule import Rule, read_rules
from tollbook.simulator.rulebook import Rulebook
from tollbook.simulator.service import Service, Settings

_BACKLOG: Final = 4096


class Address(Struct, frozen=True):
    """Where a simulator listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Server:
    """The listening side of a simulator, inside a running event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: asyncio.Server | None = None

    async def start(self, listen: str, tls: tuple[pathlib.Path, pathlib.Path] | None = None) -> Address:
        """Listen on `host:port`, port 0 being any free one. `tls` is certificate and key, both PEM."""
        host, port = parse_listen(listen)
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*tls)
        loop = asyncio.get_running_loop()
        self._service.timer = loop.call_later
        self._server = await loop.create_server(
            lambda: Connection(self._service), host, port, ssl=context, backlog=_BACKLOG
        )
        return Address(host, self._server.sockets[0].getsockname()[1], tls is not None)

    def stop(self) -> None:
        """Stop listening. Connections end with the event loop."""
        if self._server is not None:
            self._server.close()


def parse_listen(listen: str) -> tuple[str, int]:
    """`host:port` as its parts. Raises BadInput for anything else."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise BadInput(f"listen address {listen!r} is not host:port, like 127.0.0.1:0")
    return host.strip("[]"), int(port)


class Simulator:
    """A vendor in a thread of this process; use it in a `with` or `async with` block.

    `rules` are Rule objects or plain data of the same form; `books` is a directory for the vendor's books, which are
    kept in memory when there is none. The other settings are those of `Settings`.
    """

    def __init__(
        self,
        rules: Sequence[Rule | dict[str, Any]] = (),
        *,
        books: pathlib.Path | None = None,
        listen: str = "127.0.0.1:0",
        tls: tuple[pathlib.Path, pathlib.Path] | None = None,
        settings: Settings | None = None,
        seed: int = 0,
        clock: Clock = now,
    ) -> None:
        self.settings = settings or Settings(seed=seed)
        self.books = Books(books)
        self._rulebook = Rulebook(self.settings.seed, read_rules(rules, "rules"))
        self._service = Service(self.settings, self._rulebook, self.books, clock)
        self._listen, self._tls = listen, tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._started: Future[Address] = Future()

    @property
    def url(self) -> str:
        """`http://host:port`, without a path; the base URL for Anthropic's SDK."""
        return self._started.result().url

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI's SDK."""
        return f"{self.url}/v1"

    def url_of(self, vendor: str) -> str:
        """The base URL of a vendor that has a prefix of its own, up to its version: `xai`, `groq` and the like."""
        return f"{self.url}/{vendor}"

    def install(self, rules: Sequence[Rule | dict[str, Any]]) -> None:
        """Replace the rules. Raises BadInput when one says something unknown."""
        checked = read_rules(rules, "rules")
        self._call(partial(self._rulebook.install, checked))

    def reset(self) -> None:
        """Empty the books and go back to the first rules."""
        self._call(self._service.reset)

    def start(self) -> Self:
        """Listen; returns when connections are accepted.

        Raises BadInput when the address is none, OSError when it cannot be had.
        """
        self._thread = threading.Thread(target=self._run, name="tollbook-simulator", daemon=True)
        self._thread.start()
        self._started.result()
        return self

    def stop(self) -> None:
        """End all connections and the thread; the books stay readable."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None
        self.books.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    def _run(self) -> None:
        uvloop.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = Server(self._service)
        try:
            address = await server.start(self._listen, self._tls)
        except (OSError, BadInput) as error:
            self._started.set_exception(error)
            return
        self._started.set_result(address)
        await self._stop.wait()
        server.stop()

    def _call(self, act: Callable[[], None]) -> None:
        """Do something in the simulator's thread, and wait until it is done."""
        done: Future[None] = Future()

        def run() -> None:
            act()
            done.set_result(None)

        if self._loop is None or self._thread is None:
            run()
            return
        self._loop.call_soon_threadsafe(run)
        done.result()
