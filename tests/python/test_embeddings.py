"""Vectors of a real embedding model, through the real `openai` package."""

import base64
import concurrent.futures
import json
import math
import pathlib
import struct
import urllib.request

import openai
import pytest

MODEL = "all-minilm"


@pytest.fixture(scope="module")
def cases():
    rows = json.loads(pathlib.Path(__file__).with_name("embedding_golden.json").read_text())
    for row in rows:
        row["vector"] = struct.unpack("<384f", base64.b64decode(row["vector"]))
    return rows


def cosine(a, b):
    assert len(a) == len(b) > 0
    return sum(x * y for x, y in zip(a, b)) / (math.hypot(*a) * math.hypot(*b))


def embed(client, texts, **options):
    done = client.embeddings.create(model=MODEL, input=texts, **options)
    assert [item.index for item in done.data] == list(range(len(done.data)))
    return [item.embedding for item in done.data]


def test_each_text_has_the_vector_of_the_makers_definition(client, cases):
    for case in cases:
        done = client.embeddings.create(model=MODEL, input=case["text"])
        assert done.usage.prompt_tokens == done.usage.total_tokens == len(case["ids"])
        found = done.data[0].embedding
        assert cosine(found, case["vector"]) > 0.99999, case["text"]
        assert math.hypot(*found) == pytest.approx(1, abs=1e-5)


def test_texts_of_one_call_get_the_vectors_that_they_get_alone(client, cases):
    together = embed(client, [case["text"] for case in cases])
    for case, found in zip(cases, together):
        alone = embed(client, case["text"])[0]
        assert found == pytest.approx(alone, abs=1e-6), case["text"]


def test_calls_at_the_same_time_get_their_own_vectors(client, cases):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda case: embed(client, case["text"])[0], cases * 6))
    for case, vector in zip(cases * 6, found):
        assert cosine(vector, case["vector"]) > 0.99999


def test_token_ids_stand_for_their_text(client, cases):
    ids = [case["ids"] for case in cases[:3]]
    for case, found in zip(cases, embed(client, ids)):
        assert cosine(found, case["vector"]) > 0.99999
    assert cosine(embed(client, ids[0])[0], cases[0]["vector"]) > 0.99999


def test_floats_are_the_same_in_both_encodings(client, cases):
    text = cases[5]["text"]
    floats = embed(client, text, encoding_format="float")[0]
    encoded = embed(client, text, encoding_format="base64")[0]
    decoded = struct.unpack("<384f", base64.b64decode(encoded))
    assert list(decoded) == pytest.approx(floats, abs=1e-7)


def test_fewer_dimensions_are_the_first_ones_scaled_to_length_one(client, cases):
    short = embed(client, cases[0]["text"], dimensions=64)[0]
    assert len(short) == 64 and math.hypot(*short) == pytest.approx(1, abs=1e-5)
    assert cosine(short, cases[0]["vector"][:64]) > 0.99999
    with pytest.raises(openai.BadRequestError, match="at most 384"):
        embed(client, "a", dimensions=385)


def test_what_cannot_be_embedded_is_refused_with_the_reason(client):
    with pytest.raises(openai.BadRequestError) as caught:
        embed(client, "word " * 400)
    assert caught.value.code == "context_length_exceeded" and "256" in caught.value.message
    for wrong in ["", [], [1, 40_000_000], [[]]]:
        with pytest.raises(openai.BadRequestError):
            embed(client, wrong)
    with pytest.raises(openai.BadRequestError, match="embedding model") as caught:
        client.embeddings.create(model="stories260k", input="a")
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="absent", input="a")


def test_documents_are_ranked_by_how_well_they_fit(client):
    documents = ["Bread is baked in an oven.", {"text": "Cats like to chase mice."},
                 "The stock market fell.", ""]
    body = {"model": MODEL, "query": "Which animal hunts rodents?", "documents": documents,
            "top_n": 2, "return_documents": True}
    answer = client.post("/rerank", body=body, cast_to=object)
    assert [result["index"] for result in answer["results"]][0] == 1
    assert len(answer["results"]) == 2
    best, second = answer["results"]
    assert best["document"]["text"] == documents[1]["text"]
    assert 1 >= best["relevance_score"] > second["relevance_score"] >= -1
    assert answer["usage"]["total_tokens"] > 20
    with pytest.raises(openai.BadRequestError, match="documents"):
        client.post("/rerank", body={**body, "documents": []}, cast_to=object)


def test_each_call_is_in_the_books_once(server, client):
    def read():
        asked = urllib.request.Request(f"{server.url}/metrics", headers={
            "authorization": f"Bearer {client.api_key}"})
        with urllib.request.urlopen(asked) as answer:
            text = answer.read().decode()
        value = lambda name: int(next(
            line.split()[-1] for line in text.splitlines() if line.startswith(name)))
        return (value("hearth_generations_complete_total"),
                value(f'hearth_prompt_tokens_total{{model="{MODEL}"}}'))

    embed(client, "warm")
    calls, tokens = read()
    used = client.embeddings.create(model=MODEL, input=["one", "two"]).usage.prompt_tokens
    assert read() == (calls + 1, tokens + used)
