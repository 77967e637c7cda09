//! A GGUF header of any bytes is refused, or every tensor in it lies inside the file.
#![no_main]

use std::io::Cursor;

use hearth_formats::gguf::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let file_bytes = file.len() as u64;
    if let Ok(header) = Header::read(&mut Cursor::new(file), file_bytes) {
        for tensor in header.tensors {
            assert!(tensor.offset + tensor.bytes <= file_bytes);
        }
    }
});
