//! A chat template of any text is refused, or renders within its bounds.
#![no_main]

use hearth_text::{ChatMessage, ChatTemplate, RenderInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::new(source) else { return };
    let messages = [ChatMessage::new("system", "Be brief."), ChatMessage::new("user", "a < b")];
    let _ = template.render(&RenderInput {
        messages: &messages,
        add_generation_prompt: true,
        bos_token: "<s>",
        eos_token: "</s>",
        ..RenderInput::default()
    });
});
