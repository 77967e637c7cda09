//! The ways in which the cache can keep its numbers.

use hearth_formats::ModelFile;

use super::support::{
    Golden, answer, assert_all_pages_free, config, f32_gguf, goldens, greedy, load, placement,
    shared,
};
use crate::{EngineConfig, KvType};

fn kept_as(kv_type: KvType) -> EngineConfig {
    EngineConfig { kv_type, ..config() }
}

/// What models say whose logits no rounding of the cache should turn over.
fn clear() -> Vec<Golden> {
    let clear: Vec<Golden> = goldens().into_iter().filter(|one| one.min_margin > 0.05).collect();
    assert_eq!(clear.len(), 3);
    clear
}

#[test]
fn every_cache_says_the_same_where_the_margin_is_clear() {
    for kv_type in [KvType::F32, KvType::F16, KvType::Q8_0] {
        let model = load(&f32_gguf(), &kept_as(kv_type));
        for golden in clear() {
            let answer = answer(&model, greedy(&golden.prompt_ids, 64));
            assert_eq!(answer.text, golden.greedy_text, "{kv_type:?}, {}", golden.prompt);
        }
        assert_all_pages_free(&model);
    }
}

#[test]
fn a_quantised_model_and_its_cache_in_bytes_say_the_same_where_the_margin_is_clear() {
    let model = load(&shared("stories260K-q8_0.gguf"), &kept_as(KvType::Q8_0));
    for golden in clear() {
        let answer = answer(&model, greedy(&golden.prompt_ids, 16));
        assert_eq!(answer.ids(), golden.greedy_ids[..16], "{}", golden.prompt);
    }
}

#[test]
fn a_smaller_cache_is_counted_as_smaller() {
    let file = ModelFile::open(&f32_gguf()).expect("sound");
    let memory_bytes = |kv_type| {
        let placement = placement(&file, &kept_as(kv_type));
        assert_eq!(placement.pages, 8 * 512 / 16, "{kv_type:?}");
        placement.memory_bytes
    };
    let [auto, f32, f16, q8_0] =
        [KvType::Auto, KvType::F32, KvType::F16, KvType::Q8_0].map(memory_bytes);
    assert_eq!(auto, f32);
    // 8 sequences of 512 tokens in 5 layers of 4 heads; keys of 8 numbers, values filled up to 16,
    // and two scales.
    let numbers = 8 * 512 * 5 * 4 * 24;
    assert_eq!(f32 - f16, 2 * numbers);
    assert_eq!(f16 - q8_0, numbers - 8 * 512 * 5 * 4 * 4);
}
