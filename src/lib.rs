//! Hearth: one binary that turns a machine into a private LLM platform.
//!
//! This package puts the rooms together: command line, settings, start and stop. What a room does
//! is in its own crate (`src/<room>/`); `ARCHITECTURE.md` is the map.

pub mod accounts_commands;
pub mod app;
pub mod bench_command;
mod catalogue_fit;
pub mod channels_commands;
pub mod cli;
mod cli_channels;
mod cli_launch;
mod cli_models;
mod cli_money;
mod cli_people;
mod cli_rules;
mod cli_usage;
pub mod client;
pub mod config;
mod create_command;
mod doctor_command;
mod file_bars;
mod launch_command;
mod launch_file;
mod launch_json;
mod launch_tools;
mod launch_yaml;
mod legacy;
pub mod local;
mod local_events;
mod local_limits;
mod local_profile;
mod local_rules;
mod local_template;
mod local_vectors;
mod local_window;
mod local_workbench;
pub mod lock;
mod logs;
pub mod model_commands;
pub mod people_commands;
mod push_command;
mod quota_commands;
mod rules_commands;
mod run_answer;
mod run_command;
mod run_editor;
mod run_session;
mod run_talk;
mod run_wrap;
mod search_command;
pub mod serve;
mod show_command;
mod show_part;
mod terminal;
mod upkeep_commands;
mod usage_command;

use crate::accounts_commands::text;
use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::config::{Config, Environment, Overrides};
use anyhow::Result;

/// Runs one command line. Whoever reads its output may have enough before its end, as `head` does.
pub async fn run(cli: Cli, environment: &Environment) -> Result<()> {
    match run_command(cli, environment).await {
        Err(error) if error.is::<terminal::ReaderGone>() => Ok(()),
        outcome => outcome,
    }
}

async fn run_command(cli: Cli, environment: &Environment) -> Result<()> {
    let listen = match &cli.command {
        Command::Serve { listen } => *listen,
        _ => None,
    };
    let over = Overrides { data: cli.target.data.clone(), listen };
    let config = Config::load(cli.target.config.as_deref(), environment, over)?;
    match cli.command {
        Command::Serve { .. } => serve::serve(&config, &legacy::notes(environment)).await,
        Command::Routes { json } => print_routes(json),
        Command::Users(command) => {
            accounts_commands::users(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Tokens(command) => {
            accounts_commands::tokens(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Groups(command) => {
            people_commands::groups(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Invites(command) => {
            people_commands::invites(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Audit(command) => {
            people_commands::audit(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Import(command) => {
            people_commands::import(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Channels(command) => {
            channels_commands::channels(&Client::connect(&cli.target, &config).await?, command)
                .await
        }
        Command::Cache(command) => {
            rules_commands::cache(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Guards(command) => {
            rules_commands::guards(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Secrets(command) => {
            channels_commands::secrets(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Quota(command) => {
            quota_commands::quota(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Prices(command) => {
            quota_commands::prices(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Usage(command) => {
            usage_command::usage(&Client::connect(&cli.target, &config).await?, command).await
        }
        Command::Doctor => {
            let client = Client::connect(&cli.target, &config).await?;
            // The files of a remote server are not here.
            let data = cli.target.server.is_none().then_some(config.data.dir.as_path());
            doctor_command::doctor(&client, data).await
        }
        Command::Bench(command) => bench_command::bench(&cli.target, &config, command).await,
        Command::Launch(command) => {
            launch_command::launch(&cli.target, &config, &command, environment).await
        }
        Command::Models(command) => {
            let client = Client::connect(&cli.target, &config).await?;
            let editor = run_editor::editor_of(environment);
            let here = model_commands::Here { directory: &config.data.dir, editor };
            model_commands::models(&client, command, &here).await
        }
    }
}

/// Every HTTP route and who may call it.
fn print_routes(as_json: bool) -> Result<()> {
    let routes = serde_json::to_value(hearth_server::list())?;
    if as_json {
        return terminal::line(&serde_json::to_string_pretty(&routes)?);
    }
    let rows: Vec<Vec<String>> = routes
        .as_array()
        .into_iter()
        .flatten()
        .map(|route| ["method", "path", "access"].map(|key| text(route, key)).to_vec())
        .collect();
    terminal::table(&["METHOD", "PATH", "WHO"], &rows)
}
