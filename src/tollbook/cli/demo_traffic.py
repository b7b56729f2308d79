"""The demo's traffic: three tenants, two vendors, every kind of ending. The same seed gives the same requests."""

import json
import random
from collections.abc import Iterator
from typing import Final, NamedTuple

from tollbook.cli.sender import Shot

CONFIG: Final = """\
book: ./book
gateway: {listen: "{gateway}", timeouts: {first_byte: 2s}, shutdown_grace: 5s}
vendors:
  openai:
    format: openai
    base_url: "{openai}"
    keys: [{name: main, secret: "env:DEMO_OPENAI_KEY", id: "{openai_key}"}]
  claude:
    format: anthropic
    base_url: "{anthropic}"
    keys: [{name: main, secret: "env:DEMO_ANTHROPIC_KEY", id: "{anthropic_key}"}]
models:
  gpt-4o-mini: {targets: [{vendor: openai, model: gpt-4o-mini}]}
  claude-haiku-4-5: {targets: [{vendor: claude, model: claude-haiku-4-5}]}
  smart:
    targets: [{vendor: openai, model: gpt-4o}, {vendor: openai, model: gpt-4.1}]
    retry: {attempts: 3, on: [connect, timeout, "429", 5xx], backoff: 20ms}
  experimental: {targets: [{vendor: openai, model: sim-unlisted}]}
tenants:
  acme: {keys: [{name: acme-prod, secret: "env:DEMO_ACME_KEY"}], workloads: [search, support]}
  globex: {keys: [{name: globex-prod, secret: "env:DEMO_GLOBEX_KEY"}], workloads: [mail]}
  initech: {keys: [{name: initech-lab, secret: "env:DEMO_INITECH_KEY"}], workloads: [reports]}
"""


def configuration(secrets: dict[str, str]) -> str:
    """The configuration, with the ids by which the vendors' reports call the keys."""
    from tollbook.simulator.books import account_of

    text = CONFIG
    for vendor in ("openai", "anthropic"):
        text = text.replace(f"{{{vendor}_key}}", account_of(secrets[f"DEMO_{vendor.upper()}_KEY"]))
    return text


TENANTS: Final = {"acme": ("search", "support"), "globex": ("mail",), "initech": ("reports",)}
STORY: Final = "story"
"""Marks the request that is retried and falls back: its template's name."""


class Kind(NamedTuple):
    """One kind of request: how often (in 1,000), for which model, with which commands to the vendor."""

    name: str
    share: int
    model: str
    commands: str = ""
    stream: bool = False
    leave: bool = False


KINDS: Final = (
    Kind("buffered", 300, "gpt-4o-mini"),
    Kind("streamed", 200, "gpt-4o-mini", stream=True),
    Kind("anthropic", 150, "claude-haiku-4-5"),
    Kind("anthropic streamed", 100, "claude-haiku-4-5", stream=True),
    Kind("cached", 100, "gpt-4o-mini", "cache_read=512"),
    Kind("retried", 60, "smart", "fault=429 times=1 retry_after=0"),
    Kind("fallen back", 40, "smart", "fault=503 times=2"),
    Kind("aborted", 25, "gpt-4o-mini", "chunk_ms=2", stream=True, leave=True),
    Kind("no usage", 5, "claude-haiku-4-5", "fault=usage_missing"),
    Kind("unknown model", 10, "gpt-9"),
    Kind("unpriced", 10, "experimental"),
)
"""What is sent; the shares add up to 1,000."""


def shots(count: int, keys: dict[str, str], *, seed: int) -> Iterator[Shot]:
    """`count` requests of all kinds, in an order and with sizes drawn from the seed; the last one is the story."""
    chance = random.Random(seed)  # noqa: S311 - a demo, not a secret
    more = max(0, count - 1 - len(KINDS))
    kinds = [*KINDS, *chance.choices(KINDS, [kind.share for kind in KINDS], k=more)]
    chance.shuffle(kinds)
    for kind in kinds:
        tenant = chance.choice(list(TENANTS))
        yield _shot(kind, tenant, chance.choice(TENANTS[tenant]), keys[tenant], chance)
    story = Kind(STORY, 0, "smart", "fault=503 times=2")
    yield _shot(story, "acme", "support", keys["acme"], chance)


def _shot(kind: Kind, tenant: str, workload: str, key: str, chance: random.Random) -> Shot:
    tokens_input, tokens_output = chance.randrange(600, 4000), chance.randrange(20, 200)
    cached = 512 if "cache_read" in kind.commands else 0
    command = f"[[sim input={tokens_input - cached} output={tokens_output} {kind.commands}]]"
    if kind.commands.startswith("fault="):
        command = f"[[sim input={tokens_input} output={tokens_output}]] [[sim {kind.commands}]]"
    body: dict[str, object] = {"model": kind.model, "messages": [{"role": "user", "content": f"Hello. {command}"}]}
    if kind.stream:
        body["stream"] = True
    anthropic = kind.model.startswith("claude")
    if anthropic:
        body["max_tokens"] = 1024
    template = "assist@v1" if kind.name != STORY else f"{STORY}@v1"
    headers = [
        ("x-tollbook-workload", workload),
        ("x-tollbook-template", template),
        ("x-tollbook-user", f"user-{chance.randrange(200)}@{tenant}.example"),
    ]
    if anthropic:
        headers += [("x-api-key", key), ("anthropic-version", "2023-06-01")]
    else:
        headers.append(("authorization", f"Bearer {key}"))
    path = "/v1/messages" if anthropic else "/v1/chat/completions"
    return Shot(0.0, path, tuple(headers), json.dumps(body).encode(), leave_after=600 if kind.leave else None)
