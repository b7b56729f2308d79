"""The official client libraries against the real processes: base URL and key are all that changes."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai
import pytest
from anthropic.types import TextBlock
from openai.types.chat import ChatCompletionMessageParam
from real_stage import ACME, GLOBEX, RealStage

from tollbook.core.money import parse_amount
from tollbook.journal.tail import lane_directories, read_lane

pytestmark = pytest.mark.xdist_group("gateway-stage")


def asked(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def gpt(stage: RealStage) -> openai.OpenAI:
    return openai.OpenAI(base_url=stage.openai_url, api_key=ACME, max_retries=0)


@pytest.fixture(scope="module")
def claude(stage: RealStage) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=stage.gateway_url, api_key=ACME, max_retries=0)


def test_openai_buffered(stage: RealStage, gpt: openai.OpenAI) -> None:
    """An answer, its usage, and our headers beside it; the book has the vendor's own amount."""
    raw = gpt.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=asked("[[sim input=100 cache_read=900 output=10]]")
    )
    answer = raw.parse()
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (1000, 10)
    assert raw.headers["x-tollbook-cost-usd"] == "0.001475"
    assert raw.headers["x-tollbook-attempts"] == "1"
    assert raw.headers["x-tollbook-route"] == "openai/gpt-4o"
    found = stage.find(raw.headers["x-tollbook-request-id"])
    assert found["request"]["amount_usd"] == "0.001475"
    assert found["request"]["basis"] == "provider_reported"
    assert found["attempts"][0]["usage"] == {"input": 100, "input_cache_read": 900, "output": 10}
    (_,), (billed,) = stage.vendor_record(found["request"]["id"])
    assert parse_amount(billed.amount) == parse_amount("0.001475")


def test_openai_streamed(stage: RealStage, gpt: openai.OpenAI) -> None:
    """Chunks as they come; the usage is hidden from who did not ask, and recorded all the same."""
    seen, request_id = [], ""
    with gpt.chat.completions.with_streaming_response.create(
        model="gpt-4o-mini", messages=asked("[[sim input=50 output=20]]"), stream=True
    ) as raw:
        request_id = raw.headers["x-tollbook-request-id"]
        seen = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in seen if chunk.choices)
    assert all(chunk.usage is None for chunk in seen)
    assert stage.find(request_id)["attempts"][0]["usage"] == {"input": 50, "output": 20}
    told = list(
        gpt.chat.completions.create(
            model="gpt-4o-mini",
            messages=asked("[[sim input=50 output=20]]"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert told[-1].usage is not None
    assert told[-1].usage.completion_tokens == 20


def test_anthropic_buffered_and_streamed(stage: RealStage, claude: anthropic.Anthropic) -> None:
    """Both forms, the helper that gathers a stream, and the same usage in the book."""
    text = "[[sim input=70 cache_read=30 output=12]]"
    raw = claude.messages.with_raw_response.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": text}]
    )
    answer = raw.parse()
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (70, 30, 12)
    with claude.messages.stream(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": text}]
    ) as stream:
        final = stream.get_final_message()
        request_id = stream.response.headers["x-tollbook-request-id"]
    assert isinstance(final.content[0], TextBlock)
    assert final.usage.output_tokens == 12
    one, two = stage.find(raw.headers["x-tollbook-request-id"]), stage.find(request_id)
    assert one["request"]["amount_usd"] == two["request"]["amount_usd"] == raw.headers["x-tollbook-cost-usd"]
    assert [one["request"]["stream"], two["request"]["stream"]] == [False, True]


async def test_both_libraries_asynchronously(stage: RealStage) -> None:
    """Buffered and streamed, on asyncio."""
    async with (
        openai.AsyncOpenAI(base_url=stage.openai_url, api_key=ACME, max_retries=0) as gpt,
        anthropic.AsyncAnthropic(base_url=stage.gateway_url, api_key=GLOBEX, max_retries=0) as claude,
    ):
        answer = await gpt.chat.completions.create(model="gpt-4o-mini", messages=asked("[[sim output=5]]"))
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5
        chunks = [
            chunk
            async for chunk in await gpt.chat.completions.create(
                model="gpt-4o-mini", messages=asked("[[sim output=8]]"), stream=True
            )
        ]
        assert chunks[-1].choices[0].finish_reason == "stop"
        async with claude.messages.stream(
            model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "[[sim output=7]]"}]
        ) as stream:
            assert (await stream.get_final_message()).usage.output_tokens == 7


OPENAI_ERRORS = [
    ("[[sim fault=400]]", openai.BadRequestError, 400),
    ("[[sim fault=403]]", openai.PermissionDeniedError, 403),
    ("[[sim fault=404]]", openai.NotFoundError, 404),
    ("[[sim fault=409]]", openai.ConflictError, 409),
    ("[[sim fault=429 retry_after=0]]", openai.RateLimitError, 429),
    ("[[sim fault=500]]", openai.InternalServerError, 500),
    ("[[sim fault=503]]", openai.InternalServerError, 503),
    ("[[sim fault=drop]]", openai.InternalServerError, 502),
]


@pytest.mark.parametrize(("text", "kind", "status"), OPENAI_ERRORS)
@pytest.mark.parametrize("stream", [False, True])
def test_openai_errors_are_the_librarys_own(
    gpt: openai.OpenAI, text: str, kind: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    """A vendor's refusal, and ours, arrive as the exception a program already catches, with our request id."""
    with pytest.raises(kind) as caught:
        gpt.chat.completions.create(model="gpt-4o-mini", messages=asked(text), stream=stream)
    assert caught.value.status_code == status
    assert caught.value.response.headers["x-tollbook-request-id"]
    if status == 502:
        assert caught.value.code == "attempts_exhausted"


ANTHROPIC_ERRORS = [
    ("[[sim fault=400]]", anthropic.BadRequestError),
    ("[[sim fault=429 retry_after=0]]", anthropic.RateLimitError),
    ("[[sim fault=529]]", anthropic.InternalServerError),
    ("[[sim fault=drop]]", anthropic.InternalServerError),
]


@pytest.mark.parametrize(("text", "kind"), ANTHROPIC_ERRORS)
def test_anthropic_errors_are_the_librarys_own(
    claude: anthropic.Anthropic, text: str, kind: type[anthropic.APIStatusError]
) -> None:
    """Likewise in the other format."""
    with pytest.raises(kind) as caught:
        claude.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": text}])
    assert caught.value.response.headers["x-tollbook-request-id"]


def test_our_own_refusals_in_both_libraries(stage: RealStage, gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Unknown model, unknown key, too large: the library's class, our code, the request id."""
    with pytest.raises(openai.NotFoundError) as unknown:
        gpt.chat.completions.create(model="gpt-9", messages=asked("x"))
    assert unknown.value.code == "model_unknown"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=stage.openai_url, api_key="nobody", max_retries=0).models.list()
    with pytest.raises(openai.APIStatusError) as large:
        gpt.chat.completions.create(model="gpt-4o-mini", messages=asked("a" * 1_200_000))
    assert large.value.status_code == 413
    with pytest.raises(anthropic.NotFoundError) as nowhere:
        claude.messages.create(model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert nowhere.value.response.json()["request_id"] == nowhere.value.response.headers["x-tollbook-request-id"]
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=stage.gateway_url, api_key="nobody", max_retries=0).models.list()


def test_what_may_be_billed_is_not_bought_again_by_the_library(stage: RealStage, claude: anthropic.Anthropic) -> None:
    """With its own retries on, a library leaves an error of ours alone where an attempt may have cost money."""
    patient = claude.with_options(max_retries=3)
    with pytest.raises(anthropic.InternalServerError) as caught:
        patient.messages.create(
            model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "once [[sim fault=drop]]"}]
        )
    assert caught.value.response.headers["x-should-retry"] == "false"
    received, _ = stage.vendor_record(caught.value.response.headers["x-tollbook-request-id"])
    assert len(received) == 1


def test_models_are_listed(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    """Half of all tools ask first."""
    assert "smart" in [model.id for model in gpt.models.list()]
    assert "smart" in [model.id for model in claude.models.list()]


def test_a_hundred_clients_of_both_libraries_at_once(stage: RealStage) -> None:
    """Each gets its own answer; the book, the road and the vendor count the same (L1, L32)."""
    with ThreadPoolExecutor(20) as threads:
        ids = [one for batch in threads.map(lambda start: _five(stage, start), range(0, 100, 5)) for one in batch]
    assert len(set(ids)) == 100
    for request_id in ids:
        received, billed = stage.vendor_record(request_id)
        assert len(received) == len(billed) == 1
        assert received[0].attempt_id == f"{request_id}.1"
    stage.find(ids[-1])
    lines = [line.bytes for lane in lane_directories(stage.book) for line in read_lane(lane)]
    settled = [line for line in lines if b'"k":"request.settled"' in line]
    assert all(sum(request_id.encode() in line for line in settled) == 1 for request_id in ids)


def _five(stage: RealStage, start: int) -> list[str]:
    """Five requests in flight together, over one client of each library."""

    async def run() -> list[str]:
        async with (
            openai.AsyncOpenAI(base_url=stage.openai_url, api_key=ACME, max_retries=0) as gpt,
            anthropic.AsyncAnthropic(base_url=stage.gateway_url, api_key=ACME, max_retries=0) as claude,
        ):
            return await asyncio.gather(*(_one(gpt, claude, start + number) for number in range(5)))

    return asyncio.run(run())


async def _one(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic, number: int) -> str:
    text = f"number {number} [[sim input={number + 1} output=3 first_byte_ms=20]]"
    if number % 2:
        raw = await gpt.chat.completions.with_raw_response.create(model="gpt-4o-mini", messages=asked(text))
        usage = raw.parse().usage
        assert usage is not None
        assert usage.prompt_tokens == number + 1
        return str(raw.headers["x-tollbook-request-id"])
    other = await claude.messages.with_raw_response.create(
        model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": text}]
    )
    assert (await other.parse()).usage.input_tokens == number + 1
    return str(other.headers["x-tollbook-request-id"])
