//! Starts the program: reads the command line and hands over to the one command.

use std::process::ExitCode;

use clap::Parser;
use hearth::cli::Cli;
use hearth::config::Environment;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let environment: Environment = std::env::vars().collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::anyhow!(error).context("cannot start the threads")),
    };
    match runtime.block_on(hearth::run(cli, &environment)) {
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
