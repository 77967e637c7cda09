//! Builds a tokenizer from the `tokenizer.ggml.*` keys of a GGUF file.

use std::collections::HashMap;

use hearth_formats::Error as FormatError;
use hearth_formats::gguf::Metadata;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, Result};
use crate::tokenizer::added::{AddedToken, AddedTokens};
use crate::tokenizer::byte_level;
use crate::tokenizer::pairs::{PairModel, PairParts};
use crate::tokenizer::scored::{Piece, SPACE_MARK, ScoredModel};
use crate::tokenizer::{Ends, Model, Token, Tokenizer};

/// What `tokenizer.ggml.token_type` says of a token (`enum llama_token_type`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// The part of the metadata that all kinds of tokenizer share.
struct Vocabulary<'a> {
    texts: &'a [String],
    kinds: Vec<Kind>,
}

// How text is cut before merging. The expressions are part of the models' definition.
const SPLIT_LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const SPLIT_QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer> {
    let vocabulary = Vocabulary::read(metadata)?;
    let kind = metadata.str("tokenizer.ggml.model")?.unwrap_or("");
    let (model, tokens, add_bos) = match kind {
        "llama" => (
            Model::Scored(scored(metadata, &vocabulary)?),
            vocabulary.sentencepiece_tokens()?,
            true,
        ),
        "gpt2" => {
            let variant = Variant::read(metadata)?;
            let model = PairModel::new(variant.parts(metadata, &vocabulary)?)?;
            let add_bos = variant == Variant::Llama3;
            (Model::Pairs(model), vocabulary.byte_level_tokens()?, add_bos)
        }
        other => {
            let problem = format!(
                "the tokenizer kind `{}` is not supported; supported are llama and gpt2",
                other.escape_debug()
            );
            return Err(Error::Unsupported(problem));
        }
    };
    let mut tokens = tokens;
    let mut ends = Ends {
        bos: id(metadata, "bos", tokens.len())?,
        eos: id(metadata, "eos", tokens.len())?,
        add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos),
        stop_ids: Vec::new(),
    };
    ends.stop_ids.extend(id(metadata, "eot", tokens.len())?);
    ends.stop_ids.extend(id(metadata, "eom", tokens.len())?);
    ends.settle(&mut tokens);
    Ok(Tokenizer {
        model,
        added: AddedTokens::new(vocabulary.added_tokens(&tokens))?,
        tokens,
        ends,
        chat_template: metadata.str("tokenizer.chat_template")?.map(str::to_string),
    })
}

/// The id under `tokenizer.ggml.{name}_token_id`.
fn id(metadata: &Metadata, name: &str, tokens: usize) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    // Converters write −1, as a signed or an unsigned number, for "none".
    if matches!(metadata.get(&key), Some(hearth_formats::gguf::Value::Signed(-1))) {
        return Ok(None);
    }
    let id = metadata.u32(&key)?.filter(|&id| id != u32::MAX);
    match id {
        Some(id) if id as usize >= tokens => Err(broken(&key, "is beyond the vocabulary")),
        id => Ok(id),
    }
}

fn broken(key: &str, problem: &str) -> Error {
    FormatError::Key { key: key.to_string(), problem: problem.to_string() }.into()
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Vocabulary<'a>> {
        let texts = metadata
            .strings("tokenizer.ggml.tokens")?
            .filter(|texts| !texts.is_empty())
            .ok_or_else(|| broken("tokenizer.ggml.tokens", "is missing"))?;
        let key = "tokenizer.ggml.token_type";
        let kinds = match metadata.i32s(key)? {
            None => vec![Kind::Normal; texts.len()],
            Some(kinds) => kinds.into_iter().map(Kind::from_number).collect(),
        };
        if kinds.len() != texts.len() {
            return Err(broken(key, "is not as long as the list of tokens"));
        }
        Ok(Vocabulary { texts, kinds })
    }

    fn rows(&self) -> impl Iterator<Item = (u32, &'a String, Kind)> {
        (0u32..).zip(self.texts.iter().zip(&self.kinds)).map(|(id, (text, &kind))| (id, text, kind))
    }

    /// Every ordinary token's id; of twins the first, as in the reference readers.
    fn ordinary(&self) -> HashMap<String, u32> {
        let mut vocab = HashMap::new();
        for (id, text, kind) in self.rows() {
            if kind == Kind::Normal {
                vocab.entry(text.clone()).or_insert(id);
            }
        }
        vocab
    }

    fn sentencepiece_tokens(&self) -> Result<Vec<Token>> {
        self.rows()
            .map(|(_, text, kind)| {
                let bytes = match kind {
                    Kind::Byte => vec![byte_value(text)?],
                    Kind::Control | Kind::Unknown => text.clone().into_bytes(),
                    _ => text.replace(SPACE_MARK, " ").into_bytes(),
                };
                Ok(Token { bytes, control: kind.steers() })
            })
            .collect()
    }

    fn byte_level_tokens(&self) -> Result<Vec<Token>> {
        let token = |(_, text, kind): (u32, &String, Kind)| {
            let plain = || text.clone().into_bytes();
            let bytes = match kind {
                Kind::Normal => byte_level::bytes(text).unwrap_or_else(plain),
                _ => plain(),
            };
            Token { bytes, control: kind.steers() }
        };
        Ok(self.rows().map(token).collect())
    }

    /// The tokens that are looked for as whole texts. `tokens` has the last word on what steers.
    fn added_tokens(&self, tokens: &[Token]) -> Vec<AddedToken> {
        self.rows()
            .filter(|&(id, _, kind)| kind == Kind::UserDefined || tokens[id as usize].control)
            .filter(|&(_, _, kind)| kind != Kind::Byte && kind != Kind::Unused)
            .map(|(id, text, _)| AddedToken {
                id,
                text: text.clone(),
                control: tokens[id as usize].control,
                ..AddedToken::default()
            })
            .collect()
    }
}

impl Kind {
    fn from_number(number: i32) -> Kind {
        match number {
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => Kind::Normal,
        }
    }

    fn steers(self) -> bool {
        matches!(self, Kind::Control | Kind::Unknown)
    }
}

fn scored(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<ScoredModel> {
    let key = "tokenizer.ggml.scores";
    let scores = metadata.f32s(key)?.ok_or_else(|| broken(key, "is missing"))?;
    if scores.len() != vocabulary.texts.len() || scores.iter().any(|score| score.is_nan()) {
        return Err(broken(key, "must hold one number for each token"));
    }
    let mut bytes = vec![None; 256];
    let mut pieces = HashMap::new();
    for ((id, text, kind), score) in vocabulary.rows().zip(scores) {
        match kind {
            Kind::Normal if !text.is_empty() => {
                pieces.entry(text.clone()).or_insert(Piece { id, score });
            }
            Kind::Byte => bytes[usize::from(byte_value(text)?)] = Some(id),
            _ => {}
        }
    }
    Ok(ScoredModel {
        pieces,
        bytes,
        unknown: id(metadata, "unknown", vocabulary.texts.len())?,
        add_space_prefix: metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
    })
}

/// The byte that a token such as `<0x0A>` stands for.
pub(super) fn byte_value(text: &str) -> Result<u8> {
    text.strip_prefix("<0x")
        .and_then(|text| text.strip_suffix('>'))
        .filter(|digits| digits.len() == 2)
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .ok_or_else(|| {
            let text = text.escape_debug();
            Error::BrokenTokenizer(format!("the byte token `{text}` is not of the form <0x0A>"))
        })
}

/// The families of byte-level BPE that differ in how text is cut before merging.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Gpt2,
    Llama3,
    Qwen2,
}

impl Variant {
    fn read(metadata: &Metadata) -> Result<Variant> {
        match metadata.str("tokenizer.ggml.pre")?.unwrap_or("default") {
            "gpt-2" | "default" => Ok(Variant::Gpt2),
            "llama-bpe" | "llama3" | "llama-v3" => Ok(Variant::Llama3),
            "qwen2" => Ok(Variant::Qwen2),
            other => Err(Error::Unsupported(format!(
                "the pre-tokenizer `{}` is not supported; supported are llama-bpe, qwen2, gpt-2",
                other.escape_debug()
            ))),
        }
    }

    fn parts(self, metadata: &Metadata, vocabulary: &Vocabulary) -> Result<PairParts> {
        let key = "tokenizer.ggml.merges";
        let merges = metadata.strings(key)?.ok_or_else(|| broken(key, "is missing"))?;
        let merges = merges
            .iter()
            .map(|merge| merge.split_once(' ').map(|(a, b)| (a.to_string(), b.to_string())))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| broken(key, "holds an entry that is not two tokens"))?;
        Ok(PairParts {
            vocab: vocabulary.ordinary(),
            merges,
            // Qwen's own tokenizer composes characters first.
            normalizer: (self == Variant::Qwen2)
                .then(|| tokenizers::normalizers::unicode::NFC.into()),
            pre_tokenizer: Some(self.pre_tokenizer()?),
            ignore_merges: self == Variant::Llama3,
            ..PairParts::default()
        })
    }

    fn pre_tokenizer(self) -> Result<PreTokenizerWrapper> {
        let expression = match self {
            // The expression of GPT-2 is built into the library.
            Variant::Gpt2 => return Ok(ByteLevel::new(false, true, true).into()),
            Variant::Llama3 => SPLIT_LLAMA3,
            Variant::Qwen2 => SPLIT_QWEN2,
        };
        let split = Split::new(
            SplitPattern::Regex(expression.to_string()),
            SplitDelimiterBehavior::Isolated,
            false,
        )
        .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
        let bytes = ByteLevel::new(false, true, false);
        Ok(Sequence::new(vec![split.into(), bytes.into()]).into())
    }
}
