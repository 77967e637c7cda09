//! A tokenizer from any `tokenizer.json` or GGUF header is refused, or encodes text without
//! panicking.
#![no_main]

use std::io::Cursor;

use hearth_formats::gguf::Header;
use hearth_formats::{HuggingFaceTexts, TokenizerSource};
use hearth_text::{Specials, Tokenizer, decode};
use libfuzzer_sys::fuzz_target;

const TEXT: &str = "Once upon a time </s><|im_end|>\n\n 123 🦀";

fuzz_target!(|file: &[u8]| {
    let source = match Header::read(&mut Cursor::new(file), file.len() as u64) {
        Ok(header) => TokenizerSource::Gguf(header.metadata),
        Err(_) => TokenizerSource::HuggingFace(HuggingFaceTexts {
            tokenizer: String::from_utf8_lossy(file).into_owned(),
            ..HuggingFaceTexts::default()
        }),
    };
    let Ok(tokenizer) = Tokenizer::from_source(&source) else { return };
    if let Ok(ids) = tokenizer.encode(TEXT, Specials::AsText) {
        decode(&tokenizer, &ids);
    }
});
