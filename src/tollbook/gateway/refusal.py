"""A request that the gateway itself answers with an error."""

from typing import Final

from tollbook.core.faults import Fault


class Refusal(Fault):
    """Why a request goes no further: an HTTP status, a stable code, a sentence for the caller; for 429 and 503 the
    seconds after which it may be tried again."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.status: Final = status
        self.reason: Final = code
        self.message: Final = message
        self.retry_after: Final = retry_after


class VendorBusy(Refusal):
    """No key of a vendor has room for an attempt now; another target may have."""


REFUSALS: Final = {
    "ambiguous_body": "400: the body can be read in more than one way (a duplicate key, an undecodable text)",
    "attempts_exhausted": "502 or 504: every attempt that the model's policy allows has failed",
    "bad_input": "400: the body names no model, or one that is not text",
    "billing_field_refused": "400: the body selects who is billed, which only the configuration may do",
    "body_too_large": "413: the body exceeds gateway.body_limit",
    "book_behind": "503: the desk that answers from the book is not running, or cannot read it",
    "claims_unavailable": "503: the state database that keeps Idempotency-Keys cannot be used; nothing was forwarded",
    "credential_missing": "401: the request carries no key",
    "credential_unknown": "401: the key is not known",
    "field_not_allowed": "403: a member of the body that changes the price has a value that the tenant may not choose",
    "headers_too_large": "431: the headers exceed 64 KiB or 128 fields",
    "in_progress": "409: a request with this Idempotency-Key is still running",
    "journal_unavailable": "503: the journal cannot be written, so nothing was forwarded",
    "key_reused": "409: this Idempotency-Key was used with another body",
    "limit_requests": "429: the tenant, workload, key or model has made as many requests in a minute as it may",
    "limit_streams": "429: the tenant, workload, key or model has as many streams under way as it may",
    "limit_tokens": "429: the tenant, workload, key or model would use more tokens in a minute than it may",
    "malformed_dimension": "400: a dimension is empty, too long or not printable",
    "malformed_header": "400: a header is not UTF-8 text",
    "malformed_request": "400: this is not HTTP/1.1 that can be read in one way only",
    "malformed_tags": "400: x-tollbook-tags is not name=value pairs, or a name is not allowed",
    "method_not_allowed": "405: the route exists for another method",
    "model_not_allowed": "403: the key may not use this model",
    "model_unknown": "404: no model of that name is configured for this route",
    "no_vendor_key": "503: no vendor key serves this tenant",
    "no_vendor": "404: no vendor of this wire format is configured",
    "object_elsewhere": "400: the vendor object named is not kept by a vendor of this model",
    "object_unknown": "404: no such vendor object was made with this tenant's keys",
    "objects_of_two_keys": "400: the vendor objects named were made with different vendor keys",
    "objects_unavailable": "503: the state database that knows vendor objects cannot be used; nothing was forwarded",
    "outcome_unknown": "409: a request with this Idempotency-Key ran, and its result is no longer kept",
    "region_not_allowed": "403: no vendor of the model is in a region that the model's or the tenant's policy allows",
    "registry_stale": "503: nobody has vouched for the workers' copy of the registry for 30 s (gateway.stale_registry)",
    "case_unknown": "404: there is no such case of this tenant",
    "request_unknown": "404: the book holds no such request of this tenant",
    "route_unknown": "404: no such route",
    "shutting_down": "503: the gateway is being stopped",
    "signature_expired": "401: an AWS signature's date is more than five minutes from the gateway's clock",
    "signature_wrong": "401: an AWS signature is malformed, or not that of this request by this key",
    "tenant_concurrency": "429: the tenant has as many requests under way as it may (limits.concurrent)",
    "too_many_objects": "400: more than 64 vendor objects are named",
    "too_many_tags": "400: more than 16 tags",
    "tool_not_allowed": "403: the body asks for a tool of the vendor's that the tenant may not use",
    "two_credentials": "401: the request carries two different keys",
    "unsupported_encoding": "400: the body is compressed",
    "upgrade_unsupported": "501: neither WebSocket nor HTTP/2 is spoken",
    "vendor_share": "429: what the vendor allows its keys in a minute is used up, or the rest is for other tenants",
    "workload_not_allowed": "403: the key may not act for this workload",
}
"""Every code of our own, and what it means; a code is never renamed."""
