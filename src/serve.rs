//! `hearth serve`: everything from the first log line to the last closed room.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::lock::{Control, DataLock, LockState};
use crate::{logs, terminal};

/// Serves until SIGTERM or Ctrl+C, then lets running answers end.
///
/// `notes`: what people should know about their settings, one sentence each.
pub async fn serve(config: &Config, notes: &[String]) -> Result<()> {
    logs::start(&config.log)?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let directory = config.data.dir.display();
    let lock = match DataLock::acquire(&config.data.dir)? {
        LockState::Ours(lock) => lock,
        LockState::Taken(Some(control)) => {
            bail!("a server runs already on {directory}, at {}", control.url)
        }
        LockState::Taken(None) => {
            bail!(
                "another Hearth command works on {directory} already; try again when it has ended"
            )
        }
    };
    // Asked for first, so that a signal during the start is not lost.
    let stopped = stop_signal()?;
    let app = App::open(config).await?;
    let wanted = config.listen.http;
    let listener = TcpListener::bind(wanted).await.with_context(|| {
        format!("cannot listen on {wanted}; choose another address with --listen")
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    lock.announce(&Control { url: url.clone(), token: app.control_token().to_owned() })?;
    terminal::line(&format!("listening on {url}"))?;
    if let Some(code) = app.setup_code().await? {
        terminal::line(&format!("setup code: {}", code.reveal()))?;
        terminal::line("Open the address in a browser and enter the code to create the admin.")?;
    }
    tracing::info!(listen.url = %url, "ready");
    tokio::select! {
        served = hearth_server::serve(listener, app.state(), stopped) => served?,
        () = sweep_hourly(&app) => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// Deletes sessions that have ended, at the start and then every hour. Never ends.
async fn sweep_hourly(app: &App) {
    let mut hours = tokio::time::interval(Duration::from_secs(60 * 60));
    loop {
        hours.tick().await;
        app.sweep().await;
    }
}

/// Ends when the process is asked to stop.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl+C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
