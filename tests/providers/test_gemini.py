"""What goes to Google: paths, two spellings, vendor objects, credentials, errors; arrays cut piece by piece."""

import json
import re

import httpx
import pytest
from google import genai
from google.genai import errors
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_wire import call_of

from tollbook.core.faults import BadInput
from tollbook.providers.body import AmbiguousBody, BillingFieldRefused
from tollbook.providers.contract import Adapter, Prepared, Reading, VendorObject
from tollbook.providers.gemini import object_id
from tollbook.providers.gemini_array import ArraySplitter
from tollbook.providers.gemini_embed import GeminiCount, GeminiEmbed
from tollbook.providers.gemini_generate import ArrayReader, GeminiGenerate, GenerateReader, VertexGenerate
from tollbook.providers.gemini_objects import GeminiCache, GeminiCacheCreate, GeminiFile, GeminiUpload, VertexCache
from tollbook.providers.registry import ADAPTERS, BY_FORMAT

GENERATE = GeminiGenerate()
VERTEX = VertexGenerate()
STREAM = len(GENERATE.routes) // 2


def prepare(adapter: Adapter, body: bytes, target: str, route: int = 0, query: bytes = b"", **names: str) -> Prepared:
    return adapter.prepare(call_of(adapter, body, query, route, **names), target)


def test_no_two_operations_share_a_path() -> None:
    """Of all formats, one method on one path is one operation; a name in a path is like any other name there."""
    places = [(route.method, re.sub(r"\{\w+\}", "{}", route.path)) for one in ADAPTERS for route in one.routes]
    ours = {"gemini", "vertex", "bedrock", "cohere", "anthropic"}
    mine = [(r.method, re.sub(r"\{\w+\}", "{}", r.path)) for one in ADAPTERS if one.format in ours for r in one.routes]
    assert [place for place in mine if places.count(place) > 1] == []


def test_the_path_has_the_targets_model_and_the_body_is_untouched() -> None:
    """Only the model of the path changes; what is asked of a stream passes with it."""
    body = b'{ "contents":[{"parts":[{"text":"model"}]}] }'
    assert GENERATE.routes[STREAM].path == "/v1beta/models/{model}:streamGenerateContent"
    prepared = prepare(GENERATE, body, "gemini-x", STREAM, b"alt=sse&key=AIza&fields=candidates", model="alias")
    assert prepared.path == "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
    assert prepared.body == body and prepared.streams
    assert isinstance(GENERATE.stream(prepared), GenerateReader)
    assert not isinstance(GENERATE.stream(prepared), ArrayReader)
    plain = prepare(GENERATE, body, "gemini-x", STREAM, model="alias")
    assert isinstance(GENERATE.stream(plain), ArrayReader)


@pytest.mark.parametrize("query", [b"alt=proto", b"alt=sse&alt=proto", b"alt=json&alt=sse", b"alt="])
def test_an_encoding_that_cannot_be_read_is_refused(query: bytes) -> None:
    """An answer in protocol buffers would pass unmetered."""
    with pytest.raises(BadInput, match="alt"):
        prepare(GENERATE, b"{}", "m", STREAM, query, model="m")


def test_vertex_places_are_the_configurations() -> None:
    """Project and location of the client's path select who is billed, and are dropped."""
    for route, one in enumerate(VERTEX.routes):
        prepared = prepare(VERTEX, b"{}", "gemini-x", route, project="evil", location="us", model="alias")
        assert prepared.path.startswith("/publishers/google/models/gemini-x:"), one
    cache = VertexCache()
    assert prepare(cache, b"", "", project="evil", location="us", cache="77").path == "/cachedContents/77"


@pytest.mark.parametrize("body", [b'{"cachedContent":"a","cached_content":"b"}', b'{"labels":1,"labels":2}'])
def test_one_member_in_two_spellings_is_ambiguous(body: bytes) -> None:
    """Google reads both spellings of a member as one: which would count is anybody's guess."""
    with pytest.raises(AmbiguousBody):
        GENERATE.scan([], body)


def test_labels_on_googles_bill_are_ours() -> None:
    """A label lands in the billing export."""
    with pytest.raises(BillingFieldRefused):
        prepare(GENERATE, b'{"labels":{"team":"other"}}', "m", model="m")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("cachedContents/abc", "abc"),
        ("projects/1/locations/eu/cachedContents/77", "77"),
        ("files/abc", "abc"),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", "abc"),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc/", "abc"),
        ("https://generativelanguage.googleapis.com:443/v1beta/files/%61bc?x=1#y", "abc"),
        ("HTTPS://u@GenerativeLanguage.GoogleAPIs.com./v1beta/files/abc", "abc"),
        ("generativelanguage.googleapis.com/v1beta/files/abc", "abc"),
        ("gs://bucket/key", "gs://bucket/key"),
        ("https://[bad/files/abc", "https://[bad/files/abc"),
        ("https://www.youtube.com/watch?v=abc", ""),
        ("https://storage.googleapis.com/public/a.png", ""),
        ("https://googleapis.com.example/v1beta/files/abc", ""),
    ],
)
def test_a_vendor_object_is_known_by_any_name(text: str, known: str) -> None:
    """Whatever form names a file or cache gives the id it was made with; the open web names none."""
    assert object_id(text) == known


@pytest.mark.parametrize("data", ["fileData", "file_data"])
@pytest.mark.parametrize("uri", ["fileUri", "file_uri"])
@pytest.mark.parametrize("cache", ["cachedContent", "cached_content"])
@pytest.mark.parametrize("place", ["contents", "systemInstruction", "system_instruction"])
def test_vendor_objects_are_found_in_every_spelling(data: str, uri: str, cache: str, place: str) -> None:
    """No spelling of a member hides a file or a cache of another tenant."""
    content = {"parts": [{"text": "see"}, {data: {uri: "files/f1"}}]}
    body = json.dumps({place: [content] if place == "contents" else content, cache: "cachedContents/c1"}).encode()
    found = GENERATE.objects(call_of(GENERATE, body, model="m"))
    assert sorted(found) == [VendorObject("cache", "c1"), VendorObject("file", "f1")]


@pytest.mark.parametrize(
    "tool",
    [
        {"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s1"]}},
        {"file_search": {"file_search_store_names": ["fileSearchStores/s1"]}},
        {"retrieval": {"vertexRagStore": {"rag_resources": [{"ragCorpus": "projects/p/locations/l/ragCorpora/s1"}]}}},
        {"retrieval": {"vertex_ai_search": {"datastore": "projects/p/collections/c/dataStores/s1"}}},
        {"retrieval": {"vertexAiSearch": {"dataStoreSpecs": [{"data_store": "dataStores/s1"}]}}},
    ],
)
def test_stores_that_tools_search_are_vendor_objects(tool: dict[str, object]) -> None:
    """A store of documents is searched with the gateway's rights, by whatever tool."""
    found = GENERATE.objects(call_of(GENERATE, json.dumps({"tools": [tool]}).encode(), model="m"))
    assert found == [VendorObject("vector_store", "s1")]


def test_objects_in_paths() -> None:
    """A cache or file in a path is the object that it names."""
    assert GeminiCache().objects(call_of(GeminiCache(), b"", cache="c1")) == [VendorObject("cache", "c1")]
    assert GeminiFile().objects(call_of(GeminiFile(), b"", file="f1")) == [VendorObject("file", "f1")]


def test_models_named_again_in_a_body_follow_the_path() -> None:
    """Google wants the same model in both places: embeddings, batches of them, counting."""
    embed, count = GeminiEmbed(), GeminiCount()
    one = prepare(embed, b'{"model":"models/alias","content":{}}', "e-1", model="alias")
    assert one.body == b'{"model":"models/e-1","content":{}}'
    many = b'{"requests":[{"model":"models/alias","content":{}},{"content":{}}, {"model":"models/e-1"}]}'
    batch = prepare(embed, many, "e-1", 3, model="alias")
    assert batch.path == "/v1beta/models/e-1:batchEmbedContents"
    assert batch.body == b'{"requests":[{"model":"models/e-1","content":{}},{"content":{}},{"model":"models/e-1"}]}'
    same = b'{"requests": [ {"model":"models/e-1"} ]}'
    assert prepare(embed, same, "e-1", model="e-1").body == same
    counted = prepare(count, b'{"generateContentRequest":{"model":"models/alias","contents":[]}}', "g", model="alias")
    assert counted.body == b'{"generateContentRequest":{"model":"models/g","contents":[]}}'
    with pytest.raises(AmbiguousBody):
        prepare(embed, b'{"requests":[{"model":"a","model":"b"}]}', "e-1", model="e-1")


def test_making_a_cache_asks_for_a_model_in_its_body() -> None:
    """The model of a cache is in the body, in its collection, and is replaced there."""
    create = GeminiCacheCreate()
    call = call_of(create, b'{"model":"models/alias","contents":[]}')
    assert create.model(call) == "alias"
    assert create.prepare(call, "gemini-x").body == b'{"model":"models/gemini-x","contents":[]}'


def test_an_upload_that_goes_past_us_is_refused() -> None:
    """An upload that continues at an address of the vendor's would make a file that nobody here knows."""
    upload = GeminiUpload()
    for headers in ([], [(b"x-goog-upload-protocol", b"resumable")]):
        with pytest.raises(BadInput, match="one request"):
            upload.scan(headers, b"")
    assert upload.scan([(b"x-goog-upload-protocol", b"multipart")], b"--x").values == {}


def test_credentials() -> None:
    """An API key in Google's header; a token as a bearer."""
    assert GENERATE.credentials("AIzaSy") == [(b"x-goog-api-key", b"AIzaSy")]
    assert VERTEX.credentials("Bearer ya29.a") == [(b"authorization", b"Bearer ya29.a")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429, 500, 502, 503, 504])
def test_the_google_sdk_understands_our_errors(status: int) -> None:
    """google-genai raises its error for the status, with our message; the stable code is a reason."""
    body = GENERATE.error(status, "journal_unavailable", "the journal is full", "0199c0de")
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    options = {"base_url": "http://127.0.0.1:1", "httpx_client": httpx.Client(transport=transport)}
    client = genai.Client(api_key="k", http_options=options)  # type: ignore[arg-type]
    with pytest.raises(errors.APIError) as raised:
        client.models.generate_content(model="m", contents="x")
    assert raised.value.code == status
    assert raised.value.message == "the journal is full (request id 0199c0de)"
    assert raised.value.status
    assert json.loads(body)["error"]["details"][0]["reason"] == "journal_unavailable"


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=5), st.integers(1, 9), st.booleans())
def test_arrays_are_cut_into_their_elements(elements: list[object], size: int, pretty: bool) -> None:
    """Whatever the elements hold, and wherever the bytes are cut, each element comes out as it went in."""
    data = json.dumps(elements, indent=2 if pretty else None, ensure_ascii=False).encode()
    splitter = ArraySplitter()
    found = [piece for at in range(0, len(data), size) for piece in splitter.push(data[at : at + size])]
    assert [(json.loads(piece), whole) for piece, whole in found] == [(one, True) for one in elements]
    assert splitter.clear


def test_an_element_that_is_too_long_is_skipped() -> None:
    """It is named in its place, is held to the limit only, and the next element is read."""
    data = json.dumps([{"a": "x" * 5000, "b": ['}"]' * 500]}, {"c": 1}]).encode()
    splitter = ArraySplitter(limit=1000)
    found = []
    for at in range(0, len(data), 13):
        found += splitter.push(data[at : at + 13])
        assert len(splitter._held) <= 1013
    assert found == [(b"", False), (b'{"c": 1}', True)]


@given(st.binary(max_size=200), st.integers(1, 20))
def test_noise_is_never_fatal(noise: bytes, size: int) -> None:
    """Any bytes in any pieces raise nothing and all pass."""
    reader = ArrayReader()
    assert b"".join(reader.feed(noise[at : at + size]) for at in range(0, len(noise), size)) == noise
    assert reader.reading().usage is None


def test_estimates_know_media_caches_and_googles_own_tools() -> None:
    """What no count of bytes bounds has no bound; the limit of output bounds it in either spelling."""

    def estimate(body: dict[str, object]) -> dict[str, int]:
        call = call_of(GENERATE, json.dumps(body).encode(), model="m")
        return GENERATE.estimate(call, Reading(output_text=400)).bound

    text = {"contents": [{"parts": [{"text": "When?"}]}]}
    assert "input" in estimate(text | {"tools": [{"functionDeclarations": []}]})
    assert "input" not in estimate(text | {"tools": [{"googleSearch": {}}]})
    assert "input" not in estimate(text | {"cached_content": "cachedContents/c"})
    assert "input" not in estimate({"contents": [{"parts": [{"inlineData": {"data": "aaaa"}}]}]})
    assert estimate(text | {"generationConfig": {"maxOutputTokens": 7}})["output"] == 7
    assert estimate(text | {"generation_config": {"max_output_tokens": 7, "candidate_count": 2}})["output"] == 14


def test_formats_of_google_are_apart() -> None:
    """The two vendors differ in paths, so a route can only lead to the one it fits."""
    for adapter in BY_FORMAT["vertex"]:
        assert all("/models/" not in one.upstream or "publishers" in one.upstream for one in adapter.routes)
