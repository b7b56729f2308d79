"""The price list of the simulated vendors, in picodollars.

List prices in USD per million tokens, as published by the vendors in October 2026 and rounded here and there. Nothing
in it is shared with the gateway's price books: two sides that compute one amount from one table would prove nothing.
"""

from typing import Final, NamedTuple

from tollbook.simulator.tokens import Tokens

_PICO_PER_TOKEN: Final = 1_000_000
"""Picodollars per token for one dollar per million tokens."""

_MILLI: Final = 10**9
"""Picodollars of a thousandth of a dollar."""

TOOLS: Final = {"web_searches": 10 * _MILLI, "file_searches": 2_500_000_000, "code_sessions": 30 * _MILLI}
"""What one use of a vendor's own tool costs, unless a model says otherwise."""

ADVISOR: Final = "claude-opus-4-5"
"""The second model that an answer may have consulted."""


class Rates(NamedTuple):
    """Picodollars per token; a kind of token without a rate of its own costs what text costs."""

    input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    input_audio: int | None = None
    input_image: int | None = None
    output_audio: int | None = None
    output_image: int | None = None

    def times(self, numerator: int, denominator: int = 10) -> "Rates":
        """These rates times a fraction."""
        return Rates(*(None if rate is None else rate * numerator // denominator for rate in self))  # type: ignore[arg-type]

    def charge(self, tokens: Tokens) -> int:
        return (
            self.input * (tokens.input + tokens.tool_prompt + tokens.compaction_input)
            + self.cache_read * tokens.cache_read
            + self.cache_write_5m * tokens.cache_write_5m
            + self.cache_write_1h * tokens.cache_write_1h
            + self.output * (tokens.output + tokens.reasoning + tokens.compaction_output)
            + tokens.input_audio * (self.input if self.input_audio is None else self.input_audio)
            + tokens.input_image * (self.input if self.input_image is None else self.input_image)
            + tokens.output_audio * (self.output if self.output_audio is None else self.output_audio)
            + tokens.output_image * (self.output if self.output_image is None else self.output_image)
        )


class Model(NamedTuple):
    """One model that a vendor sells. `long` are the rates of a request with more than `long_over` input tokens,
    cached or not; the whole request has them, its output too. `us_percent` is what processing kept in the US costs,
    `fast_percent` what fast mode costs, `units` picodollars for what is counted and is no token."""

    vendor: str
    alias: str
    snapshot: str
    tiers: dict[str, Rates]
    long_over: int = 0
    long: dict[str, Rates] = {}  # noqa: RUF012 - a named tuple's default, never changed
    us_percent: int = 0
    fast_percent: int = 0
    units: dict[str, int] = {}  # noqa: RUF012 - a named tuple's default, never changed


def _pico(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * _PICO_PER_TOKEN + int(part.ljust(6, "0"))


def _openai(read: str) -> Rates:
    """`input cached output`; writing to the cache is not charged apart on these models."""
    price, cached, output = map(_pico, read.split())
    return Rates(price, cached, price, price, output)


def _anthropic(price: str, output: str) -> dict[str, Rates]:
    """Reading from the cache costs a tenth of input, writing 1.25 times for 5 minutes and twice for an hour."""
    base = _pico(price)
    return {"standard": Rates(base, base // 10, base * 5 // 4, base * 2, _pico(output))}


def _plain(read: str) -> Rates:
    """`input cached output`, or `input output` where nothing is read from a cache at a price of its own."""
    price, *cached, output = map(_pico, read.split())
    return Rates(price, cached[0] if cached else price, price, price, output)


def _simple(vendor: str, alias: str, read: str, snapshot: str | None = None, tier: str = "default") -> Model:
    """A model with one tier."""
    return Model(vendor, alias, snapshot or alias, {tier: _plain(read)})


def _tiered(vendor: str, alias: str, read: str, tiers: str) -> Model:
    """A model that costs the same in each of its tiers, the standard one first."""
    return Model(vendor, alias, alias, dict.fromkeys(tiers.split(), _plain(read)))


def _counted(alias: str, unit: str, price: int) -> Model:
    """An OpenAI model that is billed by something other than tokens; `price` is picodollars for one."""
    return Model("openai", alias, alias, {"default": _plain("0 0")}, units={unit: price})


def _gemini(alias: str, read: str, long: str = "", **others: str) -> Model:
    """Flex costs half, priority 1.8 times; above 200,000 input tokens the `long` rates, where there are any."""
    base = _plain(read)._replace(**{name: _pico(price) for name, price in others.items()})
    tiers = {"ON_DEMAND": base, "ON_DEMAND_FLEX": base.times(5), "ON_DEMAND_PRIORITY": base.times(18)}
    dear = {"ON_DEMAND": _plain(long)} if long else {}
    return Model("gemini", alias, alias, tiers, 200_000 if long else 0, dear, units={"web_searches": 35 * _MILLI})


def _bedrock(alias: str, rates: Rates) -> Model:
    """Flex costs half, priority 1.75 times."""
    tiers = {"default": rates, "flex": rates.times(5), "priority": rates.times(175, 100)}
    return Model("bedrock", alias, alias, tiers)


_MORE_OPENAI: Final = (
    _simple("openai", "gpt-3.5-turbo-instruct", "1.5 2"),
    _simple("openai", "text-embedding-3-small", "0.02 0"),
    _simple("openai", "text-embedding-3-large", "0.13 0"),
    Model("openai", "gpt-image-1", "gpt-image-1", {"default": _plain("5 1.25 40")._replace(input_image=_pico("10"))}),
    _counted("dall-e-3", "images", 40 * _MILLI),
    Model(
        "openai",
        "gpt-4o-transcribe",
        "gpt-4o-transcribe",
        {"default": _plain("2.5 10")._replace(input_audio=_pico("6"))},
    ),
    _counted("whisper-1", "seconds", _MILLI // 10),
    _simple("openai", "gpt-4o-mini-tts", "0.6 12"),
    _counted("tts-1", "characters", _MILLI * 15 // 1000),
)

_ELSEWHERE: Final = (
    _gemini("gemini-2.5-flash", "0.3 0.03 2.5", input_audio="1"),
    _gemini("gemini-2.5-pro", "1.25 0.125 10", "2.5 0.25 15"),
    _gemini("gemini-2.5-flash-image", "0.3 2.5", output_image="30"),
    _gemini("gemini-embedding-001", "0.15 0"),
    _bedrock("anthropic.claude-sonnet-4-5-20250929-v1:0", _anthropic("3.3", "16.5")["standard"]),
    _bedrock("us.anthropic.claude-haiku-4-5-20251001-v1:0", _anthropic("1.1", "5.5")["standard"]),
    _bedrock("amazon.nova-lite-v1:0", _plain("0.06 0.015 0.24")),
    _bedrock("meta.llama3-1-8b-instruct-v1:0", _plain("0.22 0.22")),
    _simple("xai", "grok-4", "3 0.75 15", "grok-4-0709"),
    _simple("xai", "grok-3-mini", "0.3 0.075 0.5"),
    _simple("deepseek", "deepseek-chat", "0.135 0.035 0.55"),
    _simple("deepseek", "deepseek-reasoner", "0.135 0.035 0.55"),
    _tiered("groq", "llama-3.3-70b-versatile", "0.59 0.79", "on_demand flex"),
    _tiered("groq", "openai/gpt-oss-120b", "0.15 0.075 0.6", "on_demand flex"),
    _tiered("mistral", "mistral-small-latest", "0.15 0.015 0.6", "standard priority"),
    _tiered("mistral", "mistral-large-latest", "2 6", "standard priority"),
    _tiered("mistral", "mistral-embed", "0.1 0", "standard"),
    _simple("openrouter", "openai/gpt-4o-mini", "0.15 0.075 0.6"),
    Model(
        "openrouter",
        "anthropic/claude-haiku-4.5",
        "anthropic/claude-haiku-4.5",
        {"default": _anthropic("1", "5")["standard"]},
    ),
    # Who runs a model on machines of their own is billed for nothing.
    _simple("vllm", "meta-llama/Llama-3.1-8B-Instruct", "0 0"),
    _simple("cohere", "command-a-03-2025", "2.5 10"),
    _simple("cohere", "command-r7b-12-2024", "0.0375 0.15"),
    _simple("cohere", "embed-v4.0", "0.12 0"),
    Model("cohere", "rerank-v3.5", "rerank-v3.5", {"default": _plain("0 0")}, units={"search_units": 2 * _MILLI}),
)

MODELS: Final = (
    Model(
        "openai",
        "gpt-4o",
        "gpt-4o-2024-08-06",
        {"default": _openai("2.5 1.25 10"), "priority": _openai("4.25 2.125 17")},
    ),
    Model(
        "openai",
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        {"default": _openai("0.15 0.075 0.6"), "priority": _openai("0.25 0.125 1")},
    ),
    Model(
        "openai",
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        {"default": _openai("2 0.5 8"), "priority": _openai("3.5 0.875 14")},
    ),
    Model(
        "openai",
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        {"default": _openai("0.4 0.1 1.6"), "priority": _openai("0.7 0.175 2.8")},
    ),
    Model(
        "openai",
        "gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        {
            "default": _openai("0.25 0.025 2"),
            "flex": _openai("0.125 0.0125 1"),
            "priority": _openai("0.45 0.045 3.6"),
        },
    ),
    Model(
        "openai",
        "gpt-5.5",
        "gpt-5.5-2026-04-23",
        {
            "default": _openai("5 0.5 30"),
            "flex": _openai("2.5 0.25 15"),
            "priority": _openai("12.5 1.25 75"),
        },
        long_over=272_000,
        long={"default": _openai("10 1 45"), "flex": _openai("5 0.5 22.5")},
    ),
    Model("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", _anthropic("3", "15")),
    Model("anthropic", "claude-sonnet-4-6", "claude-sonnet-4-6", _anthropic("3", "15"), us_percent=110),
    Model("anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", _anthropic("1", "5")),
    Model("anthropic", "claude-opus-4-5", "claude-opus-4-5-20251101", _anthropic("5", "25")),
    Model("anthropic", "claude-opus-4-8", "claude-opus-4-8", _anthropic("5", "25"), fast_percent=200),
    *_MORE_OPENAI,
    *_ELSEWHERE,
    # Sold by the simulator alone: no public price list knows them.
    Model("openai", "sim-unlisted", "sim-unlisted-2026-01-01", {"default": _openai("1 0.5 2")}),
    Model("anthropic", "sim-unlisted-claude", "sim-unlisted-claude-20260101", _anthropic("1", "2")),
)
