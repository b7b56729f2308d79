"""Who asks for a tokenizer gets estimates by it; nobody else pays for it."""

import time
from pathlib import Path
from typing import Any

import openai
import pytest
from real_stage import ACME, CONFIG, PATIENCE, RealStage

from tollbook import config
from tollbook.config import checks
from tollbook.core.faults import BadConfiguration
from tollbook.providers import tokenizer

BPE = "\nestimates: {tokenizer: bpe}\n"


def method_of(stage: RealStage) -> str:
    """How the usage of an answer that broke off was estimated."""
    client = openai.OpenAI(api_key=ACME, base_url=stage.openai_url, max_retries=0)
    asked: Any = [{"role": "user", "content": "[[sim fault=cut after=3]] Tell me."}]
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=asked, stream=True)
    with pytest.raises(Exception, match=r".+"):
        list(raw.parse())
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        attempt = stage.find(raw.headers["x-tollbook-request-id"])["attempts"][0]
        if attempt["outcome"] == "truncated":
            return str(attempt["usage_method"])
        time.sleep(0.1)
    raise AssertionError("the attempt was never settled")


def test_a_worker_that_is_told_to_counts_by_the_vocabulary(tmp_path: Path, stage: RealStage) -> None:
    """With `bpe` the method says so; without it, it is another, and this process has loaded nothing."""
    assert not tokenizer.loaded()
    with RealStage(tmp_path, CONFIG + BPE) as told:
        by_vocabulary = method_of(told)
    assert by_vocabulary.startswith("o200k_base") and not method_of(stage).startswith("o200k_base")


def test_a_vocabulary_that_is_not_installed_is_said_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At the configuration, with what to install; not at the first answer that breaks off."""
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(BadConfiguration, match="tokenizers"):
        config.parse("book: ./book" + BPE, base=tmp_path)
