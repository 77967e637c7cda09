"""Encodes corpus.json with Hugging Face's `tokenizers`, for tokenizers of several kinds.

Writes corpus_ids.json: for each tokenizer and text the digest of the ids. The vocabularies are
those of fetch.py, in the pipelines that their makers' tokenizer.json describe; stories260k is a whole
tokenizer.json. Needs `tokenizers` 0.23 and `gguf`, and HEARTH_SHARED.
"""

import hashlib
import json
import os
import pathlib

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

HERE = pathlib.Path(__file__).resolve().parent
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
NORMAL, UNKNOWN, CONTROL, USER, BYTE = 1, 2, 3, 4, 6


def read(name):
    reader = gguf.GGUFReader(HERE / f".cache/models/ggml-vocab-{name}.gguf")
    value = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()
    merges = value("merges") if "tokenizer.ggml.merges" in reader.fields else []
    return value("tokens"), value("token_type"), [tuple(merge.split(" ")) for merge in merges]


def byte_level(name, split=None, normalizer=None, **options):
    tokens, kinds, merges = read(name)
    vocab = {text: at for at, (text, kind) in enumerate(zip(tokens, kinds))}
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, **options))
    parts = [pre_tokenizers.Split(Regex(split), "isolated")] if split else []
    parts.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split))
    made.pre_tokenizer = pre_tokenizers.Sequence(parts)
    if normalizer:
        made.normalizer = normalizer
    return with_added(made, tokens, kinds)


def with_added(made, tokens, kinds):
    special = [AddedToken(text, normalized=False, special=True) for text, kind in zip(tokens, kinds) if kind == CONTROL]
    user = [AddedToken(text, normalized=False, special=False) for text, kind in zip(tokens, kinds) if kind == USER]
    made.add_special_tokens(special)
    made.add_tokens(user)
    made.encode_special_tokens = True
    return made


def words(name):
    tokens, kinds, _ = read(name)
    text = lambda token, kind: token if kind != NORMAL else token[1:] if token.startswith("▁") else "##" + token
    vocab = {text(token, kind): at for at, (token, kind) in enumerate(zip(tokens, kinds))}
    made = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def unigram(name):
    """The pipeline that transformers makes of a unigram model of sentencepiece. Control tokens are kept out of the reach
    of text."""
    tokens, kinds, _ = read(name)
    reader = gguf.GGUFReader(HERE / f".cache/models/ggml-vocab-{name}.gguf")
    value = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()
    hidden = [token if kind == NORMAL else f"\ue000{at}" for at, (token, kind) in enumerate(zip(tokens, kinds))]
    lowest = min(score for score, kind in zip(value("scores"), kinds) if kind == NORMAL)
    scores = [score if kind == NORMAL else lowest for score, kind in zip(value("scores"), kinds)]
    made = Tokenizer(models.Unigram(list(zip(hidden, scores)), unk_id=3))
    made.normalizer = normalizers.Sequence([
        normalizers.Precompiled(bytes(value("precompiled_charsmap"))),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁"),
    ])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


def main():
    shared = pathlib.Path(os.environ["HEARTH_SHARED"])
    stories = Tokenizer.from_file(str(shared / "models/stories260k/hf/tokenizer.json"))
    stories.encode_special_tokens = True
    made = {
        "stories260k": stories,
        "gpt-2": byte_level("gpt-2"),
        "llama-bpe": byte_level("llama-bpe", LLAMA3, ignore_merges=True),
        "qwen2": byte_level("qwen2", QWEN2, normalizers.NFC()),
        "starcoder": byte_level("starcoder", r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"),
        "bert-bge": words("bert-bge"),
        "nomic-bert-moe": unigram("nomic-bert-moe"),
    }
    corpus = json.loads((HERE / "corpus.json").read_text())
    ids = lambda tokenizer, text: ",".join(map(str, tokenizer.encode(text, add_special_tokens=False).ids))
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]
    answers = {name: [digest(ids(one, text)) for text in corpus] for name, one in made.items()}
    (HERE / "corpus_ids.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
