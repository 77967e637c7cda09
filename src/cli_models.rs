//! What can be typed after `hearth models run`, `show` and `search`.

use clap::Args;

/// A conversation with a model.
#[derive(Debug, Args)]
pub struct Run {
    /// A model of the library; one that is not there is pulled.
    pub name: String,
    /// The question; without one, standard input, or a conversation on a terminal.
    pub prompt: Vec<String>,
    /// Print how long the answer took.
    #[arg(long)]
    pub verbose: bool,
    /// `json`, or a JSON schema that the answer must follow.
    #[arg(long, value_name = "json|SCHEMA")]
    pub format: Option<String>,
    /// How long the model stays loaded afterwards: 10m, 1h, 0, or -1 for ever.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub keepalive: Option<String>,
    /// Whether to think first: true, false, low, medium, high or max.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = ["true", "false", "low", "medium", "high", "max"])]
    pub think: Option<String>,
    /// Do not print what the model thinks.
    #[arg(long)]
    pub hidethinking: bool,
    /// Break lines at the terminal's edge instead of between words.
    #[arg(long)]
    pub nowordwrap: bool,
}

/// What is known of a model.
#[derive(Debug, Args)]
pub struct Show {
    pub name: String,
    #[command(flatten)]
    pub part: ShowPart,
    /// As JSON.
    #[arg(long, conflicts_with = "ShowPart")]
    pub json: bool,
}

/// One part alone, as it is written down.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct ShowPart {
    #[arg(long)]
    pub license: bool,
    #[arg(long)]
    pub modelfile: bool,
    #[arg(long)]
    pub parameters: bool,
    #[arg(long)]
    pub system: bool,
    #[arg(long)]
    pub template: bool,
}

/// What is said of a file at a plain address.
#[derive(Debug, Default, Args)]
pub struct PlainFile {
    /// What the model will be called; without it, as its file is.
    #[arg(long = "as", value_name = "NAME")]
    pub save_as: Option<String>,
    /// What the file must be.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
}

/// A search in the catalogue of well-known models.
#[derive(Debug, Args)]
pub struct Search {
    /// Words that all occur in what is found; without any, everything is listed.
    pub words: Vec<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}
