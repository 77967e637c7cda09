//! The command line of groups, invites and the audit log.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{Role, parse_lifetime};

/// Commands about groups of people.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// Make a group.
    Add {
        name: String,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// List all groups.
    List,
    /// Change what a group may do; what is not named stays.
    Set {
        name: String,
        #[command(flatten)]
        bounds: Bounds,
    },
    /// Put a person into a group.
    Join { group: String, user: String },
    /// Take a person out of their group.
    Leave { user: String },
    /// Delete a group; its people stay.
    Rm { name: String },
}

/// What a group may do.
#[derive(Debug, Args)]
pub struct Bounds {
    /// Models that its people may use; `prefix*` allows several, `*` all.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub models: Vec<String>,
    /// Parts of what the engine computes that its people have against one of others, 1 to 100.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub weight: Option<u16>,
}

/// Commands about invites.
#[derive(Debug, Subcommand)]
pub enum Invites {
    /// Make an invite; its secret is printed once.
    Create {
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        #[arg(long, value_enum, default_value_t = Role::User)]
        role: Role,
        /// The group that the new people come into.
        #[arg(long)]
        group: Option<String>,
        /// Accounts that can be made with it.
        #[arg(long, default_value_t = 1)]
        uses: u32,
        /// How long it is open: 12h, 7d.
        #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_lifetime)]
        expires: u64,
    },
    /// List all invites.
    List,
    /// Delete the invite with this id.
    Rm { id: i64 },
}

/// Commands about the audit log.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// List who did what, the newest first.
    List {
        /// Only this action, such as users.create; `users.` is all about users.
        #[arg(long)]
        action: Option<String>,
        /// Only what this person did.
        #[arg(long)]
        actor: Option<String>,
        /// Only what was done to this, such as "user ann".
        #[arg(long)]
        target: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
        limit: u32,
        /// As JSON, with everything that is known.
        #[arg(long)]
        json: bool,
    },
    /// Check that no act was changed or left out; prints the head to be noted elsewhere.
    Verify {
        /// A head that was noted earlier and must still be part of the log.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        head: Option<String>,
    },
}

/// Commands that bring in what another product has.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// Users, groups, tokens, prices and usage of New API or One API, from its SQLite file.
    NewApi {
        file: PathBuf,
        /// Say what would be brought in, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
