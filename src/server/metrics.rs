//! Figures for Prometheus. Labels are route templates and model names that exist, so their
//! number is bounded.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::http::Method;
use hearth_gateway::Gateway;
use hearth_gateway::backend::Activity;
use hearth_gateway::channels::{ChannelStats, Channels, ModelStats};
use hearth_gateway::event::Usage;
use hearth_gateway::gateway::GuardStats;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: from an answer out of memory to a long generation.
const SECONDS: [f64; 14] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

/// Models of each channel that have figures of their own.
const MAX_CHANNEL_MODELS: usize = 100;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ChannelModelLabels {
    channel: String,
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct GuardLabels {
    rule: String,
    side: &'static str,
}

/// What is counted while the server runs.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    prompt_tokens: Family<ModelLabels, Counter>,
    completion_tokens: Family<ModelLabels, Counter>,
    first_token: Family<ModelLabels, Histogram>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("hearth"),
            requests: Family::default(),
            durations: Family::new_with_constructor(histogram),
            prompt_tokens: Family::default(),
            completion_tokens: Family::default(),
            first_token: Family::new_with_constructor(histogram),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "Time until the answer began",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        let (prompt, completion) = (&metrics.prompt_tokens, &metrics.completion_tokens);
        registry.register("prompt_tokens", "Tokens of prompts", prompt.clone());
        registry.register("completion_tokens", "Tokens of answers", completion.clone());
        registry.register_with_unit(
            "first_token",
            "Time from a request to its first token",
            Unit::Seconds,
            metrics.first_token.clone(),
        );
        metrics
    }
}

impl Metrics {
    /// Counts an answer that has begun.
    pub(crate) fn count_request(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let (method, route) = (known(method), route.to_owned());
        self.durations
            .get_or_create(&RouteLabels { method, route: route.clone() })
            .observe(took.as_secs_f64());
        let labels = RequestLabels { method, route, status: status.into() };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a generation that has ended. `model`: a name that exists.
    pub(crate) fn count_generation(&self, model: &str, usage: &Usage) {
        let labels = ModelLabels { model: model.to_owned() };
        self.prompt_tokens.get_or_create(&labels).inc_by(usage.prompt_tokens.into());
        self.completion_tokens.get_or_create(&labels).inc_by(usage.completion_tokens.into());
        if usage.completion_tokens > 0 {
            let first = Duration::from_millis(usage.first_token_ms);
            self.first_token.get_or_create(&labels).observe(first.as_secs_f64());
        }
    }

    /// All figures, with what the gateway does now, in Prometheus' text format.
    pub(crate) fn print(
        &self,
        gateway: &Gateway,
        channels: &Channels,
        guards: &[GuardStats],
    ) -> Result<String, std::fmt::Error> {
        // Two registries, each of which ends its text with `# EOF`; one end is enough.
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        let end = text.rfind("# EOF").unwrap_or(text.len());
        text.truncate(end);
        let mut registry = present(gateway);
        add_channels(&mut registry, channels);
        add_rules(&mut registry, gateway, guards);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// What is true now, gathered when it is asked for.
fn present(gateway: &Gateway) -> Registry {
    let mut registry = Registry::with_prefix("hearth");
    let stats = gateway.stats();
    for (name, help, value) in [
        ("generations_complete", "Generations that ended by themselves", stats.complete),
        ("generations_stopped", "Generations whose client went away", stats.stopped),
        ("generations_failed", "Generations that failed", stats.failed),
        ("generations_refused", "Calls that were not accepted", stats.refused),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let calls: Gauge<u64, AtomicU64> = Gauge::default();
    calls.set(gateway.running() as u64);
    registry.register("calls_running", "Calls that run or wait", calls);
    let activity = gateway.activity();
    type Read = fn(&Activity) -> u64;
    let figures: [(&str, &str, Read); 7] = [
        ("model_memory_bytes", "Memory of the loaded model", |model| model.memory_bytes),
        ("sequences_running", "Sequences that run", |model| model.running.into()),
        ("sequences_waiting", "Sequences that wait", |model| model.waiting.into()),
        ("queue_wait_ms", "Wait of a request that comes now", |model| model.queue_wait_ms),
        ("kv_pages_used", "Pages of the KV cache in use", |model| model.kv_pages_used.into()),
        ("kv_pages_cached", "Pages kept for prompts that begin alike", |model| {
            model.kv_pages_cached.into()
        }),
        ("kv_pages", "Pages of the KV cache", |model| model.kv_pages_total.into()),
    ];
    for (name, help, read) in figures {
        let family: Family<ModelLabels, Gauge<u64, AtomicU64>> = Family::default();
        for model in &activity {
            let labels = ModelLabels { model: model.model.clone() };
            family.get_or_create(&labels).set(read(model));
        }
        registry.register(name, help, family);
    }
    let counts: [(&str, &str, Read); 2] = [
        ("prompt_tokens_cached", "Tokens of prompts found computed", |model| model.cached_tokens),
        ("preemptions", "Sequences that gave their place up", |model| model.preemptions),
    ];
    for (name, help, read) in counts {
        let family: Family<ModelLabels, Counter> = Family::default();
        for model in &activity {
            let labels = ModelLabels { model: model.model.clone() };
            family.get_or_create(&labels).inc_by(read(model));
        }
        registry.register(name, help, family);
    }
    registry
}

/// What kept answers and guards were good for. An admin names the rules, a hundred at most.
fn add_rules(registry: &mut Registry, gateway: &Gateway, guards: &[GuardStats]) {
    let cache = gateway.cache_stats();
    for (name, help, value) in [
        ("cache_hits", "Requests that a kept answer was given to", cache.hits),
        ("cache_misses", "Requests whose answer could have been kept", cache.misses),
    ] {
        let counter: Counter = Counter::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let bytes: Gauge<u64, AtomicU64> = Gauge::default();
    bytes.set(cache.bytes);
    registry.register("cache_bytes", "Answers that are kept", bytes);
    let found: Family<GuardLabels, Counter> = Family::default();
    for stats in guards {
        for (side, count) in [("request", stats.requests), ("response", stats.responses)] {
            let labels = GuardLabels { rule: stats.rule.clone(), side };
            found.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("guard_matches", "What guards found", found);
}

/// What channels did with each model, of the most used ones.
fn add_channel_models(registry: &mut Registry, stats: &[(String, ChannelStats)]) {
    type Read = fn(&ModelStats) -> u64;
    let counts: [(&str, &str, Read); 5] = [
        ("channel_model_answers", "Answers that a channel began", |stats| stats.answers),
        ("channel_model_refusals", "Requests that a channel refused", |stats| stats.refusals),
        ("channel_model_failures", "Times that a channel failed", |stats| stats.failures),
        ("channel_model_prompt_tokens", "Tokens of prompts", |stats| stats.prompt_tokens),
        ("channel_model_completion_tokens", "Tokens of answers", |stats| stats.completion_tokens),
    ];
    let figures: [(&str, &str, Read); 3] = [
        ("channel_model_first_token_p50_ms", "Median time until an answer begins", |stats| {
            stats.first_token_p50_ms.unwrap_or_default()
        }),
        ("channel_model_first_token_p95_ms", "Within which 95 of 100 begin", |stats| {
            stats.first_token_p95_ms.unwrap_or_default()
        }),
        ("channel_model_tokens_per_s", "Of answers that came in pieces", |stats| {
            stats.tokens_per_s.unwrap_or_default() as u64
        }),
    ];
    let all = stats.iter().flat_map(|(channel, stats)| {
        let mut models: Vec<&(String, ModelStats)> = stats.models.iter().collect();
        models.sort_by_key(|(_, stats)| std::cmp::Reverse(stats.answers + stats.failures));
        models.truncate(MAX_CHANNEL_MODELS);
        models.into_iter().map(move |(model, stats)| {
            (ChannelModelLabels { channel: channel.clone(), model: model.clone() }, stats)
        })
    });
    let all: Vec<(ChannelModelLabels, &ModelStats)> = all.collect();
    for (name, help, read) in counts {
        let family: Family<ChannelModelLabels, Counter> = Family::default();
        for (labels, stats) in &all {
            family.get_or_create(labels).inc_by(read(stats));
        }
        registry.register(name, help, family);
    }
    for (name, help, read) in figures {
        let family: Family<ChannelModelLabels, Gauge<u64, AtomicU64>> = Family::default();
        for (labels, stats) in &all {
            family.get_or_create(labels).set(read(stats));
        }
        registry.register(name, help, family);
    }
}

/// What channels did since the start. Their number is bounded, and an admin names them.
fn add_channels(registry: &mut Registry, channels: &Channels) {
    let stats = channels.stats();
    add_channel_models(registry, &stats);
    type Read = fn(&ChannelStats) -> u64;
    let counts: [(&str, &str, Read); 5] = [
        ("channel_answers", "Answers that a channel began", |stats| stats.all.answers),
        ("channel_refusals", "Requests that a channel refused", |stats| stats.all.refusals),
        ("channel_failures", "Times that a channel failed", |stats| stats.all.failures),
        ("channel_prompt_tokens", "Tokens of prompts", |stats| stats.all.prompt_tokens),
        ("channel_completion_tokens", "Tokens of answers", |stats| stats.all.completion_tokens),
    ];
    for (name, help, read) in counts {
        let family: Family<ChannelLabels, Counter> = Family::default();
        for (channel, stats) in &stats {
            let labels = ChannelLabels { channel: channel.clone() };
            family.get_or_create(&labels).inc_by(read(stats));
        }
        registry.register(name, help, family);
    }
    let figures: [(&str, &str, Read); 4] = [
        ("channel_in_flight", "Answers under way", |stats| stats.in_flight.into()),
        ("channel_broken", "Whether requests are kept away", |stats| stats.is_broken.into()),
        ("channel_first_token_p50_ms", "Median time until an answer begins", |stats| {
            stats.all.first_token_p50_ms.unwrap_or_default()
        }),
        ("channel_first_token_p95_ms", "Within which 95 of 100 answers begin", |stats| {
            stats.all.first_token_p95_ms.unwrap_or_default()
        }),
    ];
    for (name, help, read) in figures {
        let family: Family<ChannelLabels, Gauge<u64, AtomicU64>> = Family::default();
        for (channel, stats) in &stats {
            let labels = ChannelLabels { channel: channel.clone() };
            family.get_or_create(&labels).set(read(stats));
        }
        registry.register(name, help, family);
    }
}

/// Methods that nobody serves share one label.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
