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
    assert!(!shape.tied_embeddings && !shape.qkv_bias && !shape.qk_norm);
    assert_eq!(with("head_dim", Value::Null).unwrap().head_dim, 8);
}

#[test]
fn families_differ_in_bias_and_norm() {
    let qwen2 = with("architectures", json!(["Qwen2ForCausalLM"])).unwrap();
    assert!(qwen2.qkv_bias && !qwen2.qk_norm && qwen2.architecture == Architecture::Qwen2);
    let qwen3 = with("architectures", json!(["Qwen3ForCausalLM"])).unwrap();
    assert!(!qwen3.qkv_bias && qwen3.qk_norm);
    let mistral = with("architectures", json!(["MistralForCausalLM"])).unwrap();
    assert_eq!(mistral.architecture, Architecture::Llama);
}

#[test]
fn other_architectures_are_named_with_those_supported() {
    refused("architectures", json!(["MambaForCausalLM"]), "`MambaForCausalLM` is not supported");
    refused("architectures", json!(["MambaForCausalLM"]), "llama, qwen2, qwen3");
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
    refused("sliding_window", json!(4096), "sliding_window");
    refused("attention_bias", json!(true), "attention_bias");
    refused("mlp_bias", json!(true), "mlp_bias");
    refused("hidden_act", json!("gelu"), "gelu");
    refused("quantization_config", json!({}), "quantization_config");
    refused("partial_rotary_factor", json!(0.5), "partial_rotary_factor");
    assert!(with("sliding_window", Value::Null).is_ok());
    let mut qwen = llama();
    qwen.extend([
        ("sliding_window".into(), json!(32768)),
        ("use_sliding_window".into(), json!(false)),
    ]);
    assert!(from_config(&qwen).is_ok());
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
    refused("rope_scaling", json!({"type": "longrope"}), "longrope");
    refused("rope_scaling", json!({"type": "linear", "factor": 0}), "rope_scaling.factor");
    let equal = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    refused("rope_scaling", equal, "high_freq_factor");
}

#[test]
fn end_ids_are_a_number_or_a_list() {
    let ids = |value: Value| eos_ids(&Map::from_iter([("eos_token_id".to_string(), value)]));
    assert_eq!(ids(json!(2)).unwrap(), [2]);
    assert_eq!(ids(json!([2, 7])).unwrap(), [2, 7]);
    assert_eq!(ids(Value::Null).unwrap(), [0u32; 0]);
    assert!(ids(json!("2")).is_err() && ids(json!([-1])).is_err());
}
