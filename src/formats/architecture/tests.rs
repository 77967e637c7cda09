//! Shapes read from metadata and from config.json, and what is refused.

use serde_json::{Map, Value, json};

use super::*;

fn llama() -> Map<String, Value> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 172,
        "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4,
        "vocab_size": 512, "max_position_embeddings": 512, "hidden_act": "silu"
    });
    config.as_object().unwrap().clone()
}

fn with(key: &str, value: Value) -> Result<ModelShape> {
    let mut config = llama();
    config.insert(key.into(), value);
    from_config(&config)
}

fn refused(key: &str, value: Value, words: &str) {
    let problem = with(key, value).expect_err("accepted").to_string();
    assert!(problem.contains(words), "`{words}` is not in `{problem}`");
}

#[test]
fn absent_fields_take_the_defaults_of_the_family() {
    let shape = from_config(&llama()).unwrap();
    assert_eq!((shape.head_dim, shape.rope.dim, shape.heads_per_kv_head()), (8, 8, 2));
    assert_eq!((shape.rms_eps, shape.rope.theta), (1e-6, 10_000.0));
    assert_eq!(shape.rope.style, RopeStyle::Halved);
    assert!(!shape.tied_embeddings && !shape.qkv_bias && !shape.decoder.qk_norm);
    assert_eq!(with("head_dim", Value::Null).unwrap().head_dim, 8);
}

#[test]
fn families_differ_in_bias_and_norm() {
    let qwen2 = with("architectures", json!(["Qwen2ForCausalLM"])).unwrap();
    assert!(qwen2.qkv_bias && !qwen2.decoder.qk_norm && qwen2.architecture == Architecture::Qwen2);
    let qwen3 = with("architectures", json!(["Qwen3ForCausalLM"])).unwrap();
    assert!(!qwen3.qkv_bias && qwen3.decoder.qk_norm);
    let mistral = with("architectures", json!(["MistralForCausalLM"])).unwrap();
    assert_eq!(mistral.architecture, Architecture::Llama);
}

#[test]
fn other_architectures_are_named_with_those_supported() {
    refused("architectures", json!(["MambaForCausalLM"]), "`MambaForCausalLM` is not supported");
    refused(
        "architectures",
        json!(["MambaForCausalLM"]),
        "llama, qwen2, qwen3, qwen3moe, gemma2, gemma3, phi3, bert",
    );
    refused("architectures", json!([]), "architectures");
}

#[test]
fn every_number_is_bounded_and_named() {
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "head_dim",
    ] {
        for value in [json!(0), json!(-1), json!(u64::MAX), json!(1.5), json!("8"), json!([8])] {
            refused(key, value, key);
        }
    }
    for value in [json!(0.0), json!(-1.0), json!(1e300), json!("1")] {
        refused("rope_theta", value, "rope_theta");
    }
    refused("rms_norm_eps", json!(0.0), "rms_norm_eps");
}

#[test]
fn heads_must_divide() {
    refused("num_key_value_heads", json!(3), "8 heads cannot share 3");
    refused("num_key_value_heads", json!(16), "cannot share");
    refused("head_dim", json!(7), "must be even");
}

#[test]
fn settings_that_would_change_the_result_are_refused() {
    refused("attention_bias", json!(true), "attention_bias");
    refused("mlp_bias", json!(true), "mlp_bias");
    refused("use_bidirectional_attention", json!(true), "use_bidirectional_attention");
    refused("hidden_act", json!("gelu"), "gelu");
    refused("quantization_config", json!({}), "quantization_config");
    refused("partial_rotary_factor", json!(0.5), "partial_rotary_factor");
}

/// The shape of a class, with these fields beside those of `llama`.
fn of_class(class: &str, fields: Value) -> Result<ModelShape> {
    let mut config = llama();
    config.insert("architectures".into(), json!([class]));
    config.extend(fields.as_object().unwrap().clone());
    from_config(&config)
}

fn windowed(shape: &ModelShape) -> Vec<bool> {
    (0..shape.layers).map(|layer| shape.window_tokens(layer).is_some()).collect()
}

#[test]
fn windows_stand_where_the_family_has_them() {
    let mistral = of_class("MistralForCausalLM", json!({ "sliding_window": 7 })).unwrap();
    assert_eq!(mistral.window_tokens(4), Some(7));
    let absent = of_class("MistralForCausalLM", json!({})).unwrap();
    assert_eq!(absent.window_tokens(0), Some(4096));
    let none = of_class("MistralForCausalLM", json!({ "sliding_window": null })).unwrap();
    assert_eq!(none.window_tokens(0), None);
    // Qwen writes a window and switches it off beside it.
    let off = json!({ "sliding_window": 7, "use_sliding_window": false });
    assert_eq!(of_class("Qwen2ForCausalLM", off).unwrap().decoder.window, None);
    let on = json!({ "sliding_window": 7, "use_sliding_window": true, "max_window_layers": 3 });
    let on = of_class("Qwen2ForCausalLM", on).unwrap();
    assert_eq!(windowed(&on), [false, false, false, true, true]);
    let gemma2 = of_class("Gemma2ForCausalLM", json!({ "hidden_act": null })).unwrap();
    assert_eq!(windowed(&gemma2), [true, false, true, false, true]);
    let named = json!({ "sliding_window": 9, "layer_types": ["full_attention", "sliding_attention",
        "full_attention", "full_attention", "full_attention"] });
    let named = of_class("Gemma3ForCausalLM", named).unwrap();
    assert_eq!(windowed(&named), [false, true, false, false, false]);
    for (fields, words) in [
        (json!({ "layer_types": ["full_attention"] }), "has 1 for 5 layers"),
        (json!({ "layer_types": vec!["chunked_attention"; 5] }), "layer_types"),
        (json!({ "sliding_window": -3 }), "sliding_window"),
        (json!({ "sliding_window": 1u64 << 40 }), "sliding_window"),
        (json!({ "sliding_window_pattern": 0 }), "sliding_window_pattern"),
    ] {
        let problem = of_class("Gemma3ForCausalLM", fields).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }
}

#[test]
fn gemma_has_its_own_defaults_caps_and_scale() {
    let gemma2 = of_class("Gemma2ForCausalLM", json!({})).unwrap();
    assert!(gemma2.tied_embeddings && gemma2.head_dim == 256 && !gemma2.decoder.qk_norm);
    let caps = |shape: &ModelShape| (shape.decoder.attention_softcap, shape.decoder.logit_softcap);
    assert_eq!(caps(&gemma2), (Some(50.0), Some(30.0)));
    assert_eq!(gemma2.decoder.attention_scale, 1.0 / 16.0);
    let without = json!({ "attn_logit_softcapping": null, "query_pre_attn_scalar": 144 });
    let without = of_class("Gemma2ForCausalLM", without).unwrap();
    assert_eq!(caps(&without), (None, Some(30.0)));
    assert_eq!(without.decoder.attention_scale, 1.0 / 12.0);
    let gemma3 = of_class("Gemma3ForCausalLM", json!({})).unwrap();
    assert!(gemma3.decoder.qk_norm && caps(&gemma3) == (None, None));
    assert_eq!(gemma3.rope.theta, 1e6);
    let local = gemma3.decoder.window.unwrap().rope.unwrap();
    assert_eq!((local.theta, local.scaling), (10_000.0, None));
    for (fields, words) in [
        (json!({ "hidden_activation": "silu" }), "hidden_activation"),
        (json!({ "attn_logit_softcapping": 0.0 }), "attn_logit_softcapping"),
        (json!({ "query_pre_attn_scalar": -1 }), "query_pre_attn_scalar"),
    ] {
        let problem = of_class("Gemma2ForCausalLM", fields).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }
}

#[test]
fn experts_are_counted_and_bounded() {
    let fields = |more: Value| {
        let mut fields = json!({ "moe_intermediate_size": 24, "norm_topk_prob": true });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of_class("Qwen3MoeForCausalLM", fields)
    };
    let shape = fields(json!({ "num_experts": 16, "num_experts_per_tok": 4 })).unwrap();
    let experts = shape.decoder.experts.unwrap();
    assert_eq!((experts.count, experts.used, experts.is_normalized), (16, 4, true));
    assert_eq!((shape.ffn_dim, shape.decoder.qk_norm), (24, true));
    for (more, words) in [
        (json!({ "num_experts": 4, "num_experts_per_tok": 5 }), "experts used"),
        (json!({ "num_experts_per_tok": 0 }), "num_experts_per_tok"),
        (json!({ "num_experts": 4097 }), "num_experts"),
        (json!({ "num_experts": 4096, "num_hidden_layers": 6 }), "more than can be kept"),
        (json!({ "decoder_sparse_step": 2 }), "decoder_sparse_step"),
        (json!({ "mlp_only_layers": [0] }), "mlp_only_layers"),
        (json!({ "moe_intermediate_size": 0 }), "moe_intermediate_size"),
    ] {
        let problem = fields(more).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }
}

#[test]
fn rope_scaling_is_read_in_both_spellings() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let expected = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context_tokens: 8192,
    };
    assert_eq!(with("rope_scaling", llama3).unwrap().rope.scaling, Some(expected));
    let nested = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5});
    let rope = with("rope_parameters", nested).unwrap().rope;
    assert_eq!((rope.theta, rope.scaling), (5e5, Some(RopeScaling::Linear { factor: 2.0 })));
    assert_eq!(with("rope_scaling", json!({"type": "default"})).unwrap().rope.scaling, None);
    refused("rope_scaling", json!({"type": "dynamic", "factor": 2.0}), "dynamic");
    refused("rope_scaling", json!({"type": "linear", "factor": 0}), "rope_scaling.factor");
    let equal = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    refused("rope_scaling", equal, "high_freq_factor");
}

#[test]
fn yarn_sharpens_attention_as_its_paper_says_or_as_the_file_does() {
    let factor = |more: Value| {
        let mut yarn = json!({ "type": "yarn", "factor": 4.0 });
        yarn.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        match with("rope_scaling", yarn).unwrap().rope.scaling {
            Some(RopeScaling::Yarn(yarn)) => yarn.attention_factor,
            other => panic!("{other:?}"),
        }
    };
    assert!((factor(json!({})) - 1.138_629_4).abs() < 1e-6);
    assert_eq!(factor(json!({ "attention_factor": 0.5 })), 0.5);
    assert_eq!(factor(json!({ "mscale": 1.0, "mscale_all_dim": 1.0 })), 1.0);
    let flat = json!({ "type": "yarn", "factor": 4.0, "rope_theta": 1.0 });
    refused("rope_parameters", flat, "rope theta");
    let beta = json!({ "type": "yarn", "factor": 4.0, "beta_fast": 1e9 });
    refused("rope_scaling", beta, "beta_fast");
}

#[test]
fn longrope_has_a_divisor_for_each_pair() {
    let of = |short: Value, more: Value| {
        let scaling =
            json!({ "type": "su", "short_factor": short, "long_factor": [1.0, 2.0, 4.0] });
        let mut fields = json!({ "rope_scaling": scaling, "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 128 });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of_class("Phi3ForCausalLM", fields)
    };
    let shape = of(json!([1.0, 1.0, 1.5]), json!({})).unwrap();
    assert_eq!((shape.head_dim, shape.rope.dim), (8, 6));
    let Some(RopeScaling::LongRope(scaling)) = shape.rope.scaling else {
        panic!("longrope under its early name");
    };
    assert_eq!((scaling.short[2], scaling.long[2]), (1.5, 4.0));
    // √(1 + ln 4 / ln 128)
    assert!((scaling.attention_factor - 1.133_893_4).abs() < 1e-6);
    for (short, words) in [
        (json!([1.0, 1.0]), "has 2 numbers, must have 3"),
        (json!([1.0, 1.0, 0.0]), "holds 0"),
        (json!([]), "short_factor"),
        (json!("1"), "short_factor"),
        (json!([1.0, 1.0, "2"]), "short_factor"),
        (json!(null), "short_factor"),
    ] {
        let problem = of(short, json!({})).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }
    assert!(of(json!([1.0, 1.0, 1.0]), json!({ "partial_rotary_factor": 0.0 })).is_err());
}

#[test]
fn end_ids_are_a_number_or_a_list() {
    let ids = |value: Value| eos_ids(&Map::from_iter([("eos_token_id".to_string(), value)]));
    assert_eq!(ids(json!(2)).unwrap(), [2]);
    assert_eq!(ids(json!([2, 7])).unwrap(), [2, 7]);
    assert_eq!(ids(Value::Null).unwrap(), [0u32; 0]);
    assert!(ids(json!("2")).is_err() && ids(json!([-1])).is_err());
}
