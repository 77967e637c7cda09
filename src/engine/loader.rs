//! Turns a checked file and a placement into a running model.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use candle_core::Device;
use hearth_formats::ModelFile;
use hearth_text::{ChatTemplate, Tokenizer};

use crate::config::{EngineConfig, KvType};
use crate::decoder::{Decoder, Loading};
use crate::draft::{Draft, check_vocabulary};
use crate::embedder::Embedder;
use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::handle::{Commands, Inner, Model, ModelInfo};
use crate::kv::{self, DeviceKv, HostKv, KvCache, KvShape};
use crate::placement::{DeviceChoice, Placement};
use crate::queue::{Queue, QueueLimits};
use crate::scheduler::Limits;
use crate::worker::{LoadedDecoder, Runner, Shared, Worker};

/// Reads the weights and starts the model's thread. Blocks.
pub(crate) fn load(
    name: &str,
    file: &ModelFile,
    draft: Option<&ModelFile>,
    placement: &Placement,
    config: &EngineConfig,
) -> Result<Model> {
    let begun = Instant::now();
    let info = info(name, file, placement);
    let model = match file.shape.encoder {
        Some(_) => {
            let texts = texts(file)?;
            let encoder = Encoder::load(file, &open_device(placement.device)?).map_err(loading)?;
            start_encoder(info, texts, encoder, config)?
        }
        None => {
            let ((tokenizer, template), runner) =
                beside(|| texts(file), || decoder(file, placement, config))?;
            let draft = draft.map(|draft| self::draft(draft, &tokenizer, placement, config));
            let draft = draft.transpose()?;
            start(Parts { info, tokenizer, template, runner, draft }, config)?
        }
    };
    let load_ms = begun.elapsed().as_millis() as u64;
    let memory_bytes = placement.memory_bytes;
    tracing::info!(model.name = %name, load_ms, memory_bytes, "loaded {name}");
    Ok(model)
}

/// What stands between the model's tokens and text.
fn texts(file: &ModelFile) -> Result<(Tokenizer, ChatTemplate)> {
    let tokenizer = Tokenizer::from_model(file)?;
    let template = ChatTemplate::from_tokenizer(&tokenizer)?;
    Ok((tokenizer, template))
}

/// Both, the first on a thread of its own: a large vocabulary takes as long as half a gigabyte of
/// weights, and the disk can be read meanwhile.
fn beside<A: Send, B>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let first = std::thread::Builder::new()
            .name("vocabulary".into())
            .spawn_scoped(scope, first)
            .map_err(|error| Error::LoadFailed(error.to_string()))?;
        let second = second();
        let panicked = |_| Error::LoadFailed("the thread for the vocabulary panicked".into());
        Ok((first.join().map_err(panicked)??, second?))
    })
}

/// What a model's thread is started with.
pub(crate) struct Parts {
    pub(crate) info: ModelInfo,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) template: ChatTemplate,
    pub(crate) runner: Box<dyn Runner>,
    pub(crate) draft: Option<Draft>,
}

/// The decoder with its weights on the placement's device, and its cache.
pub(crate) fn decoder(
    file: &ModelFile,
    placement: &Placement,
    config: &EngineConfig,
) -> Result<Box<dyn Runner>> {
    let device = open_device(placement.device)?;
    let how =
        Loading { is_packed: device.is_cpu(), context_tokens: placement.context_tokens as usize };
    let decoder = Decoder::load(file, &device, how).map_err(loading)?;
    let shape = KvShape::new(file, placement.pages, config.page_tokens);
    let kv: Box<dyn KvCache> = match &device {
        Device::Cpu => {
            let number = kv::number(file, config.kv_type);
            let kv = HostKv::new(KvShape { number, ..shape });
            Box::new(kv.map_err(|error| Error::LoadFailed(format!("no KV cache: {error}")))?)
        }
        device => {
            if matches!(config.kv_type, KvType::F16 | KvType::Q8_0) {
                tracing::warn!("engine.kv_type is for host memory: the cache on a GPU is f32");
            }
            Box::new(DeviceKv::new(shape, device)?)
        }
    };
    Ok(Box::new(LoadedDecoder { decoder, kv }))
}

/// A model that guesses for another one, on the same device and with as many pages.
fn draft(
    file: &ModelFile,
    tokenizer: &Tokenizer,
    placement: &Placement,
    config: &EngineConfig,
) -> Result<Draft> {
    if file.shape.encoder.is_some() {
        let problem = "the draft model makes vectors of texts and writes none";
        return Err(Error::LoadFailed(problem.into()));
    }
    check_vocabulary(tokenizer, &Tokenizer::from_model(file)?)?;
    let vocabs = (file.shape.vocab, tokenizer.vocab());
    Ok(Draft::new(decoder(file, placement, config)?, config.page_tokens, vocabs))
}

/// Starts the thread of a model.
pub(crate) fn start(parts: Parts, config: &EngineConfig) -> Result<Model> {
    let Parts { info, tokenizer, template, runner, draft } = parts;
    let tokenizer = Arc::new(tokenizer);
    let shared = Arc::new(Shared::default());
    let queue = Queue::new(QueueLimits::of(config));
    let (commands, received) = sync_channel(config.queue_sequences);
    let worker = Worker {
        runner,
        draft,
        tokenizer: Arc::clone(&tokenizer),
        commands: received,
        shared: Arc::clone(&shared),
        queue: Arc::clone(&queue),
        limits: Limits::of(config),
        pages: info.pages_total,
        reader_timeout: Duration::from_secs(config.reader_timeout_s),
    };
    let thread = std::thread::Builder::new()
        .name(format!("model {}", info.name))
        .spawn(move || worker.work())
        .map_err(|error| Error::LoadFailed(error.to_string()))?;
    let (event_buffer, commands) = (config.event_buffer, Commands::Sequences(commands));
    let inner = Inner { info, tokenizer, template, commands, shared, queue, event_buffer, thread };
    Ok(Model { inner: Arc::new(inner) })
}

/// Starts the thread of a model that makes vectors.
fn start_encoder(
    info: ModelInfo,
    (tokenizer, template): (Tokenizer, ChatTemplate),
    encoder: Encoder,
    config: &EngineConfig,
) -> Result<Model> {
    let (tokenizer, shared) = (Arc::new(tokenizer), Arc::new(Shared::default()));
    let queue = Queue::new(QueueLimits::of(config));
    let (commands, jobs) = sync_channel(config.queue_sequences);
    let embedder = Embedder {
        encoder,
        jobs,
        shared: Arc::clone(&shared),
        queue: Arc::clone(&queue),
        budget_tokens: config.budget_tokens,
    };
    let thread = std::thread::Builder::new()
        .name(format!("model {}", info.name))
        .spawn(move || embedder.work())
        .map_err(|error| Error::LoadFailed(error.to_string()))?;
    let (event_buffer, commands) = (config.event_buffer, Commands::Texts(commands));
    let inner = Inner { info, tokenizer, template, commands, shared, queue, event_buffer, thread };
    Ok(Model { inner: Arc::new(inner) })
}

pub(crate) fn info(name: &str, file: &ModelFile, placement: &Placement) -> ModelInfo {
    ModelInfo {
        name: name.to_string(),
        format: file.format,
        shape: file.shape.clone(),
        parameters: file.parameters(),
        quantization: file.quantization(),
        context_tokens: placement.context_tokens,
        memory_bytes: placement.memory_bytes,
        pages_total: placement.pages,
        device: placement.device,
    }
}

fn open_device(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => Device::new_cuda(index).map_err(|error| loading(error.into())),
        DeviceChoice::Metal => Device::new_metal(0).map_err(|error| loading(error.into())),
    }
}

/// A device that refuses a tensor has not failed a running model: nothing runs yet.
fn loading(error: Error) -> Error {
    match error {
        Error::ModelFailed(problem) => Error::LoadFailed(problem),
        error => error,
    }
}
