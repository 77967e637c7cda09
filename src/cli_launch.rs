//! What can be typed after `hearth launch`.

use clap::{Args, ValueEnum};

/// Points a coding tool at this server.
#[derive(Debug, Args)]
pub struct Launch {
    #[arg(value_enum)]
    pub tool: Tool,
    /// The model it uses [default: the first that chats].
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// The address it calls [default: this machine's server].
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// An API token of the person who uses it; else one is created for --user.
    #[arg(long, value_name = "TOKEN", conflicts_with = "user")]
    pub api_token: Option<String>,
    /// The person for whom a token is created.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Only print what would be written.
    #[arg(long, conflicts_with = "restore")]
    pub print: bool,
    /// Put the settings back that were there before.
    #[arg(long)]
    pub restore: bool,
}

/// A tool whose settings are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// Claude Code
    Claude,
    /// OpenAI's Codex
    Codex,
    Opencode,
    Aider,
    Continue,
    Zed,
    Goose,
}
