//! What can go wrong between text and tokens.

/// Why a tokenizer or template cannot be built, or a text not be turned into tokens.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's own tokenizer is broken or inconsistent.
    #[error("the model's tokenizer is broken: {0}")]
    BrokenTokenizer(String),
    /// The model needs a kind of tokenizer that this program does not have.
    #[error("{0}")]
    Unsupported(String),
    /// The text is longer than any context could hold.
    #[error("the text has {bytes} bytes, the limit is {limit_bytes}")]
    TextTooLong { bytes: usize, limit_bytes: usize },
    /// The model's chat template does not parse.
    #[error("the model's chat template is broken: {0}")]
    BrokenTemplate(String),
    /// The chat template ran and refused these messages, or failed on them.
    #[error("the model's chat template refuses these messages: {0}")]
    TemplateRefused(String),
    /// The chat template used up its allowance of work or output.
    #[error("the model's chat template does too much work or writes too much text")]
    TemplateLimit,
    /// The grammar or schema cannot be compiled, or nothing is left that it admits.
    #[error("the grammar cannot be used: {0}")]
    Grammar(String),
    /// A message that cannot be written into any template safely.
    #[error("{0}")]
    BadMessage(String),
    /// The model file's metadata is wrong.
    #[error(transparent)]
    ModelFile(#[from] hearth_formats::Error),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
