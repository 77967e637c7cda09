//! `hearth serve`: everything from the first log line to the last closed room.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
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
    let address = listener.local_addr()?;
    let url = format!("http://{address}");
    let door = command_door(address).await?;
    let door_url =
        format!("http://{}", door.as_ref().map_or(Ok(loopback(address)), TcpListener::local_addr)?);
    lock.announce(&Control { url: door_url, token: app.control_token().to_owned() })?;
    terminal::line(&format!("listening on {url}"))?;
    if let Some(code) = app.setup_code().await? {
        terminal::line(&format!("setup code: {}", code.reveal()))?;
        terminal::line("Open the address in a browser and enter the code to create the admin.")?;
    }
    app.pulls().resume().await;
    tracing::info!(listen.url = %url, "ready");
    let stopped = stopped.shared();
    let served = async {
        let commands = async {
            match door {
                Some(door) => hearth_server::serve(door, app.state(), stopped.clone()).await,
                None => Ok(()),
            }
        };
        let everyone = hearth_server::serve(listener, app.state(), stopped.clone());
        // At once, so that whoever watches a pull hears why it ends.
        let pulls = async {
            stopped.clone().await;
            app.pulls().close().await;
            Ok(())
        };
        tokio::try_join!(everyone, commands, pulls)
    };
    tokio::select! {
        served = served => drop(served?),
        () = sweep_hourly(&app) => {}
        () = keep_books(&app) => {}
        () = send_alerts(&app) => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// A listener for commands on this machine, if the address for everyone does not take loopback:
/// commands show that they are local by where they come from.
async fn command_door(address: SocketAddr) -> Result<Option<TcpListener>> {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        return Ok(None);
    }
    let door = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    Ok(Some(door.context("cannot listen on loopback for commands")?))
}

/// The address under which a listener on `address` is reached from this machine.
fn loopback(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Deletes sessions that have ended, at the start and then every hour. Never ends.
async fn sweep_hourly(app: &App) {
    let mut hours = tokio::time::interval(Duration::from_secs(60 * 60));
    loop {
        hours.tick().await;
        app.sweep().await;
    }
}

/// Gives back what requests have held for too long, and looks at what alerts watch, every minute. Never ends.
async fn keep_books(app: &App) {
    let mut minutes = tokio::time::interval(Duration::from_secs(60));
    loop {
        minutes.tick().await;
        app.keep_books().await;
        app.watch().await;
    }
}

/// Sends alerts that wait, every five seconds. Never ends.
async fn send_alerts(app: &App) {
    let mut turns = tokio::time::interval(Duration::from_secs(5));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        app.send_alerts().await;
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
