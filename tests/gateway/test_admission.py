"""Who asks, and what they say of themselves: credentials, dimensions, W3C context."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.identity import span_id_of, trace_id_of
from tollbook.core.settings import Tenant, TenantKey
from tollbook.gateway.admission import BAGGAGE_LIMIT, Admission, Caller, Dimensions
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal

KEY = TenantKey(name="prod", secret="")
ACME = Tenant(name="acme", keys=(KEY,), workloads=("search", "support"), open_tags=("team",))
CALLER = Caller(ACME, "prod", ACME.workloads)
LIMITED = Caller(ACME, "limited", ("search",))
TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
REQUEST_ID = "01900000-0000-7000-8000-000000000001"


def request(*headers: tuple[str, str]) -> ClientRequest:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return ClientRequest(b"POST", b"/v1/chat/completions", b"", pairs, b"", True)


ADMISSION = Admission({"good": CALLER, "limited": LIMITED}, lambda secret: secret, lambda t, v, k: f"<{t}:{k}:{v}>")


def dimensions(*headers: tuple[str, str], caller: Caller = CALLER) -> Dimensions:
    return ADMISSION.dimensions(caller, request(*headers))


def refusal(*headers: tuple[str, str], caller: Caller = CALLER) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        dimensions(*headers, caller=caller)
    return caught.value.status, caught.value.reason


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Bearer good")],
        [("authorization", "bearer  good ")],
        [("x-api-key", "good")],
        [("api-key", "good")],
        [("x-goog-api-key", "good")],
        [("authorization", "Bearer good"), ("x-api-key", "good")],
    ],
)
def test_a_tenant_key_comes_in_any_client_librarys_form(headers: list[tuple[str, str]]) -> None:
    """Each header that a client library sends its key in is read; the same key twice is one key."""
    assert ADMISSION.caller(request(*headers)) is CALLER


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "credential_missing"),
        ([("cookie", "key=good"), ("x-tollbook-tenant", "acme")], "credential_missing"),
        ([("authorization", "Bearer bad")], "credential_unknown"),
        ([("authorization", "Bearer ")], "credential_unknown"),
        ([("authorization", "Basic good")], "credential_unknown"),
        ([("authorization", "good")], "credential_unknown"),
        ([("authorization", "Bearer good"), ("x-api-key", "limited")], "two_credentials"),
        ([("authorization", "Bearer good"), ("authorization", "Bearer bad")], "two_credentials"),
        ([("authorization", "Basic good"), ("x-api-key", "good")], "two_credentials"),
    ],
)
def test_any_doubt_about_the_credential_is_401(headers: list[tuple[str, str]], code: str) -> None:
    """No key, an unknown one, another scheme and two different ones are refused; nothing else makes a tenant."""
    with pytest.raises(Refusal) as caught:
        ADMISSION.caller(request(*headers))
    assert (caught.value.status, caught.value.reason) == (401, code)
    assert "good" not in caught.value.message


def test_dimensions_come_from_headers_and_name_people_only_by_digest() -> None:
    """User, closed tags and the caller's request id are keyed digests; template and open tags are words."""
    found = dimensions(
        ("x-tollbook-user", "ann@example.com"),
        ("x-tollbook-workload", "support"),
        ("x-tollbook-template", "assist@v2"),
        ("x-tollbook-tags", "team=blue, ticket=4711"),
        ("x-request-id", "their-id"),
        ("x-tollbook-request-id", REQUEST_ID),
    )
    assert found == Dimensions(
        workload="support",
        user="<acme:user:ann@example.com>",
        template="assist@v2",
        tags={"team": "blue"},
        tags_digest={"ticket": "<acme:tag:4711>"},
        sources={"user": "header", "workload": "header", "template": "header", "tag:team": "header",
                 "tag:ticket": "header"},
        parent_request_id=REQUEST_ID,
        client_request_id="<acme:client_request_id:their-id>",
    )  # fmt: skip


def test_a_header_wins_over_baggage_and_the_source_is_told() -> None:
    """Where both name a dimension, in either order, the header counts."""
    headers = [("baggage", "tollbook.user=bag,tollbook.template=t%40v1"), ("x-tollbook-user", "head")]
    for order in (headers, headers[::-1]):
        found = dimensions(*order)
        assert found.user == "<acme:user:head>"
        assert found.template == "t@v1"
        assert found.sources == {"user": "header", "template": "baggage"}


def test_a_request_that_says_nothing_has_only_its_keys_workload() -> None:
    """A key with just one workload acts for it; one with several leaves it open."""
    assert dimensions() == Dimensions()
    assert dimensions(caller=LIMITED) == Dimensions(workload="search")
    assert dimensions(("x-tollbook-user", "a"), caller=LIMITED).workload == "search"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("x-tollbook-workload", "billing")], (403, "workload_not_allowed")),
        ([("baggage", "tollbook.workload=billing")], (403, "workload_not_allowed")),
        ([("x-tollbook-user", "")], (400, "malformed_dimension")),
        ([("x-tollbook-user", "u" * 257)], (400, "malformed_dimension")),
        ([("x-tollbook-user", "a\x07b")], (400, "malformed_dimension")),
        ([("x-tollbook-user", "\xff\xfe")], (400, "malformed_header")),
        ([("x-tollbook-template", "t" * 129)], (400, "malformed_dimension")),
        ([("x-request-id", "x" * 257)], (400, "malformed_dimension")),
        ([("x-tollbook-tags", "novalue")], (400, "malformed_tags")),
        ([("x-tollbook-tags", "Bad=1")], (400, "malformed_tags")),
        ([("x-tollbook-tags", "a=" + "v" * 257)], (400, "malformed_dimension")),
        ([("x-tollbook-tags", ",".join(f"t{n}=1" for n in range(17)))], (400, "too_many_tags")),
        ([("baggage", ",".join(f"tollbook.tag.t{n}=1" for n in range(17)))], (400, "too_many_tags")),
    ],
)
def test_what_names_a_dimension_badly_is_refused(headers: list[tuple[str, str]], expected: tuple[int, str]) -> None:
    """Bounds, characters and permissions of every dimension, with a stable code."""
    assert refusal(*headers) == expected


def test_a_limited_key_cannot_act_for_another_workload_of_its_tenant() -> None:
    """The key's own list counts, not the tenant's."""
    assert refusal(("x-tollbook-workload", "support"), caller=LIMITED) == (403, "workload_not_allowed")


@pytest.mark.parametrize("text", ["", "not-a-uuid", REQUEST_ID[:-1], REQUEST_ID.upper() + "x", "x" * 5000])
def test_an_outer_request_id_that_is_none_is_ignored(text: str) -> None:
    """A parent that cannot be one of a tollbook never refuses a request."""
    assert dimensions(("x-tollbook-request-id", text)).parent_request_id is None


TRACEPARENTS = [
    (PARENT, f"{TRACE}-{SPAN}-01"),
    (f"00-{TRACE}-{SPAN}-00", f"{TRACE}-{SPAN}-00"),
    (f"00-{TRACE}-{SPAN}-ff", f"{TRACE}-{SPAN}-01"),  # only the sampled bit is kept
    (f"00-{TRACE}-{SPAN}-02", f"{TRACE}-{SPAN}-00"),
    (f"cc-{TRACE}-{SPAN}-01", f"{TRACE}-{SPAN}-01"),  # a later version is read by its first four fields
    (f"cc-{TRACE}-{SPAN}-01-what-is-this", f"{TRACE}-{SPAN}-01"),
    (f"cc-{TRACE}-{SPAN}-01.what", None),
    (f"00-{TRACE}-{SPAN}-01-extra", None),
    (f"ff-{TRACE}-{SPAN}-01", None),
    (f"00-{TRACE.upper()}-{SPAN}-01", None),
    (f"00-{TRACE}-{SPAN.upper()}-01", None),
    (f"00-{'0' * 32}-{SPAN}-01", None),
    (f"00-{TRACE}-{'0' * 16}-01", None),
    (f"00-{TRACE[:-1]}-{SPAN}-01", None),
    (f"00-{TRACE}-{SPAN}", None),
    (f"0-{TRACE}-{SPAN}-01", None),
    (f" 00-{TRACE}-{SPAN}-01", None),
    ("", None),
    ("x" * 4000, None),
]


@pytest.mark.parametrize(("text", "expected"), TRACEPARENTS)
def test_traceparent_by_the_rules_of_w3c(text: str, expected: str | None) -> None:
    """W3C Trace Context, section 3.2: what is invalid restarts the trace and takes tracestate with it; never fails."""
    found = dimensions(("traceparent", text), ("tracestate", "a=1"))
    assert found.traceparent == expected
    assert found.tracestate == ("a=1" if expected else None)


def test_two_traceparents_are_none() -> None:
    """Nobody can say which of two is right."""
    assert dimensions(("traceparent", PARENT), ("traceparent", PARENT)).traceparent is None


TRACESTATES = [
    (["vendor=value"], "vendor=value"),
    (["a=1", "b=2"], "a=1,b=2"),
    (["a=1, ,b=2,"], "a=1,b=2"),
    (["t@v=with space inside"], "t@v=with space inside"),
    (["a=1,a=2"], None),
    (["A=1"], None),
    (["a"], None),
    (["a="], None),
    (["a=b=c"], None),
    (["a=" + "v" * 257], None),
    ([",".join(f"k{n}=v" for n in range(32))], ",".join(f"k{n}=v" for n in range(32))),
    ([",".join(f"k{n}=v" for n in range(33))], None),
    ([""], None),
]


@pytest.mark.parametrize(("headers", "expected"), TRACESTATES)
def test_tracestate_never_harms_traceparent(headers: list[str], expected: str | None) -> None:
    """Several headers combine in order; a malformed one is dropped whole and the trace goes on."""
    found = dimensions(("traceparent", PARENT), *(("tracestate", text) for text in headers))
    assert found.tracestate == expected
    assert found.traceparent == f"{TRACE}-{SPAN}-01"


BAGGAGE = [
    ("a=1,b=2", "a=1,b=2"),
    ("a=1;prop=x , b=2", "a=1;prop=x,b=2"),
    ("novalue,a=1", "a=1"),
    ("tollbook.tenant=globex,a=1", "a=1"),
    ("tollbook.user=ann;prop=1,tollbook.tag.team=x", None),
    ("", None),
    (",".join(f"k{n}=v" for n in range(70)), ",".join(f"k{n}=v" for n in range(64))),
]


@pytest.mark.parametrize(("text", "expected"), BAGGAGE)
def test_baggage_goes_on_without_what_is_ours(text: str, expected: str | None) -> None:
    """Our own names are read and never leave; a tenant cannot be named; W3C limits hold for what goes on."""
    assert dimensions(("baggage", text)).baggage == expected


def test_baggage_values_are_percent_decoded_and_lose_their_properties() -> None:
    """W3C Baggage, section 3.3: `;property` is no part of the value."""
    found = dimensions(("baggage", "tollbook.user=J%C3%B6rg;p=1, tollbook.tag.team = blue"))
    assert found.user == "<acme:user:Jörg>"
    assert found.tags == {"team": "blue"}


@given(st.lists(st.text("ab=,;% \t\xe9.", max_size=60), max_size=300))
def test_any_baggage_is_survived_within_its_limits(parts: list[str]) -> None:
    """Whatever comes, no more than 64 members and 8 KiB go on."""
    passed = dimensions(("baggage", ",".join(parts))).baggage
    assert passed is None or (len(passed) <= BAGGAGE_LIMIT and passed.count(",") < 64)


def test_a_member_cut_by_our_limit_is_not_taken_for_whole() -> None:
    """Of a baggage longer than we read, the last member read is dropped: it may be half a name."""
    user = "tollbook.user=" + "u" * 200
    for whole in range(len(user) + 1):
        filler = "k=" + "v" * (2 * BAGGAGE_LIMIT - whole - 3)
        found = dimensions(("baggage", f"{filler},{user}")).user
        assert found == ("<acme:user:" + "u" * 200 + ">" if whole == len(user) else None)


def test_spans_of_attempts_differ_and_follow_from_the_request_id() -> None:
    """What a vendor sees of a trace we started can be derived from the request id alone."""
    spans = {span_id_of(REQUEST_ID, number) for number in range(4)}
    assert len(spans) == 4
    assert trace_id_of(REQUEST_ID) == REQUEST_ID.replace("-", "")
