"""The models of goldens.json: every family and every kind of RoPE, small."""
import math
import re

import numpy as np

VOCAB = 48
# Longer than every window, and three pages of 16 tokens.
PROMPT = [(7 * index * index + 3 * index + 1) % VOCAB for index in range(45)]
ROWS = [0, 9, 29, 44]

BASE = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0,
}
CLASSES = {
    "llama": ("LlamaForCausalLM", "llama"), "mistral": ("MistralForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"), "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "qwen3_moe": ("Qwen3MoeForCausalLM", "qwen3moe"), "gemma2": ("Gemma2ForCausalLM", "gemma2"),
    "gemma3_text": ("Gemma3ForCausalLM", "gemma3"), "phi3": ("Phi3ForCausalLM", "phi3"),
}
GEMMA = {"head_dim": 16, "tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh",
         "query_pre_attn_scalar": 16, "sliding_window": 8}
MOE = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True,
       "head_dim": 8}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
SHORT = [1.0, 1.05, 1.25]
LONG = [1.0, 2.5, 7.75]
PHI = {"num_attention_heads": 4, "num_key_value_heads": 2, "partial_rotary_factor": 0.75,
       "original_max_position_embeddings": 16}


def case(name, family, pairs=None, context_tokens=0, **config):
    """`pairs`: what the GGUF file says beside the plain numbers; `None` if there can be no such file."""
    about = {"model_type": family, "architectures": [CLASSES[family][0]], **BASE, **config}
    return {"name": name, "config": about, "pairs": pairs, "context_tokens": context_tokens}


CASES = [
    case("llama", "llama", {}),
    case("llama_tied", "llama", {}, tie_word_embeddings=True, rope_theta=500000.0),
    case("llama_wide_heads", "llama", {}, head_dim=16, num_key_value_heads=4),
    case("rope_linear", "llama", {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
         rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}),
    case("rope_llama3", "llama", {},
         rope_theta=1000.0, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                          "high_freq_factor": 4.0, "original_max_position_embeddings": 64}),
    case("rope_yarn", "llama", {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
                                "rope.scaling.original_context_length": 32}, rope_parameters=YARN),
    case("rope_yarn_given_factor", "llama",
         {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32,
          "rope.scaling.yarn_attn_factor": 0.75, "rope.scaling.yarn_beta_fast": 4.0,
          "rope.scaling.yarn_beta_slow": 0.5},
         rope_parameters={**YARN, "attention_factor": 0.75, "beta_fast": 4.0, "beta_slow": 0.5}),
    case("rope_yarn_mscale", "llama", None,
         rope_parameters={**YARN, "mscale": 1.5, "mscale_all_dim": 0.5, "truncate": False, "beta_fast": 8.0}),
    case("mistral", "mistral", {"attention.sliding_window": 11}, sliding_window=11),
    case("qwen2", "qwen2", {}, rms_norm_eps=1e-6, rope_theta=1000000.0),
    case("qwen2_window", "qwen2", None, use_sliding_window=True, sliding_window=11, max_window_layers=1),
    case("qwen3", "qwen3", {}, head_dim=16, tie_word_embeddings=True),
    case("qwen3_yarn", "qwen3", {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
                                 "rope.scaling.original_context_length": 32},
         head_dim=16, rope_theta=10000.0,
         rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
    case("qwen3moe", "qwen3_moe", {}, **MOE),
    case("qwen3moe_raw_weights", "qwen3_moe", None, **{**MOE, "norm_topk_prob": False, "num_experts_per_tok": 4}),
    case("gemma2", "gemma2", {"attention.sliding_window": 8, "attn_logit_softcapping": 2.0,
                              "final_logit_softcapping": 3.0},
         attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **GEMMA),
    case("gemma2_other_scale", "gemma2", None, **{**GEMMA, "query_pre_attn_scalar": 40}),
    case("gemma3", "gemma3_text",
         {"attention.sliding_window": 8, "rope.freq_base_swa": 10000.0, "rope.scaling.type": "linear",
          "rope.scaling.factor": 8.0},
         **{**GEMMA, "num_hidden_layers": 7},
         rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
    case("gemma3_older_words", "gemma3_text", None,
         **{**GEMMA, "num_hidden_layers": 4}, sliding_window_pattern=3, rope_theta=1000000.0,
         rope_local_base_freq=500.0, rope_scaling={"rope_type": "linear", "factor": 8.0}),
    # The decoder of a model that sees images; its file leaves out what the class has anyway.
    {"name": "gemma3_beside_images", "pairs": None, "config": {
        "model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"],
        "mm_tokens_per_image": 4, "boi_token_index": 40, "eoi_token_index": 41, "image_token_index": 42,
        "text_config": {"model_type": "gemma3_text", "vocab_size": VOCAB, "hidden_size": 16, "intermediate_size": 24,
                        "num_hidden_layers": 6, "head_dim": 8, "query_pre_attn_scalar": 12, "sliding_window": 8,
                        "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
        "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 8, "intermediate_size": 8,
                          "num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 8, "patch_size": 4}}},
    case("phi3", "phi3", {"attention.sliding_window": 11}, sliding_window=11),
    case("rope_longrope_long", "phi3",
         {"rope.scaling.original_context_length": 16, "rope.scaling.attn_factor": math.sqrt(1 + math.log(8) / math.log(16))},
         rope_scaling={"type": "longrope", "short_factor": SHORT, "long_factor": LONG}, **PHI),
    case("rope_longrope_short", "phi3",
         {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": math.sqrt(1 + math.log(2) / math.log(64))},
         context_tokens=64, rope_scaling={"type": "longrope", "short_factor": SHORT, "long_factor": LONG},
         **{**PHI, "original_max_position_embeddings": 64}, tie_word_embeddings=True),
]


def head_dim(config):
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def rope_dim(config):
    return int(head_dim(config) * config.get("partial_rotary_factor", 1.0))


def theta(config):
    about = config.get("rope_parameters", {})
    about = about.get("full_attention", about)
    return about.get("rope_theta", config.get("rope_theta", 10000.0))


def metadata(case):
    """The pairs of the GGUF file; empty if there is none."""
    if case["pairs"] is None:
        return {}
    config = case["config"]
    prefix = CLASSES[config["model_type"]][1]
    pairs = {
        "block_count": config["num_hidden_layers"], "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"], "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": head_dim(config), "attention.value_length": head_dim(config),
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.dimension_count": rope_dim(config), "rope.freq_base": theta(config),
    }
    if "num_experts" in config:
        pairs["expert_count"] = config["num_experts"]
        pairs["expert_used_count"] = config["num_experts_per_tok"]
        pairs["expert_feed_forward_length"] = config["moe_intermediate_size"]
    pairs.update(case["pairs"])
    words = [f"<0x{index:02X}>" if 3 <= index else ["<unk>", "<s>", "</s>"][index] for index in range(VOCAB)]
    return {
        "general.architecture": prefix, **{f"{prefix}.{key}": value for key, value in pairs.items()},
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.scores": [float(-index) for index in range(VOCAB)],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * (VOCAB - 3),
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
    }


# Within a layer: Hugging Face's name, and llama.cpp's.
LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.qkv_proj": "attn_qkv", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.gate_up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def recipe(case, tensors):
    """How the tensors of the GGUF file come from those of the folder: name, sources, act."""
    if case["pairs"] is None:
        return []
    config = case["config"]
    is_gemma = "gemma" in config["model_type"]
    steps, stacks = [], {}
    for name, *_ in tensors:
        stem, kind = name.rsplit(".", 1)
        act = "add one" if is_gemma and name.endswith("norm.weight") else ""
        if stem in WHOLE:
            steps.append([f"{WHOLE[stem]}.{kind}", [name], act])
            continue
        layer, part = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem).groups()
        if expert := re.fullmatch(r"mlp\.experts\.(\d+)\.(\w+)_proj", part):
            stacks.setdefault(f"blk.{layer}.ffn_{expert[2]}_exps.{kind}", []).append((int(expert[1]), name))
            continue
        if part == "post_attention_layernorm":
            other = "post_attention_norm" if is_gemma else "ffn_norm"
        else:
            other = LAYER[part]
        # llama's queries and keys are rearranged so that neighbours turn together.
        if CLASSES[config["model_type"]][1] == "llama" and other in ("attn_q", "attn_k"):
            heads = config["num_attention_heads" if other == "attn_q" else "num_key_value_heads"]
            act = f"turn {heads}"
        steps.append([f"blk.{layer}.{other}.{kind}", [name], act])
    steps += [[name, [source for _, source in sorted(all)], "stack"] for name, all in stacks.items()]
    scaling = config.get("rope_scaling", {})
    if scaling.get("rope_type") == "llama3":
        steps.append(["rope_freqs.weight", llama3_factors(config, scaling), "values"])
    if "long_factor" in scaling:
        steps.append(["rope_factors_long.weight", scaling["long_factor"], "values"])
        steps.append(["rope_factors_short.weight", scaling["short_factor"], "values"])
    return steps


def llama3_factors(config, scaling):
    """As llama.cpp's converter reckons them."""
    dim = head_dim(config)
    factor, low, high = (scaling[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = scaling["original_max_position_embeddings"]
    factors = []
    for pair in range(0, dim, 2):
        wavelength = 2 * math.pi * theta(config) ** (pair / dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(factor)
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(float(np.float32(1 / ((1 - smooth) / factor + smooth))))
    return factors
