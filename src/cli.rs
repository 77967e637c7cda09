//! The command line: what can be typed, and nothing of what it does.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::cli_channels::{AddChannel, Channels, Secrets, SetChannel, SetRoute};
pub use crate::cli_launch::{Launch, Tool};
pub use crate::cli_models::{PlainFile, Run, Search, Show, ShowPart};
use crate::cli_money::parse_quota;
pub use crate::cli_money::{Prices, Quota};
pub use crate::cli_people::{Audit, Groups, Import, Invites};
pub use crate::cli_rules::{Cache, Guards};
pub use crate::cli_usage::Usage;

/// Hearth turns this machine into a private LLM platform.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub target: Target,
    #[command(subcommand)]
    pub command: Command,
}

/// Which Hearth a command works on.
#[derive(Debug, Args)]
pub struct Target {
    /// Data directory [default: ./data]. If a server runs on it, the command goes through it.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Settings file; config/hearth.toml in the source shows all of them.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Work on a remote server instead of a data directory.
    #[arg(long, global = true, value_name = "URL", requires = "token")]
    pub server: Option<String>,
    /// API token of an admin, for --server.
    #[arg(long, global = true, value_name = "TOKEN", requires = "server")]
    pub token: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the API and the web app until SIGTERM or Ctrl+C.
    Serve {
        /// Address and port [default: 127.0.0.1:3000].
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<SocketAddr>,
    },
    /// Add, list, disable and enable people.
    #[command(subcommand)]
    Users(Users),
    /// Create, list and revoke API tokens.
    #[command(subcommand)]
    Tokens(Tokens),
    /// Put people into groups, which say what they may use and how much.
    #[command(subcommand)]
    Groups(Groups),
    /// Let people make their own accounts.
    #[command(subcommand)]
    Invites(Invites),
    /// See who did what, and that nobody changed that log.
    #[command(subcommand)]
    Audit(Audit),
    /// Bring in what another product has.
    #[command(subcommand)]
    Import(Import),
    /// Say what people, groups and API tokens may spend, and how fast.
    #[command(subcommand)]
    Quota(Quota),
    /// Say what models cost.
    #[command(subcommand)]
    Prices(Prices),
    /// Show what requests used, or sum it up.
    Usage(Usage),
    /// Check that the database, the ledger and the files are sound.
    Doctor,
    /// Import, list, run and remove models.
    #[command(subcommand)]
    Models(Models),
    /// Add, test and list providers elsewhere, and say which requests go there.
    #[command(subcommand)]
    Channels(Channels),
    /// Keep answers for whoever asks the same again.
    #[command(subcommand)]
    Cache(Cache),
    /// Block or mask secrets, personal data and words.
    #[command(subcommand)]
    Guards(Guards),
    /// Change the key under which secrets are sealed.
    #[command(subcommand)]
    Secrets(Secrets),
    /// Measure what this machine can do with a model.
    Bench(Bench),
    /// Point a coding tool at this server, or put its settings back.
    Launch(Launch),
    /// Print every HTTP route and who may call it.
    Routes {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Commands about people.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Add a person.
    Add {
        name: String,
        #[arg(long, value_enum, default_value_t = Role::User)]
        role: Role,
        /// Read the password from the first line of standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all people.
    List,
    /// End a person's sessions and refuse their tokens.
    Disable { name: String },
    /// Undo `disable`.
    Enable { name: String },
    /// Give a person another role.
    Role {
        name: String,
        #[arg(value_enum)]
        role: Role,
    },
    /// Remove a person with all that is theirs.
    Rm { name: String },
    /// Write all people as CSV to standard output.
    Export,
    /// Add the people of a CSV file, all or none; its columns are those of `export` and password.
    Import {
        file: PathBuf,
        /// Only check the file.
        #[arg(long)]
        dry_run: bool,
    },
    /// Set a new password and end the person's sessions.
    Password {
        name: String,
        /// Read the password from the first line of standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
}

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    User,
    Admin,
    /// An admin whom other admins cannot change.
    Owner,
}

/// Commands about API tokens.
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Create a token; it is printed once and cannot be shown again.
    Create {
        /// Whose token it is.
        #[arg(long, value_name = "NAME")]
        user: String,
        /// What it is for.
        #[arg(long, default_value = "cli")]
        name: String,
        /// Dollars that it may spend; without it or with `unlimited`, as many as its owner.
        #[arg(long, value_name = "USD|unlimited", value_parser = parse_quota)]
        quota: Option<String>,
        /// How long it is valid: 12h, 30d, 1y. Without it, until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
        expires: Option<u64>,
        /// Models it may use; `prefix*` allows several.
        #[arg(long, value_name = "A,B", value_delimiter = ',')]
        models: Vec<String>,
        /// Addresses it may be used from.
        #[arg(long, value_name = "CIDR,…", value_delimiter = ',')]
        allow_ips: Vec<String>,
    },
    /// List all tokens, without their secrets.
    List,
    /// Revoke the token with this id, at once.
    Revoke { id: i64 },
    /// Refuse the token with this id until it is enabled.
    Disable { id: i64 },
    /// Undo `disable`.
    Enable { id: i64 },
    /// Print a new secret for the token with this id.
    Rotate {
        id: i64,
        /// How long the old secret works too: 1h, 1d.
        #[arg(long, value_name = "TIME", value_parser = parse_lifetime)]
        overlap: Option<u64>,
    },
}

/// Commands about models.
#[derive(Debug, Subcommand)]
pub enum Models {
    /// Bring a GGUF file, a Hugging Face folder or an exported model into the library.
    Import {
        /// FILE.gguf, a folder with config.json and .safetensors files, or FILE.tar of `export`.
        #[arg(required_unless_present = "ollama", requires = "name")]
        path: Option<PathBuf>,
        #[arg(long)]
        name: Option<String>,
        /// Share every model of Ollama's folder instead, without copying: ~/.ollama/models.
        #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "name"])]
        ollama: Option<PathBuf>,
    },
    /// Write a model to one file, for a machine without a network.
    Export { name: String, file: PathBuf },
    /// Hash the files of one model, or of all, anew.
    Verify { name: Option<String> },
    /// Delete files that no model uses.
    Gc,
    /// Get a model from a registry or from Hugging Face; Ctrl+C cancels it, the next try goes on.
    Pull {
        /// qwen3:0.6b, hf.co/ORG/REPO:Q4_K_M, HOST/NAMESPACE/MODEL:TAG, or
        /// https://HOST/PATH/MODEL.gguf.
        name: String,
        #[command(flatten)]
        file: PlainFile,
        /// Let the server go on alone, also after a restart; see `models pulls`.
        #[arg(long)]
        detach: bool,
    },
    /// Send a model to the registry that its name begins with, if hub.push_registries allows it.
    Push {
        /// HOST/NAMESPACE/MODEL:TAG; `models cp` gives a model such a name.
        name: String,
    },
    /// List pulls that have not ended.
    Pulls {
        /// Cancel the pull of this model.
        #[arg(long, value_name = "NAME")]
        cancel: Option<String>,
    },
    /// Search well-known models, and see which of them this machine can run.
    Search(Search),
    /// Make a model by the recipe of a Modelfile.
    Create {
        name: String,
        /// The recipe [default: ./Modelfile].
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Make its weights smaller: q4_K_M, q4_K_S, q4_0 or q8_0.
        #[arg(short, long, value_name = "KIND")]
        quantize: Option<String>,
    },
    /// List the library.
    #[command(alias = "ls")]
    List {
        /// Only models whose names begin so.
        prefix: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one model.
    Show(Show),
    /// Ask a model, or talk with it in the terminal.
    Run(Run),
    /// List the models that are loaded.
    Ps {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Unload a model once its running requests have ended.
    Stop { name: String },
    /// Give a model a second name.
    Cp { source: String, destination: String },
    /// Remove models and the files that no other model uses.
    Rm {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// What is measured, and how often.
#[derive(Debug, Args)]
pub struct Bench {
    /// A model of the library, a GGUF file or a Hugging Face folder.
    pub model: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Measurements of each figure; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
}

/// Seconds of `12h`, `30d`, `1y`.
pub(crate) fn parse_lifetime(text: &str) -> Result<u64, String> {
    let units =
        [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400), ('w', 604_800), ('y', 31_536_000)];
    let explain =
        || format!("`{text}` is not a time; write a number and s, m, h, d, w or y, as in 30d");
    let (unit, unit_s) =
        *units.iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(explain)?;
    let count: u64 = text.strip_suffix(unit).unwrap_or(text).parse().map_err(|_| explain())?;
    match count.checked_mul(unit_s) {
        // A hundred years is for ever.
        Some(seconds @ 1..=3_153_600_000) => Ok(seconds),
        _ => Err(format!("`{text}` must be between 1s and 100y")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lifetimes_are_parsed_and_bounded() {
        assert_eq!(parse_lifetime("30d"), Ok(2_592_000));
        for bad in ["", "d", "30", "-1d", "0s", "101y", "99999999999999999999y", "1.5h", "3dd"] {
            assert!(parse_lifetime(bad).is_err(), "{bad}");
        }
    }
}
