//! Where log lines go: standard error, as text or JSON.

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the rest of the process.
pub(crate) fn start(config: &LogConfig) -> Result<()> {
    let filter: EnvFilter = config.level.parse().with_context(|| {
        format!("log.level is `{}`; write error, warn, info, debug or trace", config.level)
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    // A second start in one process (tests) keeps the first one's settings.
    if let Err(error) = started {
        tracing::debug!(%error, "logging had started already");
    }
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Says where a thread panicked. What it said may quote somebody's words, so it is left out.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    tracing::error!(thread = thread.name(), place, "a thread panicked");
}
