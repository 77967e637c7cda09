//! Requests that pass through: the channels that offer the model and have the route are asked one
//! after the other until one begins to answer; the rest is carried as it comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hearth_store::UserId;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::attempt::note_trouble;
use super::failure::{Next, after_remote, told};
use super::plan::Who;
use super::switchboard::Switchboard;
use crate::backend::passes_nothing;
use crate::channels::exchange::{self, Trouble, TroubleKind};
use crate::channels::health::{InFlight, Used};
use crate::channels::live::Live;
use crate::error::{Error, Fault, Result};
use crate::event::Usage;
use crate::passage::{FormPart, PassBody, PassKind, PassRequest, Passage, Piece};
use crate::wire::Call;
use crate::wire::passage::PassReader;

/// Pieces that may wait for the gateway; then the provider waits.
const PIECES: usize = 8;
/// How long the end of an answer waits for a client that does not read.
const FAREWELL_LIMIT: Duration = Duration::from_secs(10);

/// Whom to ask for what.
struct Ask<'a> {
    live: &'a Arc<Live>,
    /// Which of its keys.
    key: usize,
    /// The model's name as the channel's settings know it.
    model: &'a str,
    request: &'a PassRequest,
}

/// An answer under way.
struct Carrier {
    live: Arc<Live>,
    model: String,
    response: Response,
    reader: PassReader,
    /// What has come and was not given on.
    ready: Vec<Bytes>,
    /// Once all has come.
    usage: Option<Usage>,
    since: Instant,
    sender: mpsc::Sender<Result<Piece>>,
    _flight: InFlight,
}

impl Switchboard {
    /// The answer of the first who gives one.
    pub(super) async fn pass_on(
        &self,
        user: Option<UserId>,
        request: PassRequest,
    ) -> Result<Passage> {
        let plan = self.plan(user, &request.model).await?;
        if plan.candidates.is_empty() {
            return Err(Error::NoModel(request.model));
        }
        let mut keys: Vec<Vec<usize>> = vec![Vec::new(); plan.candidates.len()];
        let (mut last, mut attempts) = (None, 0);
        // Nothing that runs here does any of it.
        let has_route = |who: &Who| match who {
            Who::Local => false,
            Who::Channel(live) => live.wire.passes(request.route),
        };
        let mut tried: Vec<bool> =
            plan.candidates.iter().map(|candidate| !has_route(&candidate.who)).collect();
        while let Some(index) = self.next(&plan, &tried) {
            let candidate = &plan.candidates[index];
            let Who::Channel(live) = &candidate.who else { break };
            let now = Instant::now();
            if attempts >= self.inner.config.max_attempts {
                break;
            }
            let Some(key) = live.next_key(&keys[index], now) else {
                tried[index] = true;
                let until = live.rests_until(now).unwrap_or(now);
                let retry_after = until.saturating_duration_since(now);
                last = last.or(Some(Error::Overloaded { retry_after }));
                continue;
            };
            attempts += 1;
            keys[index].push(key);
            let ask = Ask { live, key, model: &candidate.model, request: &request };
            let trouble = match ask.run(self).await {
                Ok(passage) => return Ok(passage),
                Err(trouble) => trouble,
            };
            tracing::info!(
                channel.id = live.id().0,
                channel.name = %live.row.row.name,
                model.name = %request.model,
                problem = %trouble.message,
                "a channel did not answer"
            );
            let next = after_remote(&trouble);
            let error = told(&request.model, trouble);
            match next {
                Next::Stop | Next::LongerContext => return Err(error),
                Next::OtherKey => tried[index] = keys[index].len() >= live.keys.len(),
                Next::Others | Next::OnlyOthers => tried[index] = true,
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| passes_nothing(&request)))
    }
}

impl Ask<'_> {
    /// The answer, once its first piece is there.
    async fn run(&self, board: &Switchboard) -> std::result::Result<Passage, Trouble> {
        let (live, since) = (self.live, Instant::now());
        let flight = live.health.begin(live.limits(), since);
        let (sender, pieces) = mpsc::channel(PIECES);
        match self.begin(flight, sender).await {
            Ok((carrier, kind)) => {
                live.keys[self.key].health.note_success();
                let now = Instant::now();
                // What comes whole says nothing of a first word.
                let first = (kind != PassKind::Json).then_some(now - since);
                live.health.note_first(self.model, first, now);
                board.inner.tasks.spawn(carrier.run());
                Ok(Passage { channel: live.id(), kind, pieces })
            }
            Err(trouble) => {
                note_trouble(live, self.key, self.model, &trouble, Instant::now());
                Err(trouble)
            }
        }
    }

    async fn begin(
        &self,
        flight: InFlight,
        sender: mpsc::Sender<Result<Piece>>,
    ) -> std::result::Result<(Carrier, PassKind), Trouble> {
        let (live, since) = (self.live, Instant::now());
        let response = self.send().await?;
        let mime = response.headers().get(CONTENT_TYPE).and_then(|mime| mime.to_str().ok());
        let (reader, kind) = PassReader::new(self.request, mime.unwrap_or_default())?;
        let mut carrier = Carrier {
            live: Arc::clone(live),
            model: self.model.to_owned(),
            response,
            reader,
            ready: Vec::new(),
            usage: None,
            since,
            sender,
            _flight: flight,
        };
        // JSON is one piece, which takes as long as the whole.
        let timeouts = &live.settings.timeouts;
        let limit_ms = match kind {
            PassKind::Json => timeouts.whole_ms,
            PassKind::Events | PassKind::Bytes(_) => timeouts.first_byte_ms,
        };
        let limit = Duration::from_millis(limit_ms.into());
        let first = async {
            while carrier.ready.is_empty() && carrier.usage.is_none() {
                carrier.read().await?;
            }
            Ok::<(), Trouble>(())
        };
        let first = tokio::time::timeout(limit, first).await;
        first.map_err(|_| Trouble::timed_out("it did not answer", limit_ms))??;
        Ok((carrier, kind))
    }

    async fn send(&self) -> std::result::Result<Response, Trouble> {
        let (live, path) = (self.live, self.request.route.path());
        let (key, model) = (&live.keys[self.key], live.own_name(self.model));
        // A picture is drawn before its answer begins, which may take as long as the whole.
        let wait_ms = match self.request.route.makes_pictures() {
            true => live.settings.timeouts.whole_ms,
            false => live.settings.timeouts.first_byte_ms,
        };
        match &self.request.body {
            PassBody::Json(members) => {
                let mut body: Map<String, Value> = (**members).clone();
                body.insert("model".to_owned(), model.into());
                for change in &live.settings.request.overrides {
                    change.apply(&mut body);
                }
                let (headers, warnings) = (Vec::new(), Vec::new());
                let call = Call { path: path.to_owned(), headers, body, warnings };
                exchange::post_within(live, key, &call, wait_ms).await
            }
            PassBody::Form(parts) => {
                exchange::post_form(live, key, path, form(model, parts), wait_ms).await
            }
        }
    }
}

/// The form as it came, for this model.
fn form(model: &str, parts: &[FormPart]) -> Form {
    // Names have no quotes and no line breaks; they go on as they came.
    let form = Form::new().percent_encode_noop().text("model", model.to_owned());
    parts.iter().fold(form, |form, part| {
        let made = || Part::stream_with_length(part.bytes.clone(), part.bytes.len() as u64);
        let mut sent =
            part.mime.as_deref().and_then(|mime| made().mime_str(mime).ok()).unwrap_or_else(made);
        if let Some(name) = &part.file_name {
            sent = sent.file_name(name.clone());
        }
        form.part(part.name.clone(), sent)
    })
}

impl Carrier {
    /// Reads one piece of the provider's.
    async fn read(&mut self) -> std::result::Result<(), Trouble> {
        match self.response.chunk().await.map_err(Trouble::of_network)? {
            Some(bytes) => self.reader.feed(bytes, &mut self.ready)?,
            None => self.usage = Some(self.reader.end(&mut self.ready)?),
        }
        Ok(())
    }

    /// Runs until the answer has ended, or nobody reads it any more.
    async fn run(mut self) {
        let timeouts = &self.live.settings.timeouts;
        let (idle_ms, total_ms) = (timeouts.idle_ms, timeouts.total_ms);
        let limit = Duration::from_millis(total_ms.into());
        let ended = match tokio::time::timeout(limit, self.carry(idle_ms)).await {
            Ok(ended) => ended,
            Err(_) => Err(Trouble::timed_out("its answer did not end", total_ms)),
        };
        let (limits, now) = (self.live.limits(), Instant::now());
        let usage = self.usage.unwrap_or_default();
        let used = Used {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            took: None,
        };
        self.live.health.note_end(&self.model, used, limits, now);
        let Err(trouble) = ended else { return };
        tracing::warn!(
            channel.id = self.live.id().0,
            channel.name = %self.live.row.row.name,
            model.name = %self.model,
            problem = %trouble.message,
            "an answer broke off"
        );
        self.live.health.note_failure(&self.model, &trouble.message, now);
        let fault = match trouble.kind {
            TroubleKind::TimedOut => Fault::TimedOut,
            _ => Fault::Broken,
        };
        let message = "The provider broke its answer off.".to_owned();
        // Whoever does not read has gone, or will find the stream ended.
        let error = Err(Error::Upstream { fault, message });
        let _ = self.sender.send_timeout(error, FAREWELL_LIMIT).await;
    }

    async fn carry(&mut self, idle_ms: u32) -> std::result::Result<(), Trouble> {
        let idle = Duration::from_millis(idle_ms.into());
        loop {
            for bytes in std::mem::take(&mut self.ready) {
                // Waits while nobody reads: so does the provider.
                if self.sender.send(Ok(Piece::Bytes(bytes))).await.is_err() {
                    return Ok(());
                }
            }
            if let Some(mut usage) = self.usage {
                usage.total_ms =
                    u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
                let _ = self.sender.send(Ok(Piece::Done(usage))).await;
                return Ok(());
            }
            let sender = self.sender.clone();
            tokio::select! {
                biased;
                () = sender.closed() => return Ok(()),
                read = tokio::time::timeout(idle, self.read()) => {
                    let read = read.map_err(|_| Trouble::timed_out("it said nothing more", idle_ms));
                    // What was read before an error is told before it.
                    if let Err(trouble) = read.and_then(|read| read) {
                        for bytes in std::mem::take(&mut self.ready) {
                            let _ = self.sender.send(Ok(Piece::Bytes(bytes))).await;
                        }
                        return Err(trouble);
                    }
                }
            }
        }
    }
}
