//! How the families of byte-level BPE cut text before merging, by their names in GGUF files.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, Result};

/// What distinguishes one family from another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Applied one after the other; matches and what lies between them become pieces of their own.
    splits: &'static [&'static str],
    /// Characters are composed (NFC) first.
    pub(super) composes: bool,
    /// A piece that is a token as a whole is taken as that.
    pub(super) ignore_merges: bool,
    /// Whether a text begins with the token for that, unless the file says otherwise.
    pub(super) add_bos: bool,
}

// The expressions are part of the models' definition, as their makers' `tokenizer.json` have them.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_MARKS: &str = r"\s?[!-/:-~！-／：-～‘-‟　-。]+";
const DEEPSEEK_CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// The names of all families, for an error that lists them.
const NAMES: &str = "llama-bpe, llama3, qwen2, qwen35, gpt-2, phi-2, mpt, olmo, starcoder, refact, \
    command-r, smollm, falcon, falcon3, deepseek-llm, deepseek-coder, deepseek-v3, \
    deepseek-r1-qwen, tekken, gpt-4o, llama4, glm4, stablelm2, bloom, seed-coder, bailingmoe, \
    hunyuan, default";

impl Family {
    /// The family of a name as `tokenizer.ggml.pre` gives it.
    pub(super) fn find(name: &str) -> Result<Family> {
        let plain =
            |splits| Family { splits, composes: false, ignore_merges: false, add_bos: false };
        let composing = |splits| Family { composes: true, ..plain(splits) };
        let whole = |splits| Family { ignore_merges: true, ..plain(splits) };
        let begun = |splits| Family { add_bos: true, ..whole(splits) };
        Ok(match name {
            // What files have that were converted before families had names.
            "default" => plain(&[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"]),
            "gpt-2" | "phi-2" | "gigachat" | "mellum" | "jais" | "trillion" => plain(&[GPT2]),
            "mpt" | "olmo" | "modern-bert" => composing(&[GPT2]),
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "lfm2" => {
                begun(&[LLAMA3])
            }
            "dbrx" | "smaug-bpe" | "chatglm-bpe" => plain(&[LLAMA3]),
            "glm4" | "glm5" => whole(&[LLAMA3]),
            // Qwen's own tokenizer composes characters first; what others made of it does not.
            "qwen2" | "megrez" => composing(&[QWEN2]),
            "deepseek-r1-qwen" | "stablelm2" | "hunyuan" | "grok-2" | "solar-open" => {
                plain(&[QWEN2])
            }
            "qwen35" => plain(&[QWEN35]),
            "starcoder" | "refact" | "smollm" | "codeshell" | "exaone" | "minerva-7b" => {
                plain(&[r"\p{N}", GPT2])
            }
            "command-r" => composing(&[r"\p{N}", GPT2]),
            "falcon" => plain(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"]),
            "deepseek-llm" => plain(&[
                "[\r\n]",
                DEEPSEEK_LETTERS,
                DEEPSEEK_MARKS,
                r"\s+$",
                DEEPSEEK_CJK,
                r"\p{N}+",
            ]),
            "deepseek-coder" => {
                plain(&["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"])
            }
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" => {
                plain(&[r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK3])
            }
            "tekken" => begun(&[TEKKEN]),
            "gpt-4o" | "llama4" | "kanana2" | "minimax-m2" => plain(&[GPT4O]),
            "bloom" | "poro-chat" | "gpt3-finnish" => plain(&[BLOOM]),
            "viking" => plain(&[BLOOM, r"\p{N}"]),
            "seed-coder" => plain(&[SEED_CODER]),
            "bailingmoe" | "bailingmoe2" | "llada-moe" => plain(&[BAILING]),
            other => {
                let problem = format!(
                    "the pre-tokenizer `{}` is not supported; supported are {NAMES}",
                    other.escape_debug()
                );
                return Err(Error::Unsupported(problem));
            }
        })
    }

    /// The library's part that cuts text so and writes its bytes as letters.
    pub(super) fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper> {
        let splits = self.splits.iter().map(|expression| split(expression));
        let mut parts: Vec<PreTokenizerWrapper> = splits.collect::<Result<_>>()?;
        parts.push(ByteLevel::new(false, true, false).into());
        Ok(Sequence::new(parts).into())
    }
}

/// Cuts at the borders of every match.
pub(super) fn split(expression: &str) -> Result<PreTokenizerWrapper> {
    let pattern = SplitPattern::Regex(expression.to_string());
    Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
        .map(PreTokenizerWrapper::from)
        .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))
}
