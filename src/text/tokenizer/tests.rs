use serde_json::Value;

use super::*;
use crate::testing::{shared, stories};

#[test]
fn real_prompts_become_the_golden_ids() {
    let golden = std::fs::read_to_string(shared("models/stories260k/golden.json")).unwrap();
    let golden: Vec<Value> = serde_json::from_str(&golden).unwrap();
    assert_eq!(golden.len(), 5);
    for file in ["stories260K-f32.gguf", "stories260K-q8_0.gguf", "hf"] {
        let tokenizer = stories(file);
        for entry in &golden {
            let ids: Vec<u32> = serde_json::from_value(entry["prompt_ids"].clone()).unwrap();
            let prompt = entry["prompt"].as_str().unwrap();
            assert_eq!(tokenizer.encode_prompt(prompt, Specials::AsText).unwrap(), ids, "{file}");
        }
    }
}
