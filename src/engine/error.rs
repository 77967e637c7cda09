//! What can go wrong with a model or a sequence, sorted by what the caller can do about it.

use std::sync::Arc;
use std::time::Duration;

/// Why a model did not load or a sequence did not start or ended early.
///
/// Cheap to clone: one failed load is told to everyone who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The model's files are broken or not supported.
    #[error(transparent)]
    Format(#[from] Arc<hearth_formats::Error>),
    /// The model's tokenizer or chat template cannot be used.
    #[error(transparent)]
    Text(#[from] Arc<hearth_text::Error>),
    /// The files are sound, but this engine cannot run the model.
    #[error("this model is not supported: {0}")]
    Unsupported(String),
    /// No device has room for the model.
    #[error("the model needs {need_bytes} bytes, {free_bytes} bytes are free")]
    TooBig { need_bytes: u64, free_bytes: u64 },
    /// As many models as may be loaded are loaded, and all of them are at work.
    #[error("{loaded} models are loaded and none of them is idle")]
    AllBusy { loaded: usize },
    /// The prompt leaves no room for an answer.
    #[error("the prompt has {prompt_tokens} tokens, the context holds {context_tokens}")]
    ContextFull { prompt_tokens: u32, context_tokens: u32 },
    /// The model's queue is full; by then those who wait now will have begun.
    #[error("the model's queue is full for about {} s", retry_after.as_secs())]
    Busy { retry_after: Duration },
    /// The caller has as many sequences waiting as it may; by then one of them will have begun.
    #[error("the caller's part of the model's queue is full for about {} s", retry_after.as_secs())]
    CallerBusy { retry_after: Duration },
    /// The request itself makes no sense.
    #[error("{0}")]
    InvalidRequest(String),
    /// The model computed something that is not a number; the sequence has ended.
    #[error("the model's output is not a number")]
    NotANumber,
    /// All tokens that the grammar allows are impossible for the model or forbidden by biases.
    #[error("no token is left that the grammar allows and the model can write")]
    GrammarStuck,
    /// Nobody took the sequence's events for too long; it has ended.
    #[error("the answer was not read for {seconds} s")]
    ReaderStalled { seconds: u64 },
    /// The model's thread has failed and is gone; loading the model again may help.
    #[error("the model failed: {0}")]
    ModelFailed(String),
    /// The model has been unloaded; get it from the pool again.
    #[error("the model was unloaded")]
    Unloaded,
    /// The setting is out of its range.
    #[error("setting `{key}`: {problem}")]
    Config { key: &'static str, problem: String },
    /// A device or file refused an operation while the model was loading.
    #[error("loading failed: {0}")]
    LoadFailed(String),
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<hearth_formats::Error> for Error {
    fn from(error: hearth_formats::Error) -> Error {
        Error::Format(Arc::new(error))
    }
}

impl From<hearth_text::Error> for Error {
    fn from(error: hearth_text::Error) -> Error {
        Error::Text(Arc::new(error))
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Error {
        Error::ModelFailed(error.to_string())
    }
}
