"""Rating one usage: ours beside `genai_prices.calc_price`, and litellm's `cost_per_token` where it is installed.

Also what loading the base book costs: milliseconds, and memory in a fresh process.
"""

import importlib
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from tollbook.core.clock import now
from tollbook.pricing.book import PriceBook, base_book
from tollbook.pricing.rate import Rater

ROUNDS = 5
SECONDS = 0.3

CASES = [
    ("plain", "openai", "gpt-4o-mini", {"input": 1_000, "output": 100}),
    ("cached", "openai", "gpt-4o", {"input": 100, "input_cache_read": 900, "output": 10}),
    ("cached, bands", "openai", "gpt-5.5", {"input": 100_000, "input_cache_read": 200_000, "output": 1_000}),
    (
        "written, cached",
        "anthropic",
        "claude-sonnet-4-5",
        {"input": 4, "input_cache_read": 90, "input_cache_write_5m": 6, "output": 9},
    ),
]

Call = Callable[[], object]


def speed(call: Call) -> float:
    """Calls a second of CPU, the best of some rounds."""
    call()
    best = 0.0
    for _ in range(ROUNDS):
        calls, start = 0, time.process_time()
        while (spent := time.process_time() - start) < SECONDS:
            for _ in range(50):
                call()
            calls += 50
        best = max(best, calls / spent)
    return best


def ours(party: str, model: str, usage: dict[str, int]) -> Call:
    rater, at = Rater(base_book()), now()
    return lambda: rater.rate(party, model, usage, at)


def genai(party: str, model: str, usage: dict[str, int]) -> Call | None:
    if importlib.util.find_spec("genai_prices") is None:
        return None
    import genai_prices

    reported = {
        "input_tokens": sum(quantity for name, quantity in usage.items() if name.startswith("input")),
        "cache_read_tokens": usage.get("input_cache_read"),
        "cache_write_tokens": usage.get("input_cache_write_5m"),
        "output_tokens": usage["output"],
    }
    at = datetime.now(UTC)
    counted = genai_prices.Usage(**reported)
    return lambda: genai_prices.calc_price(counted, model, provider_id=party, genai_request_timestamp=at)


def litellm(party: str, model: str, usage: dict[str, int]) -> Call | None:
    if importlib.util.find_spec("litellm") is None:
        return None
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    cost_per_token = importlib.import_module("litellm").cost_per_token
    tokens = sum(quantity for name, quantity in usage.items() if name.startswith("input"))
    return lambda: cost_per_token(
        model=model,
        custom_llm_provider=party,
        prompt_tokens=tokens,
        completion_tokens=usage["output"],
        cache_read_input_tokens=usage.get("input_cache_read", 0),
        cache_creation_input_tokens=usage.get("input_cache_write_5m", 0),
    )


def load() -> tuple[float, float]:
    """Milliseconds of CPU to load the base book, and the megabytes it adds to a fresh process."""
    data, best = base_book().dump(), float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        PriceBook.load(data)
        best = min(best, time.process_time() - start)
    script = (
        "import tollbook.pricing.rate as r, tollbook.pricing.book as b\n"
        "size = lambda: int(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])\n"
        "before = size(); b.base_book(); print(size() - before)"
    )
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    return best * 1e3, int(grown) / 1e3


def run() -> None:
    """Print the table: ratings a second of CPU on one core, and how many times the others' speed ours is."""
    peers = {"genai-prices": genai, "litellm": litellm}
    print(f"{'rate one usage':18}{'tollbook/s':>12}" + "".join(f"{name + '/s':>16}{'ratio':>8}" for name in peers))
    for name, party, model, usage in CASES:
        own = speed(ours(party, model, usage))
        line = f"{name:18}{own:12,.0f}"
        for make in peers.values():
            call = make(party, model, usage)
            theirs = speed(call) if call is not None else None
            line += f"{theirs:16,.0f}{own / theirs:7.1f}x" if theirs is not None else f"{'not installed':>16}{'-':>8}"
        print(line)
    milliseconds, megabytes = load()
    print(f"load the base book: {milliseconds:.0f} ms, {megabytes:.1f} MB at most")


if __name__ == "__main__":
    run()
