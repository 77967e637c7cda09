//! Builds every room in order, and gives the whole a door.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use hearth_engine::{Machine, Pool, process_memory_bytes};
use hearth_gateway::Gateway;
use hearth_gateway::accounts::{Accounts, Secret, SignInConfig, read_control_secret};
use hearth_gateway::alerts::Alerts;
use hearth_gateway::backend::Backend;
use hearth_gateway::channels::{Channels, known_wire};
use hearth_gateway::clock::Clock;
use hearth_gateway::routing::Switchboard;
use hearth_gateway::vault::Vault;
use hearth_hub::{Library, Pulls, Pushes};
use hearth_server::{AppState, Gpu, MachineFacts, Rooms};
use hearth_store::Store;

use crate::catalogue_fit;
use crate::config::Config;
use crate::local::Local;
use crate::local_workbench::LocalWorkbench;

/// The model that is part of the program, so that there is something to talk to at once.
pub(crate) const STARTER: (&str, &[u8]) =
    ("hearth-guide", include_bytes!("../models/starter/hearth-guide-q8_0.gguf"));

/// A whole Hearth, without a socket.
pub struct App {
    state: AppState,
    accounts: Accounts,
    gateway: Gateway,
    alerts: Alerts,
    store: Store,
    pulls: Pulls,
    control_token: Secret,
}

impl App {
    /// Opens the data directory and builds the rooms. Loads no model.
    pub async fn open(config: &Config) -> Result<App> {
        let data = &config.data.dir;
        let store = Store::open(data).context("cannot open the database")?;
        let clock = Clock::system();
        let ways = SignInConfig {
            accounts: config.accounts.clone(),
            oidc: config.oidc.clone(),
            ldap: config.ldap.clone(),
        };
        let master_key = config.master_key.as_ref().map(|key| key.0.as_str());
        let vault = Vault::open(data, master_key).context("cannot open the secrets")?;
        let accounts = Accounts::open(store.clone(), data, ways, clock.clone(), vault.clone())
            .context("cannot open the accounts")?;
        if let Some(secret) = &config.initial_root_token {
            accounts.bootstrap_root(&secret.0).await.context("INITIAL_ROOT_TOKEN")?;
        }
        let control_token = read_control_secret(data)?.context("the control key is missing")?;
        let library = Library::open(&config.models_dir(), &[STARTER])
            .context("cannot open the model library")?;
        let library = Arc::new(library);
        library.set_workbench(Arc::new(LocalWorkbench));
        let pulls =
            Pulls::open(library.clone(), &config.hub).context("cannot get ready to pull models")?;
        let pushes = Pushes::open(library.clone(), &config.hub)
            .context("cannot get ready to push models")?;
        let pool = Arc::new(Pool::new(config.engine.clone(), Machine::detect())?);
        let local = Arc::new(Local::new(library.clone(), pool.clone()));
        let (rows, keys) = (store.clone(), vault.clone());
        let alerts = Alerts::open(rows, keys, clock.clone(), &config.alerts)
            .context("cannot get ready to send alerts")?;
        let channels = Channels::open(store.clone(), vault, clock.clone(), known_wire).await;
        let channels = channels.context("cannot open the channels")?;
        let switchboard = Switchboard::new(local, channels.clone(), config.routing.clone());
        let backends: Vec<Arc<dyn Backend>> = vec![Arc::new(switchboard)];
        let gateway = Gateway::new(store.clone(), backends, config.gateway.clone(), clock.clone());
        let rooms = Rooms {
            accounts: accounts.clone(),
            gateway: gateway.clone(),
            alerts: alerts.clone(),
            channels,
            library,
            pulls: pulls.clone(),
            pushes,
            store: store.clone(),
            clock,
            judge: catalogue_fit::judge(&pool),
            machine: Arc::new(move || machine_facts(&pool)),
        };
        let state = AppState::new(rooms, config.server.clone());
        Ok(App { state, accounts, gateway, alerts, store, pulls, control_token })
    }

    /// The routes, for calls inside this process.
    pub fn router(&self) -> Router {
        hearth_server::router(self.state.clone())
    }

    /// What the listener serves.
    pub fn state(&self) -> AppState {
        self.state.clone()
    }

    /// The rows of this data directory.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What brings models in.
    pub fn pulls(&self) -> &Pulls {
        &self.pulls
    }

    /// The credential of commands on this machine.
    pub fn control_token(&self) -> &str {
        self.control_token.reveal()
    }

    /// The one-time code with which a browser makes the first admin; `None` if there is a user.
    pub async fn setup_code(&self) -> Result<Option<Secret>> {
        Ok(self.accounts.begin_setup().await?)
    }

    /// Gives back what requests have held for too long.
    pub async fn keep_books(&self) {
        if let Err(error) = self.gateway.keep_books().await {
            tracing::warn!(%error, "the books could not be kept up");
        }
    }

    /// Looks at what alerts watch.
    pub async fn watch(&self) {
        if let Err(error) = self.alerts.watch().await {
            tracing::warn!(%error, "what alerts watch could not be looked at");
        }
    }

    /// Sends alerts that wait.
    pub async fn send_alerts(&self) {
        if let Err(error) = self.alerts.deliver().await {
            tracing::warn!(%error, "alerts could not be sent");
        }
    }

    /// Deletes sessions that have ended.
    pub async fn sweep(&self) {
        if let Err(error) = self.accounts.sweep().await {
            tracing::warn!(%error, "ended sessions could not be deleted");
        }
    }
}

fn machine_facts(pool: &Pool) -> MachineFacts {
    let facts = pool.facts();
    let gpus = facts.gpus.into_iter().map(|gpu| Gpu {
        name: gpu.name,
        memory_bytes: gpu.memory_bytes,
        memory_free_bytes: gpu.memory_free_bytes,
    });
    MachineFacts {
        cores: u32::try_from(facts.cores).unwrap_or(u32::MAX),
        memory_bytes: facts.memory_bytes,
        memory_free_bytes: facts.memory_free_bytes,
        process_memory_bytes: process_memory_bytes(),
        gpus: gpus.collect(),
    }
}
