//! This machine, as a backend that does what it is told.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::backend::{Activity, Asker, Backend, ModelState, ServedModel};
use crate::error::{Error, Result};
use crate::event::{Event, EventStream, FinishReason, Usage};
use crate::request::GenerateRequest;

/// Answers `here` for the models that it has, unless it is told an error.
#[derive(Default)]
pub(super) struct Here {
    models: Mutex<Vec<String>>,
    errors: Mutex<VecDeque<Error>>,
    pub(super) queue_wait_ms: AtomicU64,
}

impl Here {
    pub(super) fn has(&self, model: &str) {
        self.models.lock().unwrap().push(model.to_owned());
    }

    pub(super) fn refuses(&self, error: Error) {
        self.errors.lock().unwrap().push_back(error);
    }
}

#[async_trait]
impl Backend for Here {
    fn models(&self) -> Vec<ServedModel> {
        let models = self.models.lock().unwrap();
        let served = |name: &String| ServedModel {
            name: name.clone(),
            state: ModelState::Loaded,
            created_at: 5,
        };
        models.iter().map(served).collect()
    }

    async fn generate(&self, _: Asker, request: GenerateRequest) -> Result<EventStream> {
        assert!(self.models.lock().unwrap().contains(&request.model), "{}", request.model);
        if let Some(error) = self.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        let (sender, stream) = mpsc::channel(8);
        let text = Event::Text { choice: 0, text: "here".to_owned(), tokens: Vec::new() };
        let finished = Event::Finished { choice: 0, reason: FinishReason::Stop };
        let done = Event::Done(Usage { completion_tokens: 1, ..Usage::default() });
        for event in [Event::Started { prompt_tokens: 3 }, text, finished, done] {
            sender.try_send(Ok(event)).unwrap();
        }
        Ok(stream)
    }

    async fn count_tokens(&self, _: GenerateRequest) -> Result<u32> {
        Ok(3)
    }

    async fn load(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn unload(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn activity(&self) -> Vec<Activity> {
        let models = self.models.lock().unwrap();
        let active = |model: &String| Activity {
            model: model.clone(),
            memory_bytes: 0,
            gpu_bytes: 0,
            context_tokens: 0,
            expires_in: None,
            running: 0,
            waiting: 0,
            queue_wait_ms: self.queue_wait_ms.load(Ordering::SeqCst),
            kv_pages_used: 0,
            kv_pages_cached: 0,
            kv_pages_total: 0,
            cached_tokens: 0,
            preemptions: 0,
        };
        models.iter().map(active).collect()
    }
}
