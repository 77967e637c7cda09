//! What a vocabulary gives away where nobody has written it down: how a chat is put into words for
//! the model, and whether it fills gaps in a text.
//!
//! A model without a chat template is one of two: trained to continue texts alone, or trained to
//! chat and stripped of its template, as files from before 2024 are. It counts as the second only
//! if its vocabulary has a family's marks *and* it ends its turns as that family does or is named
//! so.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::gguf::Metadata;
use crate::model_file::{HuggingFaceTexts, TokenizerSource};

/// A known way of writing a chat down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatFamily {
    /// What people call it.
    pub name: &'static str,
    /// In Jinja.
    pub template: &'static str,
}

/// By what a family is known.
struct Signs {
    family: ChatFamily,
    /// All of these are tokens.
    marks: &'static [&'static str],
    /// One of these ends the model's turns.
    ends: &'static [&'static str],
    /// The model's name has one word of each list.
    words: &'static [&'static [&'static str]],
}

/// What models that chat have in their names.
const CHATS: &[&str] = &["instruct", "chat", "-it", "assistant"];

/// The special before the general: many vocabularies have ChatML's marks besides their own.
const FAMILIES: [Signs; 10] = [
    Signs {
        family: ChatFamily { name: "deepseek", template: DEEPSEEK },
        marks: &["<｜User｜>", "<｜Assistant｜>"],
        ends: &["<｜end▁of▁sentence｜>"],
        words: &[CHATS],
    },
    Signs {
        family: ChatFamily { name: "phi-4", template: PHI4 },
        marks: &["<|im_start|>", "<|im_sep|>", "<|im_end|>"],
        ends: &["<|im_end|>"],
        words: &[CHATS],
    },
    Signs {
        family: ChatFamily { name: "llama3-instruct", template: LLAMA3 },
        marks: &["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        ends: &["<|eot_id|>"],
        words: &[CHATS],
    },
    Signs {
        family: ChatFamily { name: "gemma-instruct", template: GEMMA },
        marks: &["<start_of_turn>", "<end_of_turn>"],
        ends: &["<end_of_turn>"],
        words: &[CHATS],
    },
    Signs {
        family: ChatFamily { name: "phi-3", template: PHI3 },
        marks: &["<|user|>", "<|assistant|>", "<|end|>"],
        ends: &["<|end|>"],
        words: &[CHATS],
    },
    Signs {
        family: ChatFamily { name: "chatml", template: CHATML },
        marks: &["<|im_start|>", "<|im_end|>"],
        ends: &["<|im_end|>"],
        words: &[CHATS],
    },
    // These have no marks of their own; their names alone tell.
    Signs {
        family: ChatFamily { name: "zephyr", template: ZEPHYR },
        marks: &["</s>"],
        ends: &[],
        words: &[&["zephyr", "tinyllama"], &["zephyr", "chat"]],
    },
    Signs {
        family: ChatFamily { name: "mistral-instruct", template: MISTRAL },
        marks: &["</s>"],
        ends: &[],
        words: &[&["mistral", "codestral", "ministral"], CHATS],
    },
    Signs {
        family: ChatFamily { name: "llama2-chat", template: LLAMA2 },
        marks: &["</s>"],
        ends: &[],
        words: &[&["llama-2", "llama 2", "llama2", "codellama"], CHATS],
    },
    Signs {
        family: ChatFamily { name: "vicuna", template: VICUNA },
        marks: &["</s>"],
        ends: &[],
        words: &[&["vicuna"]],
    },
];

const CHATML: &str = r"{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
const PHI4: &str = r"{% for message in messages %}{{ '<|im_start|>' ~ message.role ~ '<|im_sep|>' ~ message.content ~ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}";
const LLAMA3: &str = r"{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' ~ message.content | trim ~ '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
const PHI3: &str = r"{% for message in messages %}{{ '<|' ~ message.role ~ '|>\n' ~ message.content ~ '<|end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";
const ZEPHYR: &str = r"{% for message in messages %}{{ '<|' ~ message.role ~ '|>\n' ~ message.content ~ eos_token ~ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";
// Where no role is the system's, what it says goes before the next question.
const GEMMA: &str = r"{{ bos_token }}{% set ns = namespace(lead='') %}{% for message in messages %}{% if message.role == 'system' %}{% set ns.lead = message.content ~ '\n\n' %}{% else %}{{ '<start_of_turn>' ~ ('model' if message.role == 'assistant' else message.role) ~ '\n' ~ ns.lead ~ message.content | trim ~ '<end_of_turn>\n' }}{% set ns.lead = '' %}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";
const MISTRAL: &str = r"{{ bos_token }}{% set ns = namespace(lead='') %}{% for message in messages %}{% if message.role == 'system' %}{% set ns.lead = message.content ~ '\n\n' %}{% elif message.role == 'assistant' %}{{ ' ' ~ message.content ~ eos_token }}{% else %}{{ '[INST] ' ~ ns.lead ~ message.content ~ ' [/INST]' }}{% set ns.lead = '' %}{% endif %}{% endfor %}";
const LLAMA2: &str = r"{% set ns = namespace(lead='') %}{% for message in messages %}{% if message.role == 'system' %}{% set ns.lead = '<<SYS>>\n' ~ message.content ~ '\n<</SYS>>\n\n' %}{% elif message.role == 'assistant' %}{{ ' ' ~ message.content ~ ' ' ~ eos_token }}{% else %}{{ bos_token ~ '[INST] ' ~ ns.lead ~ message.content ~ ' [/INST]' }}{% set ns.lead = '' %}{% endif %}{% endfor %}";
const DEEPSEEK: &str = r"{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}{% elif message.role == 'assistant' %}{{ '<｜Assistant｜>' ~ message.content ~ eos_token }}{% else %}{{ '<｜User｜>' ~ message.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}";
const VICUNA: &str = r"{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content ~ '\n\n' }}{% elif message.role == 'assistant' %}{{ 'ASSISTANT: ' ~ message.content ~ eos_token ~ '\n' }}{% else %}{{ 'USER: ' ~ message.content ~ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}";

/// The control tokens that stand before the text in front of a gap, before the one behind it, and
/// where the gap's text begins, in the families that do not name them in their metadata.
pub const GAP_MARKS: [[&str; 3]; 6] = [
    // qwen 2.5 and 3, codegemma
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    // starcoder
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    // granite
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    // deepseek: begin, hole, end
    ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],
    // codellama
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
    // glm
    ["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"],
];

/// Names under which GGUF files have the three, newer and older.
const GAP_KEYS: [[&str; 2]; 3] =
    [["fim_pre", "prefix"], ["fim_suf", "suffix"], ["fim_mid", "middle"]];
/// `LLAMA_TOKEN_TYPE_CONTROL`
const CONTROL: i32 = 3;

/// What is read of a `tokenizer.json` here.
#[derive(Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct AddedToken {
    content: String,
    #[serde(default)]
    special: bool,
}

/// Whether the vocabulary has what a text with a gap is written with.
pub fn fills_gaps(source: &TokenizerSource) -> bool {
    let has_all = |has: &dyn Fn(&str) -> bool| {
        GAP_MARKS.iter().any(|marks| marks.iter().all(|mark| has(mark)))
    };
    match source {
        TokenizerSource::Gguf(metadata) => {
            let named =
                |name: &&str| metadata.get(&format!("tokenizer.ggml.{name}_token_id")).is_some();
            let tokens =
                metadata.strings("tokenizer.ggml.tokens").ok().flatten().unwrap_or_default();
            let kinds =
                metadata.i32s("tokenizer.ggml.token_type").ok().flatten().unwrap_or_default();
            let marks: Vec<&str> = (tokens.iter().zip(kinds))
                .filter(|(_, kind)| *kind == CONTROL)
                .map(|(token, _)| token.as_str())
                .collect();
            GAP_KEYS.iter().all(|names| names.iter().any(named))
                || has_all(&|mark| marks.contains(&mark))
        }
        TokenizerSource::HuggingFace(texts) => {
            let Ok(AddedTokens { added_tokens }) = serde_json::from_str(&texts.tokenizer) else {
                return false;
            };
            let is_mark = |mark: &str, token: &AddedToken| token.special && token.content == mark;
            has_all(&|mark| added_tokens.iter().any(|token| is_mark(mark, token)))
        }
    }
}

impl ChatFamily {
    /// The family of a model that has no template of its own; `None` where nothing points at one.
    pub fn of(source: &TokenizerSource) -> Option<ChatFamily> {
        match source {
            TokenizerSource::Gguf(metadata) => ChatFamily::of_gguf(metadata),
            TokenizerSource::HuggingFace(texts) => ChatFamily::of_folder(texts),
        }
    }

    /// The same of a GGUF file. Values of wrong types are passed over: whoever needs them says so.
    pub fn of_gguf(metadata: &Metadata) -> Option<ChatFamily> {
        let tokens = metadata.strings("tokenizer.ggml.tokens").ok().flatten()?;
        let end = |name: &str| {
            let id = metadata.u64(&format!("tokenizer.ggml.{name}_token_id")).ok().flatten()?;
            tokens.get(usize::try_from(id).ok()?).map(String::as_str)
        };
        let ends: Vec<&str> = ["eos", "eot"].into_iter().filter_map(end).collect();
        let said = |key: &str| metadata.str(key).ok().flatten().unwrap_or_default().to_lowercase();
        let name = ["general.name", "general.basename", "general.finetune"].map(said).join(" ");
        find(|mark| tokens.iter().any(|token| token == mark), &ends, &name)
    }

    /// The same of a folder.
    pub fn of_folder(texts: &HuggingFaceTexts) -> Option<ChatFamily> {
        let end = texts.tokenizer_config.get("eos_token");
        let end = end.and_then(|end| end.as_str().or_else(|| end.get("content")?.as_str()));
        let ends: Vec<&str> = end.into_iter().collect();
        let has = |mark: &str| texts.tokenizer.contains(&Json::from(mark).to_string());
        find(has, &ends, "")
    }
}

fn find(has: impl Fn(&str) -> bool, ends: &[&str], name: &str) -> Option<ChatFamily> {
    let fits = |signs: &&Signs| {
        let is_named =
            || signs.words.iter().all(|list| list.iter().any(|word| name.contains(word)));
        let ends_so = signs.ends.iter().any(|end| ends.contains(end));
        (ends_so || is_named()) && signs.marks.iter().all(|mark| has(mark))
    };
    FAMILIES.iter().find(fits).map(|signs| signs.family)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tokens: &[&str], end: &str, name: &str) -> Option<&'static str> {
        let has = |mark: &str| tokens.contains(&mark);
        find(has, &[end], name).map(|family| family.name)
    }

    #[test]
    fn a_vocabulary_and_an_end_or_a_name_tell_the_family() {
        let chatml = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
        assert_eq!(named(&chatml, "<|im_end|>", ""), Some("chatml"));
        assert_eq!(named(&chatml, "<|endoftext|>", "qwen2.5 7b instruct"), Some("chatml"));
        let phi4 = ["<|im_start|>", "<|im_end|>", "<|im_sep|>"];
        assert_eq!(named(&phi4, "<|im_end|>", ""), Some("phi-4"));
        let distilled = ["<|im_start|>", "<|im_end|>", "<｜User｜>", "<｜Assistant｜>"];
        assert_eq!(named(&distilled, "<｜end▁of▁sentence｜>", ""), Some("deepseek"));
        let llama = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
        assert_eq!(named(&llama, "<|eot_id|>", ""), Some("llama3-instruct"));
        let old = ["<s>", "</s>"];
        assert_eq!(
            named(&old, "</s>", "mistralai_mistral-7b-instruct-v0.2"),
            Some("mistral-instruct")
        );
        assert_eq!(named(&old, "</s>", "llama-2-7b-chat"), Some("llama2-chat"));
        assert_eq!(named(&old, "</s>", "tinyllama-1.1b-chat"), Some("zephyr"));
    }

    #[test]
    fn marks_of_a_gap_count_where_they_are_control_tokens() {
        let folder = |special: bool| {
            let added: Vec<Json> = GAP_MARKS[0]
                .iter()
                .map(|mark| serde_json::json!({ "id": 1, "content": mark, "special": special }))
                .collect();
            let tokenizer = serde_json::json!({ "added_tokens": added, "model": {} }).to_string();
            TokenizerSource::HuggingFace(HuggingFaceTexts { tokenizer, ..Default::default() })
        };
        assert!(fills_gaps(&folder(true)) && !fills_gaps(&folder(false)));
        let mut metadata = Metadata::default();
        for name in ["fim_pre", "suffix", "fim_mid"] {
            assert!(!fills_gaps(&TokenizerSource::Gguf(metadata.clone())));
            let key = format!("tokenizer.ggml.{name}_token_id");
            metadata.insert(key, crate::gguf::Value::Unsigned(1)).unwrap();
        }
        assert!(fills_gaps(&TokenizerSource::Gguf(metadata)));
    }

    #[test]
    fn a_model_that_only_continues_texts_gets_no_family() {
        let llama = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
        assert_eq!(named(&llama, "<|end_of_text|>", "meta llama 3 8b"), None);
        assert_eq!(named(&["<s>", "</s>"], "</s>", "llama-2-7b"), None);
        assert_eq!(named(&["<|im_start|>", "<|im_end|>"], "<|endoftext|>", "qwen2.5 7b"), None);
        assert_eq!(named(&["</s>"], "", "stories260k"), None);
    }
}
