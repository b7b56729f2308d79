"""A stage of real processes: simulated vendor, supervisor, worker, scribe and desk; and what tests ask of it."""

import contextlib
import http.client
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tollbook.cli.stage import Stage
from tollbook.core.faults import NotFound
from tollbook.ledger.reader import Reader
from tollbook.ledger.trace import trace
from tollbook.simulator import Billed, Received, read_books

VENDOR_SECRETS = {
    "ROAD_OPENAI": "sk-sim-openai-canary-7f3a",
    "ROAD_CLAUDE": "sk-sim-claude-canary-9b1c",
    "ROAD_OTHERS": "sk-sim-others-canary-41ee",
    "ROAD_AWS": "AKIASIMCANARY:aws-canary-secret-6d2f@eu-central-1",
}
TENANT_SECRETS = {
    "ROAD_ACME": "tb-acme-canary-51d0",
    "ROAD_SEARCH": "tb-search-canary-0c77",
    "ROAD_GLOBEX": "tb-globex-canary-e2e2",
    "ROAD_SIGNER": "tb-signer-canary-93bd",
}
ACME, SEARCH, GLOBEX, SIGNER = TENANT_SECRETS.values()
PATIENCE = 20.0

CONFIG = """
book: ./book
gateway: {listen: "{gateway}", body_limit: 1MiB, timeouts: {connect: 2s, first_byte: 5s, idle: 5s}, shutdown_grace: 5s}
following: {longest_pause: 1s}
vendors:
  openai: {format: openai, base_url: "{openai}", keys: [{name: main, secret: "env:ROAD_OPENAI", id: key_1}]}
  claude: {format: anthropic, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_CLAUDE"}]}
  azure: {format: azure, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_OTHERS"}]}
  gemini: {format: gemini, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_OTHERS"}]}
  bedrock: {format: bedrock, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_AWS"}]}
  bedrock-key: {format: bedrock, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_OTHERS"}]}
  cohere: {format: cohere, base_url: "{anthropic}", keys: [{name: main, secret: "env:ROAD_OTHERS"}]}
  groq:
    format: openai
    billing: groq
    base_url: "{anthropic}/groq/openai/v1"
    keys: [{name: main, secret: "env:ROAD_OTHERS"}]
  mistral:
    format: openai
    billing: mistral
    base_url: "{anthropic}/mistral/v1"
    ask_usage: false
    keys: [{name: main, secret: "env:ROAD_OTHERS"}]
models:
  gpt-4o-mini: {targets: [{vendor: openai, model: gpt-4o-mini}], retry: {attempts: 1}}
  gpt-4o: {targets: [{vendor: openai, model: gpt-4o}], retry: {attempts: 1}}
  claude-haiku-4-5: {targets: [{vendor: claude, model: claude-haiku-4-5}], retry: {attempts: 1}}
  unlisted: {targets: [{vendor: openai, model: sim-unlisted}]}
  gpt-5-mini: {targets: [{vendor: openai, model: gpt-5-mini}]}
  gpt-3.5-turbo-instruct: {targets: [{vendor: openai, model: gpt-3.5-turbo-instruct}]}
  text-embedding-3-small: {targets: [{vendor: openai, model: text-embedding-3-small}]}
  gpt-image-1: {targets: [{vendor: openai, model: gpt-image-1}]}
  gpt-4o-transcribe: {targets: [{vendor: openai, model: gpt-4o-transcribe}]}
  whisper-1: {targets: [{vendor: openai, model: whisper-1}]}
  gpt-4o-mini-tts: {targets: [{vendor: openai, model: gpt-4o-mini-tts}]}
  tts-1: {targets: [{vendor: openai, model: tts-1}]}
  team-a-gpt-4o-mini: {targets: [{vendor: azure, model: team-a-gpt-4o-mini}]}
  team-a-text-embedding-3-small: {targets: [{vendor: azure, model: team-a-text-embedding-3-small}]}
  gemini-2.5-flash: {targets: [{vendor: gemini, model: gemini-2.5-flash}]}
  gemini-embedding-001: {targets: [{vendor: gemini, model: gemini-embedding-001}]}
  us.anthropic.claude-haiku-4-5-20251001-v1:0:
    targets: [{vendor: bedrock, model: "us.anthropic.claude-haiku-4-5-20251001-v1:0"}]
  amazon.nova-lite-v1:0: {targets: [{vendor: bedrock-key, model: "amazon.nova-lite-v1:0"}]}
  meta.llama3-1-8b-instruct-v1:0: {targets: [{vendor: bedrock, model: "meta.llama3-1-8b-instruct-v1:0"}]}
  command-a-03-2025: {targets: [{vendor: cohere, model: command-a-03-2025}]}
  embed-v4.0: {targets: [{vendor: cohere, model: embed-v4.0}]}
  rerank-v3.5: {targets: [{vendor: cohere, model: rerank-v3.5}]}
  llama-3.3-70b-versatile: {targets: [{vendor: groq, model: llama-3.3-70b-versatile}]}
  mistral-small-latest: {targets: [{vendor: mistral, model: mistral-small-latest}]}
  mistral-embed: {targets: [{vendor: mistral, model: mistral-embed}]}
  smart:
    targets: [{vendor: openai, model: gpt-4o}, {vendor: openai, model: gpt-4.1}]
    retry: {attempts: 3, backoff: 5ms}
tenants:
  acme:
    keys:
      - {name: acme-prod, secret: "env:ROAD_ACME"}
      - {name: acme-search, secret: "env:ROAD_SEARCH", workloads: [search]}
      - {name: acme-aws, secret: "env:ROAD_SIGNER", access_key_id: TBACMEAWS}
    workloads: [search, support]
  globex: {keys: [{name: globex-prod, secret: "env:ROAD_GLOBEX"}], workloads: [mail]}
"""


class RealStage(Stage):
    """The stage with a reader of its ledger and a look at its processes."""

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        super().__init__(directory, config, VENDOR_SECRETS | TENANT_SECRETS, seed=5)
        self.reader = Reader(self.book)

    @property
    def openai_url(self) -> str:
        return f"{self.gateway_url}/v1"

    @property
    def supervisor(self) -> psutil.Process:
        """The process of `tollbook serve`."""
        return psutil.Process(self._processes[-1].pid)

    def child(self, role: str) -> psutil.Process:
        """The running `worker`, `scribe` or `desk`; one that is being started again is waited for."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for child in self.supervisor.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    if f"tollbook.assembly.{role}" in child.cmdline():
                        return child
            time.sleep(0.02)
        raise AssertionError(f"there is no {role}")

    def connect(self) -> http.client.HTTPConnection:
        address = urlsplit(self.gateway_url)
        return http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)

    def get(self, path: str, key: str) -> tuple[int, Any]:
        """Status and decoded body of a GET with a tenant's key."""
        connection = self.connect()
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def find(self, request_id: str) -> dict[str, Any]:
        """The operator's trace of a request, waited for until it is closed."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                found = trace(self.reader, request_id)
                if found["request"]["closed_at"] is not None:
                    return found
            except NotFound:
                pass
            assert time.monotonic() < until, f"request {request_id} is not in the book after {PATIENCE} s"
            time.sleep(0.05)

    def visible(self) -> set[str]:
        """The ids of all requests that the ledger shows as ended."""
        rows = self.reader.read(lambda lake: lake.rows("SELECT request_id FROM requests"))
        return {str(row[0]) for row in rows}

    def vendor_record(self, request_id: str) -> tuple[list[Received], list[Billed]]:
        """What the vendor received and billed for a request of ours."""
        received, billed = read_books(self.vendor_books)
        return [r for r in received if r.request_id == request_id], [b for b in billed if b.request_id == request_id]

    def vendor_record_of_all(self) -> list[Received]:
        """All that the vendor received."""
        return read_books(self.vendor_books)[0]

    def logs(self) -> str:
        """All that the processes have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))
