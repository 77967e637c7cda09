//! What can be typed after `hearth cache` and `hearth guards`.

use std::path::PathBuf;

use clap::Subcommand;

/// Commands about answers that are kept for whoever asks the same again.
#[derive(Debug, Subcommand)]
pub enum Cache {
    /// Show the rules and what is kept, as JSON.
    Show,
    /// Replace the rules by a JSON list in a file, as in
    /// [{"audience": {"group": "team", "models": ["gpt-*"]}, "max_age_s": 3600, "shared": true}].
    Set { file: PathBuf },
    /// Forget what is kept.
    Clear,
}

/// Commands about rules for what may go in and out of models.
#[derive(Debug, Subcommand)]
pub enum Guards {
    /// Show the rules and how often each found something, as JSON.
    Show,
    /// Replace the rules by a JSON list in a file, as in [{"name": "secrets", "on": "both",
    /// "find": {"known": ["api_key", "private_key"]}, "action": "mask"}].
    Set { file: PathBuf },
}
