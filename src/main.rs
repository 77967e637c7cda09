//! Starts the program: reads the command line and hands over to the one command.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hearth::cli::Cli;
use hearth::config::Environment;

/// How long work that cannot be interrupted is waited for at the end.
const LAST_WORK_LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A variable that is not Unicode is none of ours.
    let environment: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!(error).context("cannot start the threads")),
    };
    let outcome = runtime.block_on(hearth::run(cli, &environment));
    // A model that is still loading does not hold the end up.
    runtime.shutdown_timeout(LAST_WORK_LIMIT);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// The one place where a command's failure is told, causes included.
#[expect(clippy::print_stderr, reason = "a command line program ends with a sentence on stderr")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("hearth: {error:#}");
    ExitCode::FAILURE
}
