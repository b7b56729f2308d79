"""`tollbook init`: a configuration to begin with, and a new book."""

from pathlib import Path
from typing import Annotated, Final

import typer

from tollbook.cli import screen
from tollbook.cli.options import JsonOption
from tollbook.cli.provenance import provenance

TEMPLATE: Final = """\
# Every setting is described in docs/reference/settings.md. Secrets stay outside: env:NAME or file:/path.
book: ./book
gateway: {listen: "127.0.0.1:8080", workers: 1, client_gone: drain}
journal: {sync: periodic}
vendors:
  openai: {format: openai, base_url: "https://api.openai.com/v1", keys: [{name: main, secret: "env:OPENAI_API_KEY"}]}
  claude:
    format: anthropic
    base_url: "https://api.anthropic.com"
    keys: [{name: main, secret: "env:ANTHROPIC_API_KEY"}]
models:
  gpt-4o-mini: {targets: [{vendor: openai, model: gpt-4o-mini}]}
  claude-haiku-4-5: {targets: [{vendor: claude, model: claude-haiku-4-5}]}
  fast:
    targets: [{vendor: openai, model: gpt-4o-mini}, {vendor: openai, model: gpt-4o}]
    retry: {attempts: 3, on: [connect, timeout, "429", 5xx]}
tenants:
  acme: {keys: [{name: acme-prod, secret: "env:ACME_KEY"}], workloads: [search, support]}
"""
"""What a new configuration says: two vendors, three models, one tenant."""


def init(
    directory: Annotated[Path, typer.Argument(help="Where tollbook.yaml and the book are to be.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Write tollbook.yaml, unless it is there, and make the book that it names."""
    from tollbook import config
    from tollbook.assembly import service

    path = directory / config.DEFAULT_PATH
    directory.mkdir(parents=True, exist_ok=True)
    written = not path.exists()
    if written:
        path.write_text(TEMPLATE)
    settings = config.load(path)
    book = service.init(Path(settings.book))
    document = {
        "book": book.id,
        "root": str(book.root),
        "key": book.key,
        "configuration": str(path),
        "configuration_written": written,
        "provenance": provenance({"directory": str(directory)}),
    }
    if json:
        screen.print_json(document)
        return
    console = screen.console()
    console.print(f"{'wrote' if written else 'kept'} {screen.escape(path)}")
    console.print(f"made book {book.id} in {screen.escape(book.root)}")
    console.print(f"its verification key, to be kept elsewhere: {book.key}", soft_wrap=True)
    secrets = {reference for _, _, _, reference in config.references(settings)}
    variables = sorted(secret[4:] for secret in secrets if secret.startswith("env:"))
    if variables:
        console.print(f"next: export {' '.join(variables)}, then: tollbook serve")
