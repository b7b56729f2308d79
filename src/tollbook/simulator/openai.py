"""OpenAI's manners: keys, ids, headers, tiers, errors."""

from collections.abc import Container
from typing import Final

from tollbook.simulator.answer import encode
from tollbook.simulator.vendor import Vendor

KINDS: Final = {
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    502: ("server_error", None),
    503: ("server_error", "service_unavailable"),
    504: ("server_error", "timeout"),
    529: ("server_error", "overloaded"),
}


class OpenAI(Vendor):
    """The vendor itself; those who speak like it are made from it."""

    name = "openai"
    format = "openai"

    def served_tier(self, asked: str | None, sold: Container[str]) -> str:
        """`fast` is another name for `priority`, which is the one reported; what is not sold is served as default."""
        return super().served_tier("priority" if asked == "fast" else asked, sold)

    def request_id(self, number: str) -> str:
        return f"req_{number}"

    def headers(self, number: str, milliseconds: int) -> bytes:
        return (
            f"x-request-id: {self.request_id(number)}\r\nopenai-processing-ms: {milliseconds}\r\n"
            "openai-organization: org-simulator\r\nopenai-version: 2020-10-01\r\n"
            "x-ratelimit-limit-requests: 30000\r\nx-ratelimit-limit-tokens: 150000000\r\n"
            "x-ratelimit-remaining-requests: 29999\r\nx-ratelimit-remaining-tokens: 149999000\r\n"
            "x-ratelimit-reset-requests: 2ms\r\nx-ratelimit-reset-tokens: 0s\r\n"
        ).encode()

    def error(self, status: int, message: str, number: str) -> bytes:
        kind, code = KINDS.get(status, ("invalid_request_error", None))
        return encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


OPENAI: Final = OpenAI()
