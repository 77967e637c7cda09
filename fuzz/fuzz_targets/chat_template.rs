//! A chat template of any text, in either notation, is refused or renders within its bounds.
#![no_main]

use hearth_text::{ChatMessage, ChatTemplate, RenderInput};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|source: &str| {
    let templates = [ChatTemplate::new(source), ChatTemplate::new_go(source)];
    let messages = [ChatMessage::new("system", "Be brief."), ChatMessage::new("user", "a < b")];
    let input = RenderInput {
        messages: &messages,
        add_generation_prompt: true,
        bos_token: "<s>",
        eos_token: "</s>",
        ..RenderInput::default()
    };
    for template in templates.into_iter().flatten() {
        let _ = template.render(&input);
    }
});
