//! Answers of hostile providers: whatever comes, and however it is cut, the readers refuse it or tell
//! events in their order, and the cut changes nothing.
#![no_main]

use hearth_gateway::event::Event;
use hearth_gateway::request::{GenerateRequest, Input, Message, RequestId, Role};
use hearth_gateway::wire::{Provider, Shape, of};
use libfuzzer_sys::fuzz_target;

const PROVIDERS: [Provider; 6] = [
    Provider::Compatible,
    Provider::Anthropic,
    Provider::Gemini,
    Provider::Ollama,
    Provider::Cohere,
    Provider::BedrockConverse,
];

fn request() -> GenerateRequest {
    GenerateRequest {
        id: RequestId("r".into()),
        model: "m".into(),
        input: Input::Chat(vec![Message::text(Role::User, "x")]),
        priority: Default::default(),
        sampling: Default::default(),
        max_tokens: None,
        stop: Vec::new(),
        choices: 1,
        logprobs: Some(2),
        echo: false,
        rules: Default::default(),
        window: Default::default(),
        fallback: Default::default(),
        extras: None,
    }
}

/// The events up to the first refusal, and whether there was one.
fn read(provider: Provider, shape: Shape, pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let (mut reader, mut events) = (of(provider).reader(&request(), shape), Vec::new());
    let fed = pieces.iter().try_for_each(|piece| reader.feed(piece, &mut events));
    let ended = fed.and_then(|()| reader.end(&mut events));
    (events, ended.is_err())
}

fuzz_target!(|input: (u8, u16, Vec<u8>)| {
    let (choice, cut, bytes) = input;
    let provider = PROVIDERS[usize::from(choice) % PROVIDERS.len()];
    let shape = if choice < 128 { Shape::Stream } else { Shape::Whole };
    let (events, is_refused) = read(provider, shape, &[&bytes]);
    let (one, two) = bytes.split_at(usize::from(cut).min(bytes.len()));
    let (again, refused_again) = read(provider, shape, &[one, two]);
    assert_eq!((&events, is_refused), (&again, refused_again));
    let starts = events.iter().filter(|event| matches!(event, Event::Started { .. })).count();
    assert!(starts <= 1 && matches!(events.first(), None | Some(Event::Started { .. })));
    let ends = events.iter().filter(|event| matches!(event, Event::Done(_))).count();
    assert_eq!(ends, usize::from(!is_refused));
    let _ = of(provider).refusal(u16::from(choice) + 300, &bytes);
    let _ = of(provider).models(&bytes);
});
