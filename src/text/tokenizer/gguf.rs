//! Builds a tokenizer from the `tokenizer.ggml.*` keys of a GGUF file.

mod families;
mod unigram;

use std::collections::HashMap;
use std::sync::OnceLock;

use hearth_formats::gguf::Metadata;
use hearth_formats::{ChatFamily, Error as FormatError};
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use crate::error::{Error, Result};
use crate::tokenizer::added::{AddedToken, AddedTokens};
use crate::tokenizer::byte_level;
use crate::tokenizer::infill::Infill;
use crate::tokenizer::pairs::{PairModel, PairParts};
use crate::tokenizer::scored::{Piece, SPACE_MARK, ScoredModel};
use crate::tokenizer::unigram::UnigramModel;
use crate::tokenizer::words::{WordModel, WordParts};
use crate::tokenizer::{Ends, Model, Token, Tokenizer};
use families::Family;

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
            let family = Family::find(metadata.str("tokenizer.ggml.pre")?.unwrap_or("default"))?;
            let model = PairModel::new(byte_level_parts(&family, metadata, &vocabulary)?)?;
            (Model::Pairs(model), vocabulary.byte_level_tokens()?, family.add_bos)
        }
        "gemma4" => {
            let model = PairModel::new(spelled_parts(metadata, &vocabulary)?)?;
            (Model::Pairs(model), vocabulary.sentencepiece_tokens()?, true)
        }
        "bert" => {
            let model = WordModel::new(word_parts(metadata, &vocabulary)?)?;
            (Model::Words(model), vocabulary.sentencepiece_tokens()?, true)
        }
        "t5" => {
            let model = UnigramModel::new(unigram::parts(metadata, &vocabulary)?)?;
            (Model::Unigram(model), vocabulary.sentencepiece_tokens()?, true)
        }
        other => {
            let problem = format!(
                "the tokenizer kind `{}` is not supported; supported are llama, gpt2, gemma4, \
                 bert, t5",
                other.escape_debug()
            );
            return Err(Error::Unsupported(problem));
        }
    };
    let mut tokens = tokens;
    let mut ends = Ends {
        bos: first(metadata, &["bos", "cls"], tokens.len())?,
        eos: id(metadata, "eos", tokens.len())?,
        add_bos: metadata.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos),
        stop_ids: Vec::new(),
        separator: match model {
            // The first spelling is what most files have.
            Model::Words(_) | Model::Unigram(_) => {
                first(metadata, &["seperator", "separator", "eos"], tokens.len())?
            }
            Model::Scored(_) | Model::Pairs(_) => None,
        },
        doubles_separator: matches!(model, Model::Unigram(_)),
    };
    ends.stop_ids.extend(id(metadata, "eot", tokens.len())?);
    ends.stop_ids.extend(id(metadata, "eom", tokens.len())?);
    ends.settle(&mut tokens);
    let added = AddedTokens::new(vocabulary.added_tokens(&tokens))?;
    let said = |names: &[&str]| first(metadata, names, tokens.len());
    let infill = Infill::find(
        [
            said(&["fim_pre", "prefix"])?,
            said(&["fim_suf", "suffix"])?,
            said(&["fim_mid", "middle"])?,
        ],
        &added,
    );
    Ok(Tokenizer {
        model,
        added,
        tokens,
        ends,
        infill,
        chat_template: chat_template(metadata)?,
        grammars: OnceLock::new(),
    })
}

/// The model's own template, or its family's.
fn chat_template(metadata: &Metadata) -> Result<Option<String>> {
    let own = metadata.str("tokenizer.chat_template")?;
    let family = || ChatFamily::of_gguf(metadata).map(|family| family.template);
    Ok(own.or_else(family).map(str::to_string))
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

/// The first id among several names.
fn first(metadata: &Metadata, names: &[&str], tokens: usize) -> Result<Option<u32>> {
    for name in names {
        if let Some(id) = id(metadata, name, tokens)? {
            return Ok(Some(id));
        }
    }
    Ok(None)
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

    /// The ids of all tokens of one kind.
    fn of_kind(&self, wanted: Kind) -> impl Iterator<Item = (String, u32)> {
        self.rows()
            .filter(move |&(_, _, kind)| kind == wanted)
            .map(|(id, text, _)| (text.clone(), id))
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

/// The parts of a byte-level BPE.
fn byte_level_parts(
    family: &Family,
    metadata: &Metadata,
    vocabulary: &Vocabulary,
) -> Result<PairParts> {
    Ok(PairParts {
        vocab: vocabulary.ordinary(),
        merges: merges(metadata)?,
        normalizer: family.composes.then(|| NFC.into()),
        pre_tokenizer: Some(family.pre_tokenizer()?),
        ignore_merges: family.ignore_merges,
        ..PairParts::default()
    })
}

/// The parts of a BPE over the letters themselves, as gemma 4 has it: spaces are marked, and what
/// the vocabulary lacks is spelled in bytes.
fn spelled_parts(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<PairParts> {
    let mark = Replace::new(" ", SPACE_MARK.to_string())
        .map_err(|problem| Error::BrokenTokenizer(problem.to_string()))?;
    let mut vocab = vocabulary.ordinary();
    vocab.extend(vocabulary.of_kind(Kind::Byte));
    Ok(PairParts {
        vocab,
        merges: merges(metadata)?,
        normalizer: Some(mark.into()),
        pre_tokenizer: Some(families::split(r"[^\n]+|\n+")?),
        byte_fallback: true,
        ..PairParts::default()
    })
}

/// The parts of a WordPiece. Files mark where words begin; the library wants to see where they go
/// on.
fn word_parts(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<WordParts> {
    let unknown = id(metadata, "unknown", vocabulary.texts.len())?;
    let unknown = unknown.map_or("[UNK]", |id| vocabulary.texts[id as usize].as_str());
    let mut vocab = HashMap::new();
    for (id, text, kind) in vocabulary.rows() {
        let text = match text.strip_prefix(SPACE_MARK) {
            _ if text == unknown => text.clone(),
            _ if kind != Kind::Normal => continue,
            Some(word) => word.to_string(),
            None => format!("##{text}"),
        };
        vocab.entry(text).or_insert(id);
    }
    let flag = |name: &str| metadata.bool(&format!("tokenizer.ggml.normalizer.{name}"));
    let lowercase = flag("lowercase")?.unwrap_or(true);
    let strip_accents = flag("strip_accents")?.unwrap_or(lowercase);
    Ok(WordParts {
        vocab,
        prefix: "##".into(),
        unknown: unknown.into(),
        max_word_chars: 100,
        normalizer: Some(BertNormalizer::new(true, true, Some(strip_accents), lowercase).into()),
        pre_tokenizer: Some(BertPreTokenizer.into()),
    })
}

/// The pairs of tokens that are joined, the most important first.
fn merges(metadata: &Metadata) -> Result<Vec<(String, String)>> {
    let key = "tokenizer.ggml.merges";
    let merges = metadata.strings(key)?.ok_or_else(|| broken(key, "is missing"))?;
    // A token may begin with a space, and then so does its merge.
    let cut = |merge: &String| {
        let first = merge.chars().next()?.len_utf8();
        let at = merge[first..].find(' ')? + first;
        Some((merge[..at].to_string(), merge[at + 1..].to_string()))
    };
    merges
        .iter()
        .map(cut)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| broken(key, "holds an entry that is not two tokens"))
}
