"""Clients that sign as AWS wants it: botocore is the judge of what a signature is, and every change breaks one."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tollbook.core.clock import SECOND, now
from tollbook.core.settings import Tenant, TenantKey
from tollbook.gateway.admission import Admission, Caller
from tollbook.gateway.message import ClientRequest
from tollbook.gateway.refusal import Refusal

SECRET = "canary/secret+of=forty"
CALLER = Caller(Tenant(name="acme", keys=(TenantKey(name="aws", secret="x"),)), "aws", ())
PATH = "/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"


def admission(at: int | None = None) -> Admission:
    signers = {"TBACME": (SECRET, CALLER)}
    return Admission({}, lambda secret: secret, lambda t, v, k: v, signers, lambda: at if at is not None else now())


def signed(
    body: bytes = b"{}",
    path: str = PATH,
    query: str = "",
    key: str = "TBACME",
    secret: str = SECRET,
    token: str | None = None,
    service: str = "bedrock",
) -> ClientRequest:
    """A request as botocore signs it."""
    url = f"http://127.0.0.1:8080{path}{query and '?'}{query}"
    request = AWSRequest("POST", url, data=body, headers={"content-type": "application/json", "x-amz-a": " b   c "})
    SigV4Auth(Credentials(key, secret, token), service, "eu-central-1").add_auth(request)
    headers = [(b"host", b"127.0.0.1:8080")]
    headers += [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return ClientRequest(b"POST", path.encode(), query.encode(), headers, body, True)


def code(request: ClientRequest, at: int | None = None) -> str:
    with pytest.raises(Refusal) as caught:
        admission(at).caller(request)
    assert caught.value.status == 401
    assert SECRET not in caught.value.message
    return caught.value.reason


@given(
    st.binary(max_size=50),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#%/"), min_size=1, max_size=20),
    st.dictionaries(st.text("ab ~*+/:é", min_size=1, max_size=4), st.text("ab =&+/é", max_size=4), max_size=3),
)
def test_what_botocore_signs_is_admitted(body: bytes, name: str, query: dict[str, str]) -> None:
    """Any body, any name in the path as botocore codes it, any query."""
    path = f"/model/m{quote(name, safe='~')}/converse"
    pairs = "&".join(f"{quote(key, safe='~')}={quote(value, safe='~')}" for key, value in query.items())
    assert admission().caller(signed(body, path, pairs)) is CALLER


def test_a_session_token_is_signed_and_no_more() -> None:
    """Temporary credentials have one beside the signature; the tenant is known by the id and the secret."""
    assert admission().caller(signed(token="temporary")) is CALLER


def header(name: bytes, edit: Callable[[bytes], bytes]) -> Callable[[ClientRequest], None]:
    def change(request: ClientRequest) -> None:
        request.headers = [(key, edit(value) if key == name else value) for key, value in request.headers]

    return change


def other(**members: bytes) -> Callable[[ClientRequest], None]:
    def change(request: ClientRequest) -> None:
        for name, value in members.items():
            setattr(request, name, value)

    return change


CHANGES: dict[str, Callable[[ClientRequest], None]] = {
    "body": other(body=b"{ }"),
    "method": other(method=b"PUT"),
    "path": other(path=b"/model/another/converse"),
    "query": other(query=b"a=b"),
    "host": header(b"host", lambda _: b"another"),
    "signed header": header(b"x-amz-a", lambda _: b"d"),
    "another header to be signed": lambda request: request.headers.append((b"x-amz-target", b"x")),
    "a second value": lambda request: request.headers.append((b"x-amz-a", b"d")),
    "a second host": lambda request: request.headers.append((b"host", b"127.0.0.1:8080")),
    "digest of the body": lambda request: request.headers.append((b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")),
    "last digit": header(b"authorization", lambda value: value[:-1] + (b"0" if value[-1:] != b"0" else b"1")),
    "no date": header(b"x-amz-date", lambda _: b""),
    "no instant": header(b"x-amz-date", lambda value: value[:9] + b"999999Z"),
    "unsigned host": header(b"authorization", lambda value: value.replace(b";host;", b";")),
    "malformed": header(b"authorization", lambda value: value[:40]),
    "latin": header(b"authorization", lambda value: value + b"\xff"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_breaks_the_signature(name: str) -> None:
    """Each part of a request is signed; nothing is admitted for a former signature's sake."""
    request = signed()
    judge = admission()
    assert judge.caller(request) is CALLER
    CHANGES[name](request)
    with pytest.raises(Refusal) as caught:
        judge.caller(request)
    assert (caught.value.status, caught.value.reason) == (401, "signature_wrong")


def test_wrong_secret_unknown_id_another_service() -> None:
    """None is admitted, and each is told apart."""
    assert code(signed(secret="another")) == "signature_wrong"
    assert code(signed(key="TBNOBODY")) == "credential_unknown"
    assert code(signed(service="s3")) == "signature_wrong"


@pytest.mark.parametrize(("seconds", "fine"), [(-301, False), (-299, True), (298, True), (301, False)])
def test_a_signature_holds_for_five_minutes(seconds: int, fine: bool) -> None:
    """Before and after; an older one is refused although it is right."""
    request = signed()
    date = next(value for name, value in request.headers if name == b"x-amz-date").decode()
    at = int(datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) + seconds
    if fine:
        assert admission(at * SECOND).caller(request) is CALLER
    else:
        assert code(request, at * SECOND) == "signature_expired"


@pytest.mark.parametrize("extra", [(b"x-api-key", b"good"), (b"authorization", b"Bearer good")])
def test_two_credentials_are_refused(extra: tuple[bytes, bytes]) -> None:
    """A signature beside a key leaves open who asks."""
    request = signed()
    request.headers.append(extra)
    assert code(request) == "two_credentials"
    twice = signed()
    twice.headers += [field for field in twice.headers if field[0] == b"authorization"]
    assert code(twice) == "two_credentials"


def test_the_day_of_the_scope_is_that_of_the_date() -> None:
    """A scope of another day is refused."""
    request = signed()
    header(b"authorization", lambda value: re.sub(rb"/\d{8}/", b"/20200101/", value))(request)
    assert code(request) == "signature_expired"
