"""A model that scores pairs, through the real binary: what transformers makes of the same weights.

The weights are random; tests/parity/encoders says how they are made and what must come of them.
"""

import json
import math
import pathlib
import struct

import openai
import pytest

from conftest import ROOT, hearth

MODEL = "tiny-reranker"


def weight(name, shape):
    """As tests/parity/encoders/make.py, in 32-bit floats."""
    mask, digest = (1 << 64) - 1, 0xCBF29CE484222325
    for byte in name.encode():
        digest = (digest ^ byte) * 0x100000001B3 & mask
    single = lambda value: struct.unpack("<f", struct.pack("<f", value))[0]
    scale = single(single(1.7) / single(math.sqrt(shape[-1])))
    center = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
    state, values = (digest * 0x9E3779B97F4A7C15 & mask) | 1, []
    for _ in range(math.prod(shape)):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        noise = single((state >> 40) / (1 << 23) - 1.0)
        values.append(center + single(noise * scale))
    return struct.pack(f"<{len(values)}f", *values)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, shape in tensors.items():
        values = weight(name, shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tokenizer(vocab):
    """A word is a token: `w7` has the id 7."""
    names = {0: "[PAD]", 1: "[UNK]", 2: "[CLS]", 3: "[SEP]", 4: "[MASK]"}
    words = {names.get(id, f"w{id}"): id for id in range(vocab)}
    added = [{"id": id, "content": name, "special": True, "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False} for id, name in names.items()]
    return {
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": words},
    }


@pytest.fixture(scope="module")
def golden():
    whole = json.loads((ROOT / "tests/parity/encoders/golden.json").read_text())
    return {**whole["models"]["bert scoring pairs"], "vocab": whole["vocab"]}


@pytest.fixture(scope="module")
def client(server, golden, tmp_path_factory):
    folder = tmp_path_factory.mktemp(MODEL)
    for name, content in golden["folders"][0]["files"].items():
        (folder / name).write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(golden["vocab"])))
    write_safetensors(folder / "model.safetensors", golden["tensors"])
    hearth(server.data, "models", "import", str(folder), "--name", MODEL)
    return server.client()


def words(ids):
    return " ".join(f"w{id}" for id in ids)


def test_pairs_get_the_scores_that_transformers_gives_them(client, golden):
    pairs = golden["texts"]
    second = pairs[0]["second"]
    body = {"model": MODEL, "query": words(pairs[0]["ids"][1:second - 1]),
            "documents": [words(pair["ids"][second:-1]) for pair in pairs], "return_documents": True}
    answer = client.post("/rerank", body=body, cast_to=object)
    found = {result["index"]: result["relevance_score"] for result in answer["results"]}
    for index, pair in enumerate(pairs):
        wanted = 1 / (1 + math.exp(-pair["answer"][0]))
        assert found[index] == pytest.approx(wanted, abs=1e-5)
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) == 3
    assert answer["usage"]["total_tokens"] == sum(len(pair["ids"]) for pair in pairs)
    best = answer["results"][0]
    assert best["document"]["text"] == body["documents"][best["index"]]


def test_what_such_a_model_cannot_do_is_refused_with_the_way_that_works(client):
    with pytest.raises(openai.BadRequestError, match="/v1/rerank") as caught:
        client.embeddings.create(model=MODEL, input="w7")
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="/v1/rerank"):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "w7"}])
    body = {"model": MODEL, "query": "w7 " * 60, "documents": ["w8"]}
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/rerank", body=body, cast_to=object)
    assert caught.value.code == "context_length_exceeded" and "40" in caught.value.message
