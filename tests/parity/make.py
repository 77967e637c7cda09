#!/usr/bin/env python3
"""Writes goldens.json: what Hugging Face transformers computes with small models of every family.

Weights are not stored: `numbers` makes them from a tensor's name, here and in
src/engine/tests/parity.rs. See README.md.
"""
import argparse
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from cases import CASES, PROMPT, ROWS, VOCAB, metadata, recipe

HERE = Path(__file__).parent


def fnv(text):
    """FNV-1a, 64 bits."""
    state = 0xCBF29CE484222325
    for byte in text.encode():
        state = (state ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return state


def numbers(name, count):
    """`count` values in -1 .. 1: SplitMix64 of the name's hash and the index, its upper 24 bits."""
    with np.errstate(over="ignore"):
        x = np.uint64(fnv(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def spread(name, dims, is_gemma):
    """Center and scale of a tensor's numbers; powers of two, so that all of it is exact in f32."""
    if name.endswith("norm.weight"):
        return (0.0 if is_gemma else 1.0), 0.25
    if len(dims) == 1:
        return 0.0, 0.25
    return 0.0, 2.0 ** round(math.log2(1.7 / math.sqrt(dims[-1])))


def weights(tensors):
    made = {}
    for name, dims, center, scale in tensors:
        values = np.float32(center) + numbers(name, math.prod(dims)) * np.float32(scale)
        made[name] = values.reshape(dims)
    return made


def written_tensors(config, folder, is_gemma):
    """Names and shapes as the library itself writes them."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    with safe_open(folder / "model.safetensors", "np") as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    return [[name, dims, *spread(name, dims, is_gemma)] for name, dims in shapes.items()]


def logits(folder):
    model, about = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not about[key], (folder, key, about[key])
    with torch.no_grad():
        return model.eval()(torch.tensor([PROMPT])).logits[0].numpy()


def golden(case):
    config = case["config"]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.json").write_text(json.dumps(config))
        with tempfile.TemporaryDirectory() as other:
            tensors = written_tensors(AutoConfig.from_pretrained(folder), Path(other), "gemma" in config["model_type"])
        save_file(weights(tensors), folder / "model.safetensors", metadata={"format": "pt"})
        found = logits(folder)
    assert np.isfinite(found).all() and found.shape == (len(PROMPT), VOCAB)
    return {
        "name": case["name"], "config": config, "context_tokens": case.get("context_tokens", 0),
        "tensors": tensors, "metadata": metadata(case), "recipe": recipe(case, tensors),
        "logits": [[float(f"{value:.6g}") for value in found[row]] for row in ROWS],
    }


def applied(step, made):
    """A GGUF tensor from those of the folder, as llama.cpp's converter makes it."""
    name, sources, act = step
    if act == "values":
        return np.array(sources, dtype=np.float32)
    parts = [made[source] for source in sources]
    if act == "stack":
        return np.stack(parts)
    [part] = parts
    if act == "add one":
        return part + np.float32(1)
    if act.startswith("turn "):
        heads = int(act[5:])
        rows, columns = part.shape
        return part.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    assert act == "", act
    return part


def write_gguf(golden, path):
    """The case as a GGUF file, for another implementation to read (with_llama_cpp.py)."""
    import gguf
    pairs = golden["metadata"]
    writer = gguf.GGUFWriter(path, pairs["general.architecture"])
    for key, value in pairs.items():
        if key == "general.architecture":
            continue
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        (writer.add_array if isinstance(value, list) else add[type(value)])(key, value)
    made = weights(golden["tensors"])
    for step in golden["recipe"]:
        writer.add_tensor(step[0], np.ascontiguousarray(applied(step, made)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def lines(goldens):
    """JSON with one line per part, so that a change can be read."""
    compact = lambda value: json.dumps(value, separators=(",", ":"))
    cases = []
    for golden in goldens:
        cases.append("{" + ",\n".join(f'"{key}":{compact(value)}' for key, value in golden.items()) + "}")
    head = f'"prompt":{compact(PROMPT)},\n"rows":{compact(ROWS)},\n"cases":[\n'
    return "{" + head + ",\n\n".join(cases) + "]}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gguf", type=Path, help="also write each case as a GGUF file into this folder")
    parser.add_argument("--only", help="print the case of this name instead of writing all")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    goldens = [golden(case) for case in CASES if arguments.only in (None, case["name"])]
    if arguments.gguf:
        arguments.gguf.mkdir(parents=True, exist_ok=True)
        for case in goldens:
            if case["metadata"]:
                write_gguf(case, arguments.gguf / f"{case['name']}.gguf")
    if arguments.only:
        print(lines(goldens))
    else:
        (HERE / "goldens.json").write_text(lines(goldens))


if __name__ == "__main__":
    main()
