//! What can be typed after `hearth channels` and `hearth secrets`.

use clap::{Args, Subcommand};

/// Commands about providers elsewhere.
#[derive(Debug, Subcommand)]
pub enum Channels {
    /// Add a channel; without --models, the provider's own list is taken.
    Add(AddChannel),
    /// List all channels.
    #[command(alias = "ls")]
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one channel with its figures.
    Show { name: String },
    /// List the kinds of providers that are known.
    Types,
    /// Ask a channel for its models and for a word.
    Test {
        name: String,
        /// The model that is asked.
        #[arg(long)]
        model: Option<String>,
    },
    /// Take the provider's list of models again.
    Fetch { name: String },
    /// Change a channel.
    Set(SetChannel),
    /// Let requests go to a channel.
    Enable { name: String },
    /// Let no request go to a channel.
    Disable { name: String },
    /// Add a key, read from the first line of standard input.
    AddKey { name: String },
    /// Remove the key with this id; `show` lists them.
    RmKey { name: String, key: String },
    /// Remove a channel.
    Rm { name: String },
    /// List which models go where, and the policies of groups.
    Routes {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how requests for a model are answered.
    Route(SetRoute),
    /// Remove what `route` has said.
    Unroute { model: String },
    /// Say where requests of a group may go.
    GroupPolicy {
        group: String,
        /// local-only, prefer-local, prefer-remote, cheapest, fastest or weighted; `none` takes it
        /// away.
        policy: String,
    },
}

/// A new channel.
#[derive(Debug, Args)]
pub struct AddChannel {
    pub name: String,
    /// openai, anthropic, gemini, azure, ollama, vllm, openrouter, …; see `channels types`.
    #[arg(long = "type", value_name = "TYPE")]
    pub preset: String,
    /// Where it is, if the type does not say it.
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Read keys from standard input, a line each. Keys on a command line can be seen by others.
    #[arg(long)]
    pub key_stdin: bool,
    /// Models that it offers; `prefix*` stands for several.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Groups whose members may use it; without it, everybody.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// Channels of a higher number are asked first.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub priority: i32,
    /// Share of the requests among channels of one priority.
    #[arg(long, default_value_t = 1)]
    pub weight: u32,
    /// Hosts or networks that may be reached although their addresses are private; alone, the base
    /// URL's host.
    #[arg(long, value_name = "HOST|CIDR", num_args = 0..)]
    pub allow_private: Option<Vec<String>>,
}

/// A change of a channel.
#[derive(Debug, Args)]
pub struct SetChannel {
    pub name: String,
    /// What changes, as in {"priority": 5, "settings": {"limits": {"concurrent": 8}}}.
    pub change: String,
}

/// How requests for a model are answered.
#[derive(Debug, Args)]
pub struct SetRoute {
    /// A model, or a new name for others.
    pub model: String,
    /// local-only, prefer-local, prefer-remote, cheapest, fastest or weighted.
    #[arg(long)]
    pub policy: Option<String>,
    /// Who is asked, in order; `local=MODEL` is this machine.
    #[arg(long = "to", value_name = "[CHANNEL=]MODEL")]
    pub targets: Vec<String>,
    /// Longest wait on this machine before others are asked, in milliseconds.
    #[arg(long)]
    pub spill_wait_ms: Option<u64>,
    /// Models with longer contexts, for prompts that are too long.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub on_context_full: Vec<String>,
    /// Ask a second channel when the first takes unusually long to begin.
    #[arg(long)]
    pub hedge: bool,
}

/// Commands about the key under which secrets are sealed.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make a new master key and seal every secret under it.
    Rotate,
}
