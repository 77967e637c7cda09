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
    Ok(())
}
