"""`python -m tollbook.simulator`: a simulated vendor as a process of its own."""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import sys
from collections.abc import Sequence

import uvloop

from tollbook.core.faults import Fault
from tollbook.simulator.books import Books
from tollbook.simulator.rule import load_rules
from tollbook.simulator.rulebook import Rulebook
from tollbook.simulator.server import Server
from tollbook.simulator.service import Service, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. One JSON line on standard output says where it listens, once it does."""
    options = _parser().parse_args(arguments)
    try:
        uvloop.run(_serve(options))
    except (Fault, OSError) as error:
        sys.stderr.write(f"tollbook simulator: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tollbook.simulator", description=main.__doc__)
    usual = Settings()
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="port 0 is any free one")
    parser.add_argument("--books", type=pathlib.Path, metavar="DIR", help="where the vendor keeps its books")
    parser.add_argument("--rules", type=pathlib.Path, metavar="FILE", help="rules in YAML or JSON")
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--first-byte-ms", type=int, default=usual.first_byte_ms, metavar="MS")
    parser.add_argument("--chunk-ms", type=int, default=usual.chunk_ms, metavar="MS")
    parser.add_argument("--chunk-tokens", type=int, default=usual.chunk_tokens, metavar="N")
    parser.add_argument("--later-ms", type=int, default=usual.later_ms, metavar="MS")
    parser.add_argument("--report-lag-ms", type=int, default=usual.report_lag_ms, metavar="MS")
    parser.add_argument("--aws-key", metavar="ID:SECRET", help="verify Bedrock's signatures with it")
    parser.add_argument("--abort-billing", choices=["whole", "generated"], default=usual.abort_billing)
    parser.add_argument("--tls-cert", type=pathlib.Path, metavar="PEM")
    parser.add_argument("--tls-key", type=pathlib.Path, metavar="PEM")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    settings = Settings(
        seed=options.seed,
        first_byte_ms=options.first_byte_ms,
        chunk_ms=options.chunk_ms,
        chunk_tokens=options.chunk_tokens,
        later_ms=options.later_ms,
        report_lag_ms=options.report_lag_ms,
        abort_billing=options.abort_billing,
        aws_key=options.aws_key,
    )
    rules = load_rules(options.rules) if options.rules else ()
    server = Server(Service(settings, Rulebook(settings.seed, rules), Books(options.books)))
    tls = (options.tls_cert, options.tls_key or options.tls_cert) if options.tls_cert else None
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    address = await server.start(options.listen, tls)
    books = str(options.books) if options.books else None
    line = {"listening": f"{address.host}:{address.port}", "url": address.url, "pid": os.getpid(), "books": books}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    await stop.wait()
    server.stop()


if __name__ == "__main__":
    sys.exit(main())
