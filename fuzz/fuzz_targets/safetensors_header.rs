//! A safetensors header of any bytes is refused, or every tensor in it lies inside the file.
#![no_main]

use hearth_formats::safetensors::read_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let file_bytes = file.len() as u64;
    for tensor in read_header(&mut &*file, file_bytes).into_iter().flatten() {
        assert!(tensor.offset + tensor.bytes <= file_bytes);
    }
});
