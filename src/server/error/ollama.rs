//! What went wrong, in the words that Ollama's clients look for.

use hearth_gateway::Error;
use hearth_gateway::dialect::ollama::full_name;
use hearth_gateway::error::Feature;

/// The text of an error.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::NoModel(model) => format!("model '{model}' not found"),
        Error::Unsupported { model, feature, .. } => match feature {
            Feature::Chat => format!("{model:?} does not support chat"),
            Feature::Generate => format!("{model:?} does not support generate"),
            Feature::Thinking => format!("{model:?} does not support thinking"),
            Feature::Tools => format!("{} does not support tools", full_name(model)),
            Feature::Insert => format!("{} does not support insert", full_name(model)),
            Feature::Vision => format!("{} does not support vision", full_name(model)),
            Feature::Files => format!("{} does not support files", full_name(model)),
        },
        Error::ContextFull { prompt_tokens, context_tokens, .. } => format!(
            "the prompt is longer than the context length currently available to the model; \
             it has {prompt_tokens} tokens, the context {context_tokens}"
        ),
        Error::TooBig { need_bytes, free_bytes, .. } => format!(
            "model requires more system memory ({}) than is available ({})",
            gibibytes(*need_bytes),
            gibibytes(*free_bytes)
        ),
        // Two spaces: clients look for the text as Ollama writes it.
        Error::Overloaded { .. } => {
            "server busy, please try again.  maximum pending requests exceeded".to_owned()
        }
        Error::NotSignedIn => "unauthorized: no valid credential was given".to_owned(),
        Error::Internal(_) => {
            "the server had a fault; its log says more under this request's id".to_owned()
        }
        other => other.to_string(),
    }
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}
