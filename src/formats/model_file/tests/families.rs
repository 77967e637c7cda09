//! GGUF files of the families beside llama: what they must hold, and what they may not.

use super::{open, refused};
use crate::architecture::{RopeScaling, RopeStyle};
use crate::expected::{ExpertPart, TensorRole};
use crate::testing::*;

/// One layer, two heads of two values, three tokens; tensors as (name, dimensions).
fn file(name: &str, pairs: &[(&str, u32)], tensors: &[(&str, &[u64])]) -> Gguf {
    let tokens: Vec<u8> = ["<unk>", "a", "b"].into_iter().flat_map(text).collect();
    let mut file = Gguf::empty()
        .set("general.architecture", string_value(name))
        .set("tokenizer.ggml.tokens", array_value(STRING, 3, &tokens))
        .set(&format!("{name}.attention.layer_norm_rms_epsilon"), f32_value(1e-5));
    let plain = [
        ("block_count", 1),
        ("embedding_length", 4),
        ("feed_forward_length", 6),
        ("context_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ];
    for (key, number) in plain.iter().chain(pairs) {
        file = file.set(&format!("{name}.{key}"), u32_value(*number));
    }
    let plain: [(&str, &[u64]); 5] = [
        ("token_embd.weight", &[4, 3]),
        ("blk.0.attn_norm.weight", &[4]),
        ("blk.0.attn_output.weight", &[4, 4]),
        ("blk.0.ffn_norm.weight", &[4]),
        ("output_norm.weight", &[4]),
    ];
    for (name, dims) in plain.iter().chain(tensors) {
        file = file.tensor(name, dims);
    }
    file
}

const APART: [(&str, &[u64]); 3] = [
    ("blk.0.attn_q.weight", &[4, 4]),
    ("blk.0.attn_k.weight", &[4, 2]),
    ("blk.0.attn_v.weight", &[4, 2]),
];

fn with_experts(stacks: &[(&str, &[u64])]) -> Gguf {
    let pairs = [("expert_count", 5), ("expert_used_count", 2), ("expert_feed_forward_length", 3)];
    let rest: [(&str, &[u64]); 3] = [
        ("blk.0.attn_q_norm.weight", &[2]),
        ("blk.0.attn_k_norm.weight", &[2]),
        ("blk.0.ffn_gate_inp.weight", &[4, 5]),
    ];
    file("qwen3moe", &pairs, &[&APART[..], &rest, stacks].concat())
}

const STACKS: [(&str, &[u64]); 3] = [
    ("blk.0.ffn_gate_exps.weight", &[4, 3, 5]),
    ("blk.0.ffn_up_exps.weight", &[4, 3, 5]),
    ("blk.0.ffn_down_exps.weight", &[3, 4, 5]),
];

fn gemma(name: &str, pairs: &[(&str, u32)]) -> Gguf {
    let rest: [(&str, &[u64]); 5] = [
        ("blk.0.post_attention_norm.weight", &[4]),
        ("blk.0.post_ffw_norm.weight", &[4]),
        ("blk.0.ffn_gate.weight", &[4, 6]),
        ("blk.0.ffn_up.weight", &[4, 6]),
        ("blk.0.ffn_down.weight", &[6, 4]),
    ];
    let norms: [(&str, &[u64]); 2] =
        [("blk.0.attn_q_norm.weight", &[2]), ("blk.0.attn_k_norm.weight", &[2])];
    let norms: &[_] = if name == "gemma3" { &norms } else { &[] };
    file(name, pairs, &[&APART[..], &rest, norms].concat())
}

fn phi3() -> Gguf {
    let tensors: [(&str, &[u64]); 4] = [
        ("blk.0.attn_qkv.weight", &[4, 8]),
        ("blk.0.ffn_up.weight", &[4, 12]),
        ("blk.0.ffn_down.weight", &[6, 4]),
        ("output.weight", &[4, 3]),
    ];
    file("phi3", &[], &tensors)
}

#[test]
fn stacked_experts_come_apart_into_matrices() {
    let model = open(&with_experts(&STACKS).bytes()).unwrap();
    let place = |expert, part| {
        let role = TensorRole::Expert { layer: 0, expert, part };
        model.tensor(role).map(|tensor| (tensor.offset, tensor.bytes, tensor.shape.clone()))
    };
    let first = place(0, ExpertPart::Down).unwrap();
    assert_eq!((first.1, first.2.as_slice()), (48, [4, 3].as_slice()));
    let last = place(4, ExpertPart::Down).unwrap();
    assert_eq!(last.0, first.0 + 4 * 48);
    assert_eq!(place(5, ExpertPart::Down), None);
    assert_eq!(model.tensors.len(), 5 + 3 + 3 + 15);
}

#[test]
fn stacks_that_are_not_whole_are_named() {
    let missing = with_experts(&STACKS[..2]);
    refused(&missing, "`blk.0.ffn_down_exps.weight`: is missing; shape [5, 4, 3]");
    let fewer: [(&str, &[u64]); 3] =
        [STACKS[0], ("blk.0.ffn_up_exps.weight", &[4, 3, 4]), STACKS[2]];
    refused(&with_experts(&fewer), "shape [5, 3, 4] expected, [4, 3, 4] found");
    let flat: [(&str, &[u64]); 3] = [STACKS[0], ("blk.0.ffn_up_exps.weight", &[4, 15]), STACKS[2]];
    refused(&with_experts(&flat), "`blk.0.ffn_up_exps.weight`: shape");
    let twice = with_experts(&STACKS).tensor("blk.0.ffn_up_exps.weight[3]", &[4, 3]);
    refused(&twice, "`blk.0.ffn_up_exps.weight`: appears twice");
    let used = with_experts(&STACKS).set("qwen3moe.expert_used_count", u32_value(6));
    refused(&used, "experts used");
    refused(&with_experts(&STACKS).without("qwen3moe.expert_count"), "qwen3moe.expert_count");
    let many = with_experts(&STACKS)
        .set("qwen3moe.expert_count", u32_value(4096))
        .set("qwen3moe.block_count", u32_value(1024));
    refused(&many, "more than can be kept");
    refused(&tiny_llama().set("llama.expert_count", u32_value(8)), "in qwen3moe only");
}

#[test]
fn gemma_files_say_little_and_the_family_says_the_rest() {
    let shape = open(&gemma("gemma2", &[]).bytes()).unwrap().shape;
    assert!(shape.tied_embeddings && shape.rope.style == RopeStyle::Halved);
    assert_eq!(shape.window_tokens(0), Some(4096));
    let caps = (shape.decoder.attention_softcap, shape.decoder.logit_softcap);
    assert_eq!(caps, (Some(50.0), Some(30.0)));
    let shape = open(&gemma("gemma3", &[("attention.sliding_window", 8)]).bytes()).unwrap().shape;
    assert_eq!(shape.window_tokens(0), Some(8));
    let local = shape.decoder.window.unwrap().rope.unwrap();
    assert_eq!((local.theta, local.dim, local.scaling), (10_000.0, 2, None));
    assert_eq!(open(&gemma("gemma3", &[]).bytes()).unwrap().shape.decoder.window, None);
    let every = [("attention.sliding_window", 8), ("attention.sliding_window_pattern", 1)];
    assert_eq!(open(&gemma("gemma3", &every).bytes()).unwrap().shape.decoder.window, None);
    let key = "gemma3.attention.sliding_window_pattern";
    let flags = gemma("gemma3", &every).set(key, array_value(BOOL, 1, &[1]));
    assert_eq!(open(&flags.bytes()).unwrap().shape.window_tokens(0), Some(8));
    refused(&gemma("gemma3", &every).set(key, array_value(BOOL, 2, &[1, 0])), "2 flags for 1");
    let renamed = gemma("gemma2", &[]).rename("blk.0.post_ffw_norm.weight", "x");
    refused(&renamed, "`blk.0.post_ffw_norm.weight`: is missing");
    let cap = gemma("gemma2", &[]).set("gemma2.attn_logit_softcapping", f32_value(-1.0));
    refused(&cap, "gemma2.attn_logit_softcapping");
}

#[test]
fn the_largest_gemmas_scale_attention_by_another_width() {
    // 46 layers of Gemma 2 27B: √(4608 / 32), not √128; here √(4 / 2) of a head of 2 is no other.
    let pairs = [("attention.key_length", 8), ("attention.value_length", 8)];
    let scale = |layers: u32| {
        let file = gemma("gemma2", &pairs).set("gemma2.block_count", u32_value(layers));
        let header =
            crate::gguf::Header::read(&mut std::io::Cursor::new(file.bytes()), 1 << 20).unwrap();
        let facts = crate::architecture::TensorFacts {
            has_score: false,
            has_output: false,
            has_qkv_bias: false,
            has_long_factors: false,
        };
        let shape = crate::architecture::from_metadata(&header.metadata, &facts).unwrap();
        shape.decoder.attention_scale
    };
    assert_eq!(scale(42), 1.0 / 8f32.sqrt());
    assert_eq!(scale(46), 1.0 / 2f32.sqrt());
}

#[test]
fn phi_files_have_both_sets_of_divisors_or_none() {
    let shape = open(&phi3().bytes()).unwrap().shape;
    assert!(shape.rope.scaling.is_none() && shape.decoder.window.is_none());
    let windowed = phi3().set("phi3.attention.sliding_window", u32_value(4));
    assert_eq!(open(&windowed.bytes()).unwrap().shape.window_tokens(0), Some(4));
    let long = phi3()
        .set("phi3.rope.scaling.original_context_length", u32_value(8))
        .set("phi3.rope.scaling.attn_factor", f32_value(1.25))
        .tensor("rope_factors_long.weight", &[1]);
    refused(&long, "`rope_factors_short.weight`: is missing");
    let both = long.tensor("rope_factors_short.weight", &[1]);
    match open(&both.bytes()).unwrap().shape.rope.scaling {
        Some(RopeScaling::LongRope(scaling)) => {
            assert_eq!((scaling.original_context_tokens, scaling.attention_factor), (8, 1.25));
        }
        other => panic!("{other:?}"),
    }
    let named = phi3().set("phi3.rope.scaling.type", string_value("longrope"));
    refused(&named, "is missing");
    let swapped = phi3().rename("blk.0.attn_qkv.weight", "blk.0.attn_q.weight");
    refused(&swapped, "`blk.0.attn_qkv.weight`: is missing; shape [8, 4]");
}

#[test]
fn yarn_reads_all_of_its_keys() {
    let yarn = tiny_llama()
        .set("llama.rope.scaling.type", string_value("yarn"))
        .set("llama.rope.scaling.factor", f32_value(4.0))
        .set("llama.rope.scaling.original_context_length", u32_value(8));
    let scaling = |file: Gguf| match open(&file.bytes()).unwrap().shape.rope.scaling {
        Some(RopeScaling::Yarn(yarn)) => yarn,
        other => panic!("{other:?}"),
    };
    let plain = scaling(yarn.clone());
    assert!((plain.attention_factor - 1.138_629_4).abs() < 1e-6);
    assert_eq!((plain.beta_fast, plain.beta_slow), (32.0, 1.0));
    let multiplied = yarn.clone().set("llama.rope.scaling.yarn_log_multiplier", f32_value(1.0));
    assert_eq!(scaling(multiplied).attention_factor, 1.0);
    let given = yarn.clone().set("llama.rope.scaling.yarn_attn_factor", f32_value(0.5));
    assert_eq!(scaling(given).attention_factor, 0.5);
    refused(&yarn.clone().set("llama.rope.scaling.yarn_ext_factor", f32_value(0.5)), "must be 1");
    refused(&yarn.set("llama.rope.scaling.yarn_beta_fast", f32_value(0.0)), "yarn_beta_fast");
}
