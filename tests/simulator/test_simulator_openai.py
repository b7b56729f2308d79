"""OpenAI's other endpoints, with the official SDK as the judge."""

import io
import json
import time
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import ResponseStreamEvent
from sdk_types import unknown_members

from tollbook.simulator import Settings, Simulator

KEY = "sk-sim-openai"


@pytest.fixture
def client(simulator: Simulator) -> openai.OpenAI:
    return openai.OpenAI(base_url=simulator.openai_url, api_key=KEY, max_retries=0)


def test_responses_are_alike_in_both_forms(simulator: Simulator, client: openai.OpenAI) -> None:
    """Buffered and streamed: the SDK's types to the last member, one text, one usage, one amount."""
    said = "[[sim input=300 output=40 reasoning=10 cache_read=20 web_searches=2 file_searches=1 code_sessions=1]]"
    whole = client.responses.create(model="gpt-5-mini", input=said)
    with client.responses.stream(model="gpt-5-mini", input=said) as stream:
        list(stream)
        streamed = stream.get_final_response()
    assert unknown_members(whole) == []
    assert whole.usage and whole.usage == streamed.usage
    assert (whole.usage.input_tokens, whole.usage.input_tokens_details.cached_tokens) == (320, 20)
    assert (whole.usage.output_tokens, whole.usage.output_tokens_details.reasoning_tokens) == (50, 10)
    assert len(whole.output_text.split()) == 40 == len(streamed.output_text.split())
    kinds = [item.type for item in whole.output]
    assert kinds == ["reasoning", *["web_search_call"] * 2, "file_search_call", "code_interpreter_call", "message"]
    first, second = simulator.books.billed
    assert first.amount == second.amount and first.operation == "responses"
    assert first.counts["web_searches"] == 2 and first.response_id == whole.id


def test_response_events_have_exactly_the_sdk_types(client: openai.OpenAI) -> None:
    """Every event validates and is numbered; the terminal one alone has usage."""
    events = list(client.responses.create(model="gpt-4o", input="[[sim output=9 reasoning=2]]", stream=True))
    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(ResponseStreamEvent)
    parsed = [adapter.validate_python(event.model_dump(exclude_unset=True)) for event in events]
    assert [extra for event in parsed for extra in unknown_members(event)] == []
    assert [event.sequence_number for event in parsed] == list(range(len(parsed)))
    assert (parsed[0].type, parsed[-1].type) == ("response.created", "response.completed")
    usages = [event.response.usage for event in parsed if hasattr(event, "response")]
    assert usages[:-1] == [None, None] and usages[-1].output_tokens == 11


def test_a_response_can_end_in_three_ways(simulator: Simulator, client: openai.OpenAI) -> None:
    """Completed, incomplete at the limit, failed: without usage, and billed only when told."""

    def ends(text: str, **members: Any) -> Any:
        whole = client.responses.create(model="gpt-4o", input=text, **members)
        *_, last = client.responses.create(model="gpt-4o", input=text, stream=True, **members)
        assert last.type == f"response.{whole.status}"
        return whole

    assert ends("[[sim output=20]]").status == "completed"
    short = ends("[[sim output=20]]", max_output_tokens=16)
    assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert short.usage.output_tokens == 16
    assert len(simulator.books.billed) == 4
    failed = ends("[[sim fault=failed]]")
    assert (failed.status, failed.usage, failed.error.code) == ("failed", None, "server_error")
    assert len(simulator.books.billed) == 4
    ends("[[sim fault=failed billed=true]]")
    assert len(simulator.books.billed) == 6
    assert [line.billed for line in simulator.books.ended] == [True] * 4 + [False] * 2 + [True] * 2


def test_a_response_is_kept_for_its_account(simulator: Simulator, client: openai.OpenAI) -> None:
    """Retrieved, listed by its input, continued and deleted by its own account; for another one it is not there."""
    made = client.responses.create(model="gpt-4o", input="[[sim output=3]] hello")
    assert client.responses.retrieve(made.id) == made
    (item,) = client.responses.input_items.list(made.id).data
    assert item.content[0].text == "[[sim output=3]] hello"  # type: ignore[union-attr]
    assert client.responses.create(model="gpt-4o", input="on", previous_response_id=made.id).previous_response_id
    other = client.with_options(api_key="sk-sim-other")
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        other.responses.create(model="gpt-4o", input="on", previous_response_id=made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    unkept = client.responses.create(model="gpt-4o", input="x", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(unkept.id)
    assert len(simulator.books.billed) == 3


def test_a_background_response_is_billed_when_it_is_done(simulator: Simulator, client: openai.OpenAI) -> None:
    """Its creation says queued and has no usage; retrieving it costs nothing, and tells the usage in the end."""
    made = client.responses.create(model="gpt-4o", input="[[sim output=7 later_ms=150]]", background=True)
    assert (made.status, made.usage, simulator.books.billed) == ("queued", None, [])
    assert client.responses.retrieve(made.id).status == "queued"
    deadline = time.monotonic() + 5
    while (done := client.responses.retrieve(made.id)).status == "queued" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (done.status, done.usage and done.usage.output_tokens) == ("completed", 7)
    (billed,) = simulator.books.billed
    assert billed.response_id == made.id and billed.complete
    at_once = client.responses.create(model="gpt-4o", input="[[sim output=5]]", background=True)
    assert at_once.status == "queued" and client.responses.retrieve(at_once.id).status == "completed"


def test_a_cancelled_background_response_is_not_billed(simulator: Simulator, client: openai.OpenAI) -> None:
    """It has no usage either; a response that was not in the background cannot be cancelled."""
    made = client.responses.create(model="gpt-4o", input="[[sim later_ms=100]]", background=True)
    assert client.responses.cancel(made.id).status == "cancelled"
    time.sleep(0.2)
    last = client.responses.retrieve(made.id)
    assert (last.status, last.usage, simulator.books.billed) == ("cancelled", None, [])
    plain = client.responses.create(model="gpt-4o", input="x")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(plain.id)


def test_legacy_completions(simulator: Simulator, client: openai.OpenAI) -> None:
    """Buffered and streamed, with usage when it is asked for."""
    said = "[[sim input=9 output=12]]"
    whole = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=said)
    assert unknown_members(whole) == [] and whole.usage and whole.usage.completion_tokens == 12
    options: Any = {"include_usage": True}
    chunks = list(
        client.completions.create(model="gpt-3.5-turbo-instruct", prompt=said, stream=True, stream_options=options)
    )
    assert len("".join(chunk.choices[0].text for chunk in chunks if chunk.choices).split()) == 12
    assert chunks[-1].usage == whole.usage
    # 9 x 1.50 + 12 x 2.00 dollars per million
    assert [line.amount for line in simulator.books.billed] == ["0.0000375"] * 2


def test_embeddings(simulator: Simulator, client: openai.OpenAI) -> None:
    """Texts and tokens, as floats and in base64; input is all that is used."""
    coded = client.embeddings.create(model="text-embedding-3-small", input=["[[sim input=500]]", "b"])
    plain = client.embeddings.create(model="text-embedding-3-small", input=[1, 2, 3], encoding_format="float")
    assert unknown_members(coded) == [] and [one.index for one in coded.data] == [0, 1]
    assert coded.data[0].embedding != coded.data[1].embedding and len(plain.data[0].embedding) == 8
    assert (coded.usage.prompt_tokens, plain.usage.total_tokens) == (500, 6)
    assert [line.amount for line in simulator.books.billed] == ["0.00001", "0.00000012"]


def test_images(simulator: Simulator, client: openai.OpenAI) -> None:
    """Tokens by modality, buffered, streamed and edited; an older model reports none and is billed by the image."""
    made = client.images.generate(model="gpt-image-1", prompt="[[sim input=10]]", n=2)
    assert unknown_members(made) == [] and made.usage and len(made.data or ()) == 2
    assert (made.usage.input_tokens, made.usage.output_tokens) == (10, 544)
    *partial, last = client.images.generate(
        model="gpt-image-1", prompt="[[sim input=10]]", stream=True, partial_images=2
    )
    assert [event.type for event in partial] == ["image_generation.partial_image"] * 2
    assert last.type == "image_generation.completed" and last.usage.output_tokens == 272
    edited = client.images.edit(model="gpt-image-1", prompt="[[sim input=10]]", image=("a.png", b"\x89PNG"))
    assert edited.usage and edited.usage.input_tokens_details.image_tokens == 85
    old = client.images.generate(model="dall-e-3", prompt="a road")
    assert old.usage is None
    # 10 x 5 + 544 x 40; 10 x 5 + 272 x 40; with 85 x 10 more; 0.04 for the old one
    amounts = ["0.02181", "0.01093", "0.01178", "0.04"]
    assert [line.amount for line in simulator.books.billed] == amounts
    assert simulator.books.billed[3].counts == {"images": 1} and simulator.books.billed[3].usage == {"images": 1}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transcriptions(simulator: Simulator, client: openai.OpenAI) -> None:
    """Tokens, streamed too, or seconds; a translation is the same."""
    sound = ("a.mp3", b"\0" * 48_000)
    said = "[[sim output=9]]"
    whole = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, prompt=said)
    assert whole.usage and whole.usage.type == "tokens"
    assert whole.usage.input_token_details and whole.usage.input_token_details.audio_tokens == 30
    *_, last = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound, prompt=said, stream=True)
    assert last.type == "transcript.text.done" and len(last.text.split()) == 9 and last.usage
    assert last.usage.output_tokens == whole.usage.output_tokens == 9
    timed = client.audio.transcriptions.create(model="whisper-1", file=sound)
    assert timed.usage and timed.usage.type == "duration" and timed.usage.seconds == 3
    verbose = client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="verbose_json")
    assert verbose.duration == 3 and verbose.usage and verbose.usage.seconds == 3
    text: Any = client.audio.transcriptions.create(model="whisper-1", file=sound, response_format="text")
    assert text.strip()
    assert client.audio.translations.create(model="whisper-1", file=sound).text
    assert [line.amount for line in simulator.books.billed][2:] == ["0.0003"] * 4


def test_speech(simulator: Simulator, client: openai.OpenAI) -> None:
    """Audio bytes without any usage, or events with usage at their end; billed by tokens or by characters."""
    made = client.audio.speech.create(model="tts-1", voice="alloy", input="0123456789")
    assert made.response.headers["content-type"] == "audio/mpeg" and made.content.startswith(b"\xff\xfb")
    asked: Any = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "a b", "stream_format": "sse"}
    with client.audio.speech.with_streaming_response.create(**asked) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["speech.audio.delta"] * 4 + ["speech.audio.done"]
    assert events[-1]["usage"] == {"input_tokens": 5, "output_tokens": 40, "total_tokens": 45}
    first, second = simulator.books.billed
    assert (first.counts, first.amount) == ({"characters": 10}, "0.00015")
    assert second.usage == events[-1]["usage"]


LINES = [
    ("one", {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim input=100 output=10]]"}]}),
    ("two", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "[[sim input=100 output=10]]"}]}),
    ("bad", {"model": "gpt-99", "messages": [{"role": "user", "content": "x"}]}),
]


def upload(client: openai.OpenAI, lines: list[tuple[str, Any]] = LINES, url: str = "/v1/chat/completions") -> str:
    texts = [json.dumps({"custom_id": name, "method": "POST", "url": url, "body": body}) for name, body in lines]
    return client.files.create(file=("in.jsonl", "\n".join(texts).encode()), purpose="batch").id


def test_files_are_kept_for_their_account(client: openai.OpenAI) -> None:
    """Uploaded, listed, read, deleted; another account has none."""
    name = upload(client)
    assert unknown_members(client.files.retrieve(name)) == []
    assert [file.id for file in client.files.list()] == [name]
    assert len(client.files.content(name).content.splitlines()) == 3
    assert list(client.with_options(api_key="sk-sim-other").files.list()) == []
    assert client.files.delete(name).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(name)


def test_a_batch_bills_each_line_at_half_price(simulator: Simulator, client: openai.OpenAI) -> None:
    """Output lines with bodies and ids, failed ones apart and unbilled, and the batch's own usage."""
    made = client.batches.create(input_file_id=upload(client), endpoint="/v1/chat/completions", completion_window="24h")
    assert (made.status, unknown_members(made)) == ("validating", [])
    done = client.batches.retrieve(made.id)
    assert done.status == "completed" and done.request_counts and done.usage
    assert (done.request_counts.completed, done.request_counts.failed, done.usage.total_tokens) == (2, 1, 220)
    assert done.output_file_id and done.error_file_id
    lines = [json.loads(line) for line in client.files.content(done.output_file_id).content.splitlines()]
    (error,) = (json.loads(line) for line in client.files.content(done.error_file_id).content.splitlines())
    assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 404)
    billed = simulator.books.billed
    assert [line.custom_id for line in billed] == ["one", "two"]
    assert [line.response_id for line in billed] == [line["response"]["body"]["id"] for line in lines]
    assert [line.vendor_request_id for line in billed] == [line["response"]["request_id"] for line in lines]
    # half of 100 x 2.50 + 10 x 10.00, and of 100 x 0.15 + 10 x 0.60 dollars per million
    assert [(line.tier, line.amount, line.batch_id) for line in billed] == [
        ("batch", "0.000175", made.id),
        ("batch", "0.0000105", made.id),
    ]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/v1/responses", {"model": "gpt-4o", "input": "[[sim output=4]]"}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "a b c"}),
        ("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "a b c"}),
    ],
)
def test_other_endpoints_come_in_batches_too(simulator: Simulator, client: openai.OpenAI, url: Any, body: Any) -> None:
    """Each line's body is what the endpoint itself would have answered."""
    file = upload(client, [("one", body)], url)
    made = client.batches.create(input_file_id=file, endpoint=url, completion_window="24h")
    done = client.batches.retrieve(made.id)
    (line,) = (json.loads(text) for text in client.files.content(done.output_file_id or "").content.splitlines())
    (billed,) = simulator.books.billed
    assert line["response"]["body"]["usage"] == billed.usage and billed.operation == url.rpartition("/")[2]


def test_a_batch_can_wait_and_be_cancelled() -> None:
    """While it is in progress nothing is billed; cancelled then, nothing ever is."""
    with Simulator(settings=Settings(later_ms=200)) as simulator:
        client = openai.OpenAI(base_url=simulator.openai_url, api_key=KEY, max_retries=0)
        file = upload(client)
        names = [
            client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h").id
            for _ in range(2)
        ]
        assert [client.batches.retrieve(name).status for name in names] == ["in_progress"] * 2
        assert client.batches.cancel(names[0]).status == "cancelling"
        time.sleep(0.4)
        assert [client.batches.retrieve(name).status for name in names] == ["cancelled", "completed"]
        assert {line.batch_id for line in simulator.books.billed} == {names[1]}
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(names[1])
        assert [batch.id for batch in client.batches.list()] == names[::-1]


def test_a_form_that_is_none_is_refused(exchange: Any, simulator: Simulator) -> None:
    """Broken multipart bodies are 400 in the vendor's shape."""
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "text/plain"):
        body = b"--y\r\nnothing"
        head = (
            f"POST /v1/files HTTP/1.1\r\nauthorization: Bearer {KEY}\r\ncontent-type: {kind}\r\nconnection: close\r\n"
        )
        answer = exchange(simulator.url, head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")


def test_large_files_come_whole(client: openai.OpenAI) -> None:
    """A file of several megabytes is read back as it was sent."""
    data = bytes(range(256)) * 20_000
    name = client.files.create(file=("big.bin", io.BytesIO(data)), purpose="user_data").id
    assert client.files.content(name).content == data
