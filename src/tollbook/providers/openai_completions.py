"""OpenAI legacy completions: `POST /v1/completions`, also spoken by vLLM and others.

Source: the API reference and the types of the official SDK, openai 3.54. A stream ends with its usage when asked, as
chat completions do.
"""

from tollbook.providers.body import present, read_value
from tollbook.providers.contract import Call, Estimate, Reading, Route
from tollbook.providers.estimate import Prompt, estimate_usage, output_limit
from tollbook.providers.openai_chat import OpenAIChat
from tollbook.providers.openai_embeddings import count_tokens
from tollbook.providers.openai_format import routes


class OpenAICompletions(OpenAIChat):
    """The adapter of OpenAI legacy completions."""

    endpoint: str = "openai.completions"
    name: str = "openai.completions/1"
    routes: tuple[Route, ...] = routes("POST /completions")
    model_fields: frozenset[str] = frozenset({"best_of", "n"})
    object_fields: dict[str, str] = {}  # noqa: RUF012  a table of the class, never changed
    convention: str = "nested"
    not_captured: tuple[str, ...] = ()

    def estimate(self, call: Call, reading: Reading) -> Estimate:
        """A usage for an answer whose usage never came. Of `best_of` answers all are generated, and billed."""
        members = call.members.values
        answers = max((members.get("n", b"1"), members.get("best_of", b"1")), key=_number)
        limit = output_limit(members.get("max_tokens"), answers=answers)
        prompt = Prompt(conversation=present(members, ("prompt", "suffix")), schemas=[])
        estimate = estimate_usage(prompt, limit, reading)
        estimate.usage["input"] += count_tokens(read_value(members.get("prompt")))
        return estimate


def _number(raw: bytes) -> int:
    value = read_value(raw)
    return value if type(value) is int else 0
