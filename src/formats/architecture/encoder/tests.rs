//! Shapes of encoders, and what is refused.

use serde_json::json;

use super::*;
use crate::architecture::from_config;

fn config() -> Map<String, Value> {
    let config = json!({
        "architectures": ["BertModel"], "hidden_size": 48, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
        "max_position_embeddings": 64, "hidden_act": "gelu", "type_vocab_size": 2
    });
    config.as_object().unwrap().clone()
}

fn apply(files: EncoderFiles) -> Result<ModelShape> {
    let mut shape = from_config(&config())?;
    files.apply(&mut shape)?;
    Ok(shape)
}

fn object(value: &Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

#[test]
fn a_bare_encoder_is_averaged_and_normalised() {
    let shape = apply(EncoderFiles::default()).unwrap();
    assert_eq!((shape.head_dim, shape.kv_heads, shape.context_tokens), (12, 4, 64));
    let encoder = shape.encoder.unwrap();
    assert_eq!(encoder.positions, Some(PositionTable { rows: 64, first: 0 }));
    let output = EncoderOutput::Vector { pooling: Pooling::Mean, is_normalized: true };
    assert_eq!(encoder.output, output);
}

#[test]
fn files_say_pooling_norm_and_limit() {
    let shape = apply(EncoderFiles {
        modules: Some(json!([{ "type": "a.Transformer" }, { "type": "a.Pooling" }])),
        pooling: object(&json!({
            "word_embedding_dimension": 48, "pooling_mode_cls_token": true,
            "pooling_mode_mean_tokens": false
        })),
        sentences: object(&json!({ "max_seq_length": 32, "do_lower_case": false })),
    })
    .unwrap();
    let encoder = shape.encoder.unwrap();
    let output = EncoderOutput::Vector { pooling: Pooling::First, is_normalized: false };
    assert_eq!(encoder.output, output);
    assert_eq!((shape.context_tokens, encoder.positions.unwrap().rows), (32, 64));
}

#[test]
fn what_would_change_the_vectors_is_refused_by_name() {
    let refused = |files: EncoderFiles, words: &str| {
        let problem = apply(files).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    };
    let modules = Some(json!([{ "type": "sentence_transformers.models.Dense" }]));
    refused(EncoderFiles { modules, ..EncoderFiles::default() }, "`Dense`");
    let pooling = object(&json!({ "pooling_mode_max_tokens": true }));
    refused(EncoderFiles { pooling, ..EncoderFiles::default() }, "max_tokens");
    let sentences = object(&json!({ "max_seq_length": 65 }));
    refused(EncoderFiles { sentences, ..EncoderFiles::default() }, "1 to 64");
    for (key, value, words) in [
        ("hidden_act", json!("gelu_new"), "gelu_new"),
        ("position_embedding_type", json!("relative_key"), "relative_key"),
        ("is_decoder", json!(true), "is_decoder"),
        ("num_attention_heads", json!(5), "5 heads"),
    ] {
        let mut config = config();
        config.insert(key.into(), value);
        let problem = from_config(&config).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }
}
