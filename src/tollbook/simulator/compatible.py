"""Azure, and the vendors that speak OpenAI's chat completions in their own way.

Each has a path prefix of its own (`/xai/v1/...`), Azure its own paths. What is theirs was taken from the types of
their SDKs (groq, mistralai, openrouter, xai) and from reports of what they send; nothing is shared with the gateway.
"""

from collections.abc import Container
from decimal import Decimal
from typing import Any, Final

from tollbook.core.money import format_amount
from tollbook.simulator import tariff
from tollbook.simulator.answer import Answer, Event
from tollbook.simulator.call import Call
from tollbook.simulator.chat import Chat, Place, nested_usage
from tollbook.simulator.embeddings import Embeddings
from tollbook.simulator.openai import OpenAI
from tollbook.simulator.tokens import Tokens
from tollbook.simulator.vendor import Operation, Vendor

_TICK: Final = 100
"""Picodollars of one tick, which is 1e-10 dollars."""


class Azure(OpenAI):
    """Azure OpenAI: `api-key` or an Entra token as bearer, deployments, ids of its own. It sells OpenAI's models."""

    name = "azure"
    format = "azure"

    @property
    def prices(self) -> str:
        return "openai"

    def key(self, call: Call) -> str | None:
        return call.header(b"api-key") or super().key(call)

    def objection(self, call: Call) -> str | None:
        if "/deployments/" in call.path and call.parameter("api-version") is None:
            return "Missing required query parameter: api-version"
        return None

    def model_named(self, asked: str) -> str:
        """A deployment has any name; what it ends in is the model (`team-a-gpt-4o`)."""
        names = sorted(tariff.model_names(self.prices), key=len, reverse=True)
        return next((name for name in names if asked == name or asked.endswith(f"-{name}")), asked)

    def request_id(self, number: str) -> str:
        """As the vendor writes it: a UUID."""
        return "-".join((number[:8], number[8:12], number[12:16], number[16:20], number[20:]))

    def headers(self, number: str, milliseconds: int) -> bytes:
        return (
            f"apim-request-id: {self.request_id(number)}\r\nx-request-id: {self.request_id(number[::-1])}\r\n"
            "x-ms-region: Sweden Central\r\nx-ratelimit-remaining-requests: 999\r\n"
            "x-ratelimit-remaining-tokens: 999000\r\n"
        ).encode()


class AzureChat(Chat):
    """Chat completions with the verdict of the content filter."""

    def members_at(self, answer: Answer, place: Place) -> dict[str, Any]:
        if place == "last":
            return {}
        verdict = {"hate": {"filtered": False, "severity": "safe"}}
        return {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": verdict}]}


class Compatible(OpenAI):
    """A vendor that speaks OpenAI's format. `id_header` is the header it names a request in."""

    def __init__(self, name: str, id_header: str = "x-request-id", standard_tier: str = "default") -> None:
        self.name = name
        self.standard_tier = standard_tier
        self._id_header = id_header

    def served_tier(self, asked: str | None, sold: Container[str]) -> str:
        return Vendor.served_tier(self, asked, sold)

    def headers(self, number: str, milliseconds: int) -> bytes:
        return f"{self._id_header}: {self.request_id(number)}\r\n".encode()


class XaiChat(Chat):
    """xAI: reasoning stands beside `completion_tokens`, not in it; the vendor's own cost in ticks."""

    usage_place = "apart"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        usage = nested_usage(tokens)
        usage["completion_tokens"] = tokens.all_output - tokens.reasoning
        usage["num_sources_used"] = tokens.web_searches
        usage["cost_in_usd_ticks"] = tariff.charge(answer.sold, answer.tier, tokens) // _TICK
        return usage


class DeepseekChat(Chat):
    """DeepSeek: the cached part of the prompt is told twice, and its rest too."""

    usage_place = "beside"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        usage = nested_usage(tokens)
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cache_read}
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
        usage["prompt_cache_hit_tokens"] = tokens.cache_read
        usage["prompt_cache_miss_tokens"] = tokens.all_input - tokens.cache_read
        return usage

    def members(self, answer: Answer) -> dict[str, Any]:
        return {"system_fingerprint": "fp_simulator"}


class GroqChat(Chat):
    """Groq: times in the usage, an object of its own in the first and last chunk, with usage whoever asked."""

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        usage = nested_usage(tokens)
        usage["prompt_tokens_details"] = {"cached_tokens": tokens.cache_read}
        usage["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
        return {"queue_time": 0.001, "prompt_time": 0.002, "completion_time": 0.05, "total_time": 0.052, **usage}

    def members_at(self, answer: Answer, place: Place) -> dict[str, Any]:
        own: dict[str, Any] = {"id": self.vendor.request_id(answer.number)}
        if place == "last":
            answer.put_usage(own, "usage", self.usage(answer, answer.reported))
        return {"x_groq": own}


class MistralChat(Chat):
    """Mistral: usage beside `finish_reason`, cached tokens under a name of its own, a tier inside the usage."""

    prefix = ""
    usage_place = "beside"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        return {
            "prompt_tokens": tokens.all_input,
            "completion_tokens": tokens.all_output,
            "total_tokens": tokens.all_input + tokens.all_output,
            "num_cached_tokens": tokens.cache_read,
            "prompt_audio_seconds": tokens.seconds or None,
            "service_tier": answer.tier,
        }

    def members(self, answer: Answer) -> dict[str, Any]:
        return {}


class OpenrouterChat(Chat):
    """OpenRouter: the amount it charges stands in the usage, as a number; a comment comes before the stream."""

    prefix = "gen-"
    usage_place = "apart"

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        cost = Decimal(format_amount(tariff.charge(answer.sold, answer.tier, tokens)))
        return {
            **nested_usage(tokens),
            "cost": cost,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": cost},
        }

    def members(self, answer: Answer) -> dict[str, Any]:
        return {"provider": "Simulator"}

    def frame(self, event: Event, answer: Answer, first: bool) -> bytes:
        return (b": OPENROUTER PROCESSING\n\n" if first else b"") + super().frame(event, answer, first)


class VllmChat(Chat):
    """vLLM: no details unless something was cached, no tier."""

    def usage(self, answer: Answer, tokens: Tokens) -> dict[str, Any]:
        cached = {"cached_tokens": tokens.cache_read} if tokens.cache_read else None
        usage = nested_usage(tokens)
        del usage["completion_tokens_details"]
        return {**usage, "prompt_tokens_details": cached}

    def members(self, answer: Answer) -> dict[str, Any]:
        return {"prompt_logprobs": None} if not answer.question.stream else {}


class MistralEmbeddings(Embeddings):
    """Mistral's embeddings have an id."""

    def response_id(self, number: str) -> str:
        return number

    def members(self, answer: Answer) -> dict[str, Any]:
        return {"id": self.response_id(answer.number)}


AZURE: Final = Azure()
_MISTRAL: Final = Compatible("mistral", "mistral-correlation-id", "standard")
COMPATIBLE: Final[dict[str, Operation]] = {
    "/xai/v1/chat/completions": XaiChat(Compatible("xai")),
    "/deepseek/v1/chat/completions": DeepseekChat(Compatible("deepseek", "x-ds-trace-id")),
    "/groq/openai/v1/chat/completions": GroqChat(Compatible("groq", standard_tier="on_demand")),
    "/mistral/v1/chat/completions": MistralChat(_MISTRAL),
    "/openrouter/api/v1/chat/completions": OpenrouterChat(Compatible("openrouter", "x-generation-id")),
    "/vllm/v1/chat/completions": VllmChat(Compatible("vllm")),
    "/mistral/v1/embeddings": MistralEmbeddings(_MISTRAL),
}
"""What the vendors that speak OpenAI's format offer, by path."""
