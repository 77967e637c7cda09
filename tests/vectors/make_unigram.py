"""Trains a small unigram model on corpus.json with sentencepiece, and encodes the corpus with it.

Writes unigram.json: the model as a GGUF file and as a tokenizer.json have it, and the ids that sentencepiece
and Hugging Face's `tokenizers` give. Needs `sentencepiece`, `protobuf` and `tokenizers` 0.23.
"""

import base64
import io
import json
import pathlib

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = pathlib.Path(__file__).resolve().parent
# What the table of characters replaces: one by many, many by one, one by none.
RULES = {"\t": " ", "\n": " ", "\r": " ", "\u00a0": " ", "\u3000": " ", "ﬁ": "fi", "™": "TM", "Ａ": "A", "Ｂ": "B", "①": "1",
         "…": "...", "\u200b": "", "e\u0301": "é", "a\u0308": "ä", "ﷺ": "صلى الله عليه وسلم", "½": "1⁄2"}


def train(corpus):
    rules = HERE / ".rules.tsv"
    code = lambda text: " ".join(f"{ord(letter):X}" for letter in text)
    rules.write_text("".join(f"{code(old)}\t{code(new)}\n" for old, new in RULES.items()))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus + [" ".join(RULES)]), model_writer=written, model_type="unigram",
        vocab_size=420, hard_vocab_limit=False, character_coverage=0.98, normalization_rule_tsv=str(rules),
        bos_id=0, pad_id=1, eos_id=2, unk_id=3, pad_piece="<pad>", minloglevel=2, num_threads=1,
    )
    rules.unlink()
    return written.getvalue()


def hugging_face(pieces, table):
    """The pipeline of XLM-RoBERTa's tokenizer.json. Control tokens are kept out of the reach of text."""
    hidden = [(piece if kind == 1 else f"\ue000{at}", score) for at, (piece, score, kind) in enumerate(pieces)]
    made = Tokenizer(models.Unigram(hidden, unk_id=3))
    made.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(base64.b64decode(table)), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return made


def main():
    corpus = json.loads((HERE / "corpus.json").read_text())
    model = train(corpus)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    pieces = [[piece.piece, piece.score, piece.type] for piece in proto.pieces]
    table = base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    made = hugging_face(pieces, table)
    ids = lambda text: made.encode(text, add_special_tokens=False).ids
    answers = {"sentencepiece": [theirs.encode(text) for text in corpus], "hugging_face": [ids(text) for text in corpus]}
    written = json.loads(made.to_str())
    written["model"]["vocab"] = [[piece, score] for piece, score, _ in pieces]
    written["added_tokens"] = [
        {"id": at, "content": pieces[at][0], "special": True, "single_word": False, "lstrip": False,
         "rstrip": False, "normalized": False} for at in range(4)]
    lines = {"pieces": pieces, "charsmap": table, "tokenizer": written, **answers}
    (HERE / "unigram.json").write_text(json.dumps(lines, ensure_ascii=False, separators=(",", ":")) + "\n")


main()
