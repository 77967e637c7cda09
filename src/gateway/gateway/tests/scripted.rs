//! A backend that says what it was told to say.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hearth_store::UserId;
use tokio::sync::{mpsc, watch};

use crate::backend::{Activity, Asker, Backend, ModelState, ServedModel};
use crate::error::{Error, Result};
use crate::event::{Event, EventStream};
use crate::request::{GenerateRequest, Input};

/// What happens to one request.
pub(super) enum Script {
    /// It is refused.
    Refuse(Error),
    /// These events, and then the end of the stream.
    Say(Vec<Result<Event>>),
    /// These events, and then silence until the stream is dropped.
    SayAndHang(Vec<Result<Event>>),
    /// Text until the stream is dropped.
    SayForEver,
    /// It is neither accepted nor refused.
    Never,
}

/// Takes the next script for each request.
pub(super) struct Scripted {
    scripts: Mutex<VecDeque<Script>>,
    pub(super) models: Mutex<Vec<ServedModel>>,
    /// Names of the models that were asked for.
    pub(super) asked: Mutex<Vec<String>>,
    /// Most tokens that were asked for.
    pub(super) limits: Mutex<Vec<Option<u32>>>,
    /// What was asked.
    pub(super) inputs: Mutex<Vec<Input>>,
    /// The Hearths that requests have come through.
    pub(super) paths: Mutex<Vec<Vec<String>>>,
    /// Who asked.
    pub(super) users: Mutex<Vec<Option<UserId>>>,
    pub(super) loaded: AtomicUsize,
    cancelled: watch::Sender<usize>,
}

impl Default for Scripted {
    fn default() -> Scripted {
        Scripted {
            scripts: Mutex::default(),
            models: Mutex::new(vec![model("m")]),
            asked: Mutex::default(),
            limits: Mutex::default(),
            inputs: Mutex::default(),
            paths: Mutex::default(),
            users: Mutex::default(),
            loaded: AtomicUsize::new(0),
            cancelled: watch::Sender::new(0),
        }
    }
}

pub(super) fn model(name: &str) -> ServedModel {
    ServedModel { name: name.to_owned(), state: ModelState::Idle, created_at: 5 }
}

impl Scripted {
    pub(super) fn then(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }

    /// Returns when this many streams were dropped before their end.
    pub(super) async fn wait_for_cancelled(&self, count: usize) {
        self.cancelled.subscribe().wait_for(|cancelled| *cancelled >= count).await.unwrap();
    }
}

#[async_trait]
impl Backend for Scripted {
    fn models(&self) -> Vec<ServedModel> {
        self.models.lock().unwrap().clone()
    }

    async fn generate(&self, asker: Asker, request: GenerateRequest) -> Result<EventStream> {
        self.limits.lock().unwrap().push(request.max_tokens);
        self.paths.lock().unwrap().push(request.rules.delivery.path);
        self.inputs.lock().unwrap().push(request.input);
        self.asked.lock().unwrap().push(request.model);
        self.users.lock().unwrap().push(asker.user);
        let script = self.scripts.lock().unwrap().pop_front().expect("a script per request");
        let (events, hangs) = match script {
            Script::Refuse(error) => return Err(error),
            Script::Say(events) => (events, false),
            Script::SayAndHang(events) => (events, true),
            Script::SayForEver => (Vec::new(), false),
            Script::Never => std::future::pending().await,
        };
        let for_ever = events.is_empty() && !hangs;
        let (sender, stream) = mpsc::channel(1);
        let cancelled = self.cancelled.clone();
        tokio::spawn(async move {
            let mut is_heard = true;
            for event in events {
                is_heard &= sender.send(event).await.is_ok();
            }
            if for_ever {
                while sender.send(super::text(0, "and ")).await.is_ok() {}
            }
            if hangs {
                sender.closed().await;
            }
            if for_ever || hangs || !is_heard {
                cancelled.send_modify(|count| *count += 1);
            }
        });
        Ok(stream)
    }

    async fn count_tokens(&self, _request: GenerateRequest) -> Result<u32> {
        Ok(3)
    }

    async fn load(&self, _model: &str) -> Result<()> {
        self.loaded.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn unload(&self, _model: &str) -> Result<()> {
        self.loaded.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    fn activity(&self) -> Vec<Activity> {
        Vec::new()
    }
}
