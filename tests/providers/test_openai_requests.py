"""What the adapters of OpenAI's operations, and Azure's, make of requests: models, paths, objects, credentials."""

import json
from typing import Any

import httpx2
import msgspec
import openai
import pytest
from recorded_wire import body_of, call_of

from tollbook.core.faults import BadInput
from tollbook.providers.azure import AZURE
from tollbook.providers.contract import Adapter, Call, VendorObject
from tollbook.providers.openai import OPENAI
from tollbook.providers.openai_batch import read_batch, read_line
from tollbook.providers.registry import ADAPTERS, BY_ENDPOINT

FAMILY = (*OPENAI, *AZURE)
WALK = [(adapter, path) for adapter in ADAPTERS if adapter in FAMILY for path in adapter.object_fields]


def told(path: str, value: str) -> Any:
    """A body, or a part of one, that names `value` at a dotted path."""
    if not path:
        return value
    name, _, rest = path.partition(".")
    inner = told(rest, value)
    return {("any" if name == "*" else name): inner}


@pytest.mark.parametrize(("adapter", "path"), WALK, ids=lambda one: one if isinstance(one, str) else one.endpoint)
def test_every_object_in_the_table_is_found(adapter: Adapter, path: str) -> None:
    """A request that names an object in any of the ways the table has is found to name it; in lists too."""
    wanted = VendorObject(adapter.object_fields[path], "id-1")
    if path.startswith("/"):
        route = next(route for route in adapter.routes if "{" + path[1:] + "}" in route.path)
        assert adapter.objects(Call(route, {path[1:]: "id-1"}, b"", [], b"", adapter.scan([], b"{}"))) == [wanted]
        return
    body = json.dumps(told(path, "id-1")).encode()
    assert adapter.objects(call_of(adapter, body)) == [wanted]
    name, _, rest = path.partition(".")
    if "*" not in path:
        body = json.dumps({name: [told(rest, "id-2"), told(rest, "id-1")]}).encode()
        assert wanted in adapter.objects(call_of(adapter, body))


@pytest.mark.parametrize("adapter", FAMILY, ids=lambda adapter: adapter.endpoint)
def test_every_id_in_a_route_is_in_the_table(adapter: Adapter) -> None:
    """No route names a vendor object that would not be held against its owner; ids below an owned one are its own."""
    below = {"item_id", "file_batch_id", "container_file_id", "model"}
    for route in adapter.routes:
        names = {piece.partition("}")[0] for piece in route.path.split("{")[1:]}
        assert {f"/{name}" for name in names - below} <= set(adapter.object_fields)
        assert not names & below - {"model"} or names - below


def test_references_to_items_are_told_from_items() -> None:
    """Only what the vendor would look up is a vendor object; an item that is given whole may have any id."""
    adapter = BY_ENDPOINT["openai.responses"]
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "assistant", "id": "msg_given", "content": []},
        {"role": "user", "id": "msg_easy", "content": "x"},
        {"type": "item_reference", "id": "msg_referred"},
        {"type": "message", "role": "assistant", "id": "msg_both", "content": []},
        {"id": "msg_both"},
    ]
    found = adapter.objects(call_of(adapter, json.dumps({"model": "m", "input": items}).encode()))
    assert {one.id for one in found} == {"msg_referred", "msg_both"}


def test_objects_of_a_response_request() -> None:
    """Everything that a request lets the model read of what is kept is named."""
    adapter = BY_ENDPOINT["openai.responses"]
    body = {
        "model": "m",
        "previous_response_id": "resp_1",
        "conversation": {"id": "conv_1"},
        "prompt": {"id": "pmpt_1", "variables": {"doc": {"type": "input_file", "file_id": "file-v"}, "city": "Paris"}},
        "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-c"}, {"type": "input_text"}]}],
        "tools": [
            {"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]},
            {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-t"]}},
            {"type": "code_interpreter", "container": "cntr_1"},
        ],
    }
    found = adapter.objects(call_of(adapter, json.dumps(body).encode()))
    assert {tuple(one) for one in found} == {
        ("response", "resp_1"),
        ("conversation", "conv_1"),
        ("prompt", "pmpt_1"),
        ("file", "file-v"),
        ("file", "file-c"),
        ("vector_store", "vs_1"),
        ("vector_store", "vs_2"),
        ("file", "file-t"),
        ("container", "cntr_1"),
    }


def deployed(adapter: Adapter, body: bytes, query: bytes = b"", **names: str) -> Call:
    """A call under a deployment."""
    route = next(route for route in adapter.routes if "{model}" in route.path)
    return Call(route, names, query, [], body, adapter.scan([], body))


def test_the_deployment_in_the_path_is_the_model() -> None:
    """Azure's path decides; the target's deployment stands in its place, and a model in the body follows it."""
    adapter = BY_ENDPOINT["azure.chat"]
    asked = deployed(adapter, b'{"messages":[]}', b"api-version=2025-01-01&key=x", model="my gpt")
    assert adapter.model(asked) == "my gpt"
    prepared = adapter.prepare(asked, "prod/4o")
    assert prepared.path == "/openai/deployments/prod%2F4o/chat/completions?api-version=2025-01-01"
    assert prepared.body == b'{"messages":[]}'
    both = deployed(adapter, b'{"model":"gpt-4o","messages":[]}', model="mine")
    assert adapter.model(both) == "mine"
    assert adapter.prepare(both, "prod").body == b'{"model":"prod","messages":[]}'


def test_without_a_deployment_the_body_names_the_model() -> None:
    """Under `/openai/v1` a request is as OpenAI's, and one without a model is refused."""
    adapter = BY_ENDPOINT["azure.chat"]
    asked = call_of(adapter, b'{"model":"alias","stream":true}')
    assert adapter.model(asked) == "alias"
    prepared = adapter.prepare(asked, "gpt-5-prod")
    assert prepared.path == "/openai/v1/chat/completions" and prepared.hides_usage
    assert b'"model":"gpt-5-prod"' in prepared.body and b"include_usage" in prepared.body
    with pytest.raises(BadInput, match="model"):
        adapter.model(call_of(adapter, b"{}"))


def test_azure_credentials() -> None:
    """An API key has its own header; a token is a bearer."""
    for adapter in AZURE:
        assert adapter.credentials("k") == [(b"api-key", b"k")]
        assert adapter.credentials("Bearer eyJ0") == [(b"authorization", b"Bearer eyJ0")]


def test_azure_tells_its_region() -> None:
    """The region that served is in a header of the answer, whatever the operation; nowhere else."""
    headers = [(b"x-ms-region", b"Sweden Central"), (b"apim-request-id", b"a")]
    for adapter in AZURE:
        assert adapter.read(200, headers, b"{}").region == "Sweden Central"
        assert adapter.region_headers == (b"x-ms-region",)
    assert BY_ENDPOINT["openai.chat"].read(200, headers, b"{}").region is None


def test_azure_has_every_operation_of_openai() -> None:
    """The formats differ in paths and headers, not in what can be done."""
    assert [one.endpoint.partition(".")[2] for one in AZURE] == [one.endpoint.partition(".")[2] for one in OPENAI]
    assert {one.format for one in AZURE} == {"azure"} and {one.format for one in OPENAI} == {"openai"}


def sent_by(method: str, *path: str, azure: bool = False, **arguments: Any) -> httpx2.Request:
    """The request that the official SDK sends for a method."""
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        request.read()
        sent.append(request)
        return httpx2.Response(200, json={"data": [{"embedding": [0.5]}]})

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    client: Any = (
        openai.AzureOpenAI(azure_endpoint="http://127.0.0.1:1", api_version="v", api_key="k", http_client=http)
        if azure
        else openai.OpenAI(api_key="k", base_url="http://127.0.0.1:1/v1", http_client=http)
    )
    for name in method.split("."):
        client = getattr(client, name)
    client(*path, **arguments)
    return sent[0]


FILE = ("a.mp3", b"ID3")
CALLS: list[tuple[str, str, tuple[str, ...], dict[str, Any]]] = [
    ("responses", "responses.create", (), {"model": "m", "input": "x"}),
    ("responses", "responses.compact", (), {"model": "m"}),
    ("response", "responses.retrieve", ("resp_1",), {}),
    ("response", "responses.delete", ("resp_1",), {}),
    ("response", "responses.cancel", ("resp_1",), {}),
    ("response", "responses.input_items.list", ("resp_1",), {}),
    ("input_tokens", "responses.input_tokens.count", (), {"model": "m"}),
    ("embeddings", "embeddings.create", (), {"model": "m", "input": "x"}),
    ("completions", "completions.create", (), {"model": "m", "prompt": "x"}),
    ("images", "images.generate", (), {"model": "m", "prompt": "x"}),
    ("images", "images.edit", (), {"model": "m", "prompt": "x", "image": FILE}),
    ("audio", "audio.transcriptions.create", (), {"model": "m", "file": FILE}),
    ("audio", "audio.translations.create", (), {"model": "m", "file": FILE}),
    ("speech", "audio.speech.create", (), {"model": "m", "input": "x", "voice": "alloy"}),
    ("files", "files.create", (), {"file": FILE, "purpose": "batch"}),
    ("files", "files.retrieve", ("file-1",), {}),
    ("files", "files.delete", ("file-1",), {}),
    ("file_content", "files.content", ("file-1",), {}),
    ("file_list", "files.list", (), {}),
    (
        "batches",
        "batches.create",
        (),
        {"input_file_id": "f", "endpoint": "/v1/responses", "completion_window": "24h"},
    ),
    ("batches", "batches.retrieve", ("b",), {}),
    ("batch_list", "batches.list", (), {}),
    ("conversations", "conversations.create", (), {}),
    ("conversations", "conversations.items.create", ("conv_1",), {"items": []}),
    ("vector_stores", "vector_stores.create", (), {"name": "x"}),
    ("vector_stores", "vector_stores.search", ("vs_1",), {"query": "x"}),
    ("containers", "containers.retrieve", ("c",), {}),
    ("uploads", "uploads.create", (), {"bytes": 1, "filename": "f", "mime_type": "t", "purpose": "batch"}),
]


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("azure", [False, True], ids=["openai", "azure"])
@pytest.mark.parametrize(("operation", "method", "path", "arguments"), CALLS, ids=[one[1] for one in CALLS])
def test_what_the_sdk_sends_is_understood(
    operation: str, method: str, path: tuple[str, ...], arguments: dict[str, Any], azure: bool
) -> None:
    """Each call of the official SDKs comes by a route of its operation; its body is read and prepared as it came."""
    request = sent_by(method, *path, azure=azure, **arguments)
    adapter = BY_ENDPOINT[f"{'azure' if azure else 'openai'}.{operation}"]
    called = request.url.path
    fitting = [route for route in adapter.routes if route.method == request.method and fits(route.path, called)]
    assert len(fitting) == 1, (request.method, called)
    names = dict(pairs(fitting[0].path, called))
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    members = adapter.scan(headers, request.content)
    call = Call(fitting[0], names, request.url.query, headers, request.content, members)
    metered = adapter.purpose == "metered"
    assert adapter.model(call) == ("m" if metered else None)
    prepared = adapter.prepare(call, "m")
    assert prepared.body == request.content
    assert ("api-version=v" in prepared.path) == azure
    if metered and "model" not in names:
        other = adapter.prepare(call, "another-model")
        assert len(other.body) == len(request.content) + len("another-model") - 1


def pairs(route: str, path: str) -> list[tuple[str, str]]:
    return [
        (one.strip("{}"), other)
        for one, other in zip(route.split("/"), path.split("/"), strict=True)
        if one.startswith("{")
    ]


def fits(route: str, path: str) -> bool:
    ours, theirs = route.split("/"), path.split("/")
    same = [one == other or one.startswith("{") for one, other in zip(ours, theirs, strict=False)]
    return len(ours) == len(theirs) and all(same)


def test_a_vendor_that_refuses_to_be_asked_is_not_asked() -> None:
    """Mistral answers 422 to `stream_options` and tells its usage unasked: its stream goes as the client sent it."""
    body = b'{"model":"mistral-large","stream":true,"messages":[]}'
    adapter = BY_ENDPOINT["openai.chat"]
    call = msgspec.structs.replace(call_of(adapter, body), asks_usage=False)
    prepared = adapter.prepare(call, "mistral-large")
    assert prepared.body == body and prepared.streams and not prepared.hides_usage


def test_speech_is_counted_by_its_characters() -> None:
    """A speech without a usage is computed from the text to speak, code point by code point: exact, not estimated."""
    adapter = BY_ENDPOINT["openai.speech"]
    call = call_of(adapter, '{"model":"tts-1","input":"Größe 🛣️","voice":"alloy"}'.encode())
    estimate = adapter.estimate(call, adapter.read(200, [(b"content-type", b"audio/mpeg")], b"ID3"))
    assert estimate.usage == estimate.bound == {"characters": 8}
    assert estimate.basis == "computed"


def test_tokens_given_as_numbers_are_counted() -> None:
    """An input of token numbers has as many tokens; an input of text is estimated by its bytes."""
    adapter = BY_ENDPOINT["openai.embeddings"]
    reading = adapter.read(200, [], b"{}")
    numbers = adapter.estimate(call_of(adapter, b'{"model":"m","input":[[1,2,3],[4,5]]}'), reading)
    assert numbers.usage == {"input": 5} and numbers.bound["input"] >= 5
    text = adapter.estimate(call_of(adapter, b'{"model":"m","input":["abcdefgh"]}'), reading)
    assert text.usage == {"input": 2} and "output" not in text.bound


def test_all_of_best_of_are_billed() -> None:
    """The limit of a completion's output counts every answer that is generated."""
    adapter = BY_ENDPOINT["openai.completions"]
    body = b'{"model":"m","prompt":"Toll","max_tokens":16,"n":2,"best_of":5}'
    estimate = adapter.estimate(call_of(adapter, body), adapter.read(200, [], b"{}"))
    assert estimate.bound["output"] == 80


def test_audio_that_was_not_measured_has_no_input() -> None:
    """No class of the input of a transcription is told as zero when nobody knows it."""
    adapter = BY_ENDPOINT["openai.audio"]
    reading = adapter.read(200, [(b"content-type", b"text/plain; charset=utf-8")], b"The road is long.\n")
    assert reading.complete and not reading.flags
    estimate = adapter.estimate(call_of(adapter, b'{"model":"whisper-1"}'), reading)
    assert estimate.usage == {"output": 5} and "input" not in estimate.bound


def test_estimates_of_responses_are_open_where_the_vendor_adds_input() -> None:
    """A response that continues another, or has built-in tools, has no bound for its input."""
    adapter = BY_ENDPOINT["openai.responses"]
    reading = adapter.stream(adapter.prepare(call_of(adapter, b'{"model":"m","stream":true}'), "m")).reading()
    plain = adapter.estimate(call_of(adapter, b'{"model":"m","input":"abcdefgh","max_output_tokens":9}'), reading)
    assert plain.usage == {"input": 2, "output": 0} and plain.bound == {"input": 10, "output": 9}
    for more in (b'"previous_response_id":"r"', b'"tools":[{"type":"web_search"}]', b'"conversation":"c"'):
        body = b'{"model":"m","input":"abcdefgh",' + more + b"}"
        assert "input" not in adapter.estimate(call_of(adapter, body), reading).bound


@pytest.mark.parametrize("adapter", FAMILY, ids=lambda adapter: adapter.endpoint)
def test_fetching_and_listing_cost_nothing(adapter: Adapter) -> None:
    """What is not metered estimates nothing and has no model (L16)."""
    if adapter.purpose == "metered":
        return
    call = Call(adapter.routes[0], {}, b"", [], b"", adapter.scan([], b""))
    assert adapter.model(call) is None
    assert adapter.estimate(call, adapter.read(200, [], b"{}")).usage == {}


def test_a_stream_of_a_response_is_taken_up_by_its_query() -> None:
    """A background response can be streamed on; the query says so and passes."""
    adapter = BY_ENDPOINT["openai.response"]
    call = Call(
        adapter.routes[0], {"response_id": "r"}, b"stream=true&starting_after=4&x=1", [], b"", adapter.scan([], b"")
    )
    assert adapter.streamed(call)
    assert adapter.prepare(call, "").path == "/responses/r?stream=true&starting_after=4"


BODIES = {
    "/v1/chat/completions": ("openai.chat", "openai/chat.json"),
    "/v1/responses": ("openai.responses", "openai/response_tools.json"),
    "/v1/embeddings": ("openai.embeddings", "openai/embedding.json"),
    "/chat/completions": ("openai.chat", "openai/chat.json"),
}


@pytest.mark.parametrize("endpoint", BODIES)
def test_a_line_of_a_batch_is_read_as_its_answer(endpoint: str) -> None:
    """A line of a batch's output has the usage, model and id that the answer itself would have (L37)."""
    name, file = BODIES[endpoint]
    body = json.loads(body_of(file))
    line = {
        "id": "batch_req_1",
        "custom_id": "row-7",
        "response": {"status_code": 200, "request_id": "req_9", "body": body},
    }
    said = read_line(json.dumps(line | {"error": None}).encode(), endpoint)
    direct = BY_ENDPOINT[name].read(200, [], body_of(file))
    assert (said.custom_id, said.status, said.reading.request_id) == ("row-7", 200, "req_9")
    assert said.reading.usage == direct.usage and said.reading.basis == "provider_reported"
    assert said.reading.model_served == direct.model_served and said.reading.response_id == direct.response_id


@pytest.mark.parametrize(
    ("line", "custom_id", "status", "error"),
    [
        (
            b'{"custom_id":"a","response":null,"error":{"code":"batch_expired","message":"late"}}',
            "a",
            None,
            "batch_expired",
        ),
        (
            b'{"custom_id":"b","response":{"status_code":400,"request_id":"r","body":{"error":{"type":"t","code":"c"}}}}',
            "b",
            400,
            "t/c",
        ),
        (b'{"custom_id":7,"response":{"status_code":"x"}}', None, None, None),
        (b"not a line", None, None, None),
        (b"", None, None, None),
    ],
)
def test_lines_without_an_answer_charge_nothing(
    line: bytes, custom_id: str | None, status: int | None, error: str | None
) -> None:
    """Expired, refused and unreadable lines have no usage, and say why."""
    said = read_line(line, "/v1/chat/completions")
    assert (said.custom_id, said.status, said.reading.error) == (custom_id, status, error)
    assert said.reading.usage is None


def test_a_batch_tells_how_far_it_is() -> None:
    """Status, files, counts and the vendor's own total, which the lines must come to."""
    batch = read_batch(body_of("openai/batch.json"))
    assert batch is not None and batch.ended
    assert (batch.output_file, batch.error_file, batch.endpoint) == ("file-out", "file-err", "/v1/chat/completions")
    assert (batch.total, batch.completed, batch.failed) == (3, 2, 1)
    assert batch.usage == {"input": 200, "input_cache_read": 100, "output": 30, "output_reasoning": 10}
    running = read_batch(b'{"id":"b","object":"batch","status":"in_progress"}')
    assert running is not None and not running.ended and running.usage is None
    assert read_batch(b'{"id":"f","object":"file"}') is None and read_batch(b"[") is None
