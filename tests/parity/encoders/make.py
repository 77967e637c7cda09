"""Makes golden.json: what Hugging Face's transformers makes of small encoders with random weights.

Only configurations and answers are written down: a weight is a function of its tensor's name, here
and in src/engine/encoder/tests.rs. The classes run in float64. Names in GGUF files are those of
llama.cpp's own converter, by its package `gguf`. Needs `torch`, `transformers` 5 and `gguf`.
"""

import json
import pathlib

import gguf
import numpy
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
VOCAB, DIM, FFN, LAYERS, HEADS, POSITIONS = 96, 48, 80, 2, 4, 40
ARCH = gguf.MODEL_ARCH


def noise(seed, count):
    """`noise` of src/kernels/reference.rs."""
    mask, values = (1 << 64) - 1, numpy.empty(count, "float32")
    state = (seed * 0x9E3779B97F4A7C15 & mask) | 1
    for at in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        values[at] = numpy.float32(state >> 40) / numpy.float32(1 << 23) - numpy.float32(1)
    return values


def fnv(name):
    digest = 0xCBF29CE484222325
    for byte in name.encode():
        digest = (digest ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return digest


def weight(name, shape):
    values = noise(fnv(name), int(numpy.prod(shape)))
    is_norm = "norm" in name.lower() and name.endswith("weight")
    scale = numpy.float32(1.7) / numpy.sqrt(numpy.float32(shape[-1]))
    return (numpy.float32(1 if is_norm else 0) + values * scale).reshape(shape)


def texts(seed, pairs):
    """Token ids, and for pairs where the second text begins: [2] first [3] second [3]."""
    random = numpy.random.default_rng(seed)
    word = lambda count: random.integers(5, VOCAB, count).tolist()
    if not pairs:
        return [{"ids": word(count), "second": None} for count in [1, 2, 17, 33]]
    first = word(4)
    start = [2, *first, 3]
    return [{"ids": [*start, *word(count), 3], "second": len(start)} for count in [1, 9, 31]]


def run(model, text, has_types):
    ids = torch.tensor([text["ids"]])
    options = {}
    if text["second"] and has_types:
        options["token_type_ids"] = (torch.arange(ids.shape[1]) >= text["second"]).long()[None]
    with torch.no_grad():
        return model(input_ids=ids, **options)


def answers(model, made, pooling, has_types):
    for text in made:
        output = run(model, text, has_types)
        if pooling is None:
            text["answer"] = [round(output.logits[0, 0].item(), 7)]
            continue
        rows = output.last_hidden_state[0]
        vector = rows[0] if pooling == "cls" else rows.mean(0)
        text["answer"] = [round(x, 7) for x in (vector / vector.norm()).tolist()]
    return made


def folder(config, pooling):
    files = {"config.json": config, "tokenizer.json": {}}
    if pooling:
        name = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens"}[pooling]
        files["1_Pooling_config.json"] = {"word_embedding_dimension": DIM, name: True}
        files["modules.json"] = [{"type": f"sentence_transformers.models.{it}"}
                                 for it in ["Transformer", "Pooling", "Normalize"]]
    return files


def metadata(arch, pooling, types, context, **more):
    prefix = gguf.MODEL_ARCH_NAMES[arch]
    own = {
        "block_count": LAYERS, "context_length": context, "embedding_length": DIM,
        "feed_forward_length": FFN, "attention.head_count": HEADS,
        "attention.layer_norm_epsilon": 1e-5, "attention.causal": False,
        "pooling_type": {"mean": 1, "cls": 2, None: 4}[pooling], **more,
    }
    return {"general.architecture": prefix, "tokenizer.ggml.token_type_count": types,
            **{f"{prefix}.{key}": value for key, value in own.items()}}


def gguf_names(arch, names):
    """[name in the file, tensors it is put together from, leading rows left out]"""
    known = gguf.get_tensor_name_map(arch, LAYERS)
    rows = []
    for name, sources, skipped in names:
        found = known.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found, name
        rows.append([found, sources, skipped])
    return rows


def bert(kind, classes, pooling, first, types):
    """BERT, or XLM-RoBERTa where `first` is the row of the first position."""
    config = kind(
        vocab_size=VOCAB, hidden_size=DIM, intermediate_size=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=POSITIONS + first, type_vocab_size=types,
        layer_norm_eps=1e-5, num_labels=1, attn_implementation="eager",
    )
    bare = classes.base_model_prefix + "."
    model = classes(config) if pooling is None else classes(config, add_pooling_layer=False)
    model = model.eval().double()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.tensor(weight(name, shape)) for name, shape in shapes.items()})
    written = {**config.to_dict(), "architectures": [classes.__name__]}
    names = [(name.removeprefix(bare), [name], first if "position_embeddings" in name else 0)
             for name in shapes]
    # llama.cpp's converter drops the pooler, and with it what BERT scores by.
    is_lossy = pooling is None and first == 0
    return {
        "tensors": shapes,
        "texts": answers(model, texts(len(shapes), pooling is None), pooling, types > 1),
        "folders": [{"files": folder(slim(written), pooling), "tensors": [[name, [name], 0] for name in shapes]}],
        "gguf": None if is_lossy else {
            "metadata": metadata(ARCH.BERT, pooling, types, POSITIONS),
            "tensors": gguf_names(ARCH.BERT, names),
        },
    }


def slim(config):
    kept = {"architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "hidden_act",
            "num_attention_heads", "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
            "id2label", "pad_token_id", "rope_parameters", "model_type"}
    return {key: value for key, value in config.items() if key in kept}


def nomic():
    config = transformers.NomicBertConfig(
        vocab_size=VOCAB, hidden_size=DIM, intermediate_size=FFN, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, max_position_embeddings=POSITIONS, type_vocab_size=2,
        layer_norm_eps=1e-5, attn_implementation="eager",
    )
    model = transformers.NomicBertModel(config).eval().double()
    shapes = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: torch.tensor(weight(name, shape)) for name, shape in shapes.items()})
    # The maker's own folders and llama.cpp's converter have other names.
    words = [("embeddings.LayerNorm", "emb_ln"), ("layers.", "encoder.layers."), ("self_attn.o_proj", "attn.out_proj"),
             ("up_proj", "fc11"), ("gate_proj", "fc12"), ("down_proj", "fc2"),
             ("post_attention_layernorm", "norm1"), ("post_mlp_layernorm", "norm2")]
    theirs = []
    for name in shapes:
        if ".self_attn.q_proj" in name:
            fused = [name.replace("q_proj", f"{of}_proj") for of in "qkv"]
            theirs.append(["encoder." + name.replace("self_attn.q_proj", "attn.Wqkv"), fused, 0])
        elif ".k_proj" not in name and ".v_proj" not in name:
            other = name
            for ours, maker in words:
                other = other.replace(ours, maker)
            theirs.append([other, [name], 0])
    makers = {
        "architectures": ["NomicBertModel"], "model_type": "nomic_bert", "n_embd": DIM, "n_head": HEADS,
        "n_inner": FFN, "n_layer": LAYERS, "n_positions": 4 * POSITIONS, "max_trained_positions": POSITIONS,
        "vocab_size": VOCAB, "type_vocab_size": 2, "layer_norm_epsilon": 1e-5,
        "activation_function": "swiglu", "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": None,
        "prenorm": False, "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
    }
    written = slim({**config.to_dict(), "architectures": ["NomicBertModel"]})
    return {
        "tensors": shapes,
        "texts": answers(model, texts(9, False), "mean", True),
        "folders": [
            {"files": folder(written, "mean"), "tensors": [[name, [name], 0] for name in shapes]},
            {"files": folder(makers, "mean"), "tensors": theirs},
        ],
        "gguf": {
            "metadata": metadata(ARCH.NOMIC_BERT, "mean", 2, POSITIONS, **{"rope.freq_base": 1000.0}),
            "tensors": gguf_names(ARCH.NOMIC_BERT, theirs),
        },
    }


def main():
    t = transformers
    golden = {
        "vocab": VOCAB,
        "models": {
            "bert": bert(t.BertConfig, t.BertModel, "mean", 0, 2),
            "bert scoring pairs": bert(t.BertConfig, t.BertForSequenceClassification, None, 0, 2),
            "xlm-roberta": bert(t.XLMRobertaConfig, t.XLMRobertaModel, "cls", 2, 1),
            "xlm-roberta scoring pairs":
                bert(t.XLMRobertaConfig, t.XLMRobertaForSequenceClassification, None, 2, 1),
            "nomic-bert": nomic(),
        },
    }
    (HERE / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
