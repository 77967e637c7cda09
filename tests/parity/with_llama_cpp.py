#!/usr/bin/env python3
"""Holds the GGUF files of `make.py --gguf DIR` to goldens.json with llama.cpp, which knows nothing of
transformers: so that the files are what others mean by them, and not only what we do.

Usage: with_llama_cpp.py DIR. LLAMA_CPP_LIB_PATH names another folder with llama.cpp's libraries.
"""
import ctypes
import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np

# What llama.cpp leaves out or reads otherwise, each by its own decision.
OTHERWISE = {
    "mistral": "reads no window of llama files",
    "phi3": "has switched phi3's window off",
    "rope_longrope_short": "rounds contexts up to 256 tokens, beyond the original one",
    "rope_yarn_given_factor": "derives YaRN's attention factor from the stretch alone",
}


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


def logits(path, tokens, context_tokens):
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    assert model, path
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads = context_tokens, 1
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for index, token in enumerate(tokens):
        batch.token[index], batch.pos[index], batch.logits[index] = token, index, 1
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
    assert llama_cpp.llama_decode(context, batch) == 0
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    found = np.ctypeslib.as_array(
        ctypes.cast(llama_cpp.llama_get_logits(context), ctypes.POINTER(ctypes.c_float)), (len(tokens), vocab)).copy()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found


def main():
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    goldens = json.loads((Path(__file__).parent / "goldens.json").read_text())
    failed = False
    for case in goldens["cases"]:
        if not case["metadata"]:
            continue
        context = case["context_tokens"] or case["config"]["max_position_embeddings"]
        found = logits(Path(sys.argv[1]) / f"{case['name']}.gguf", goldens["prompt"], context)
        worst = float(np.abs(found[goldens["rows"]] - np.array(case["logits"], dtype=np.float32)).max())
        why = OTHERWISE.get(case["name"])
        # llama.cpp multiplies in its own order and has a table for GELU.
        is_equal = worst < 2e-2 if "gemma" in case["name"] else worst < 1e-3
        failed |= not is_equal and why is None
        print(f"{case['name']:24} {worst:.1e} {'equal' if is_equal else why or 'DIFFERENT'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
