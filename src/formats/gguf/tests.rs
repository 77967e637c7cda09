//! Hostile, damaged and cut GGUF headers, each made here.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::testing::*;

fn read(file: &[u8]) -> Result<Header> {
    Header::read(&mut Cursor::new(file), file.len() as u64)
}

/// The file is refused, in good time, with words that say why.
fn refused(file: &Gguf, words: &str) {
    let start = std::time::Instant::now();
    let problem = read(&file.bytes()).expect_err("a hostile file was accepted").to_string();
    assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    assert!(problem.len() < 600, "{problem}");
    assert!(start.elapsed().as_millis() < 500, "took {:?}", start.elapsed());
}

fn one_tensor(dims: &[u64], kind: u32) -> Gguf {
    Gguf { data_bytes: 4096, ..Gguf::empty() }.tensor_at("weights", dims, kind, 0)
}

fn with_alignment(alignment: u32) -> Gguf {
    one_tensor(&[8], 0).set("general.alignment", u32_value(alignment))
}

#[test]
fn an_honest_file_reads_back() {
    let header = read(&tiny_llama().bytes()).unwrap();
    assert_eq!((header.version, header.alignment), (3, 32));
    assert_eq!(header.tensors.len(), 12);
    let query = header.tensors.iter().find(|tensor| tensor.name == "blk.0.attn_k.weight").unwrap();
    assert_eq!(
        (query.shape.as_slice(), query.kind, query.bytes),
        ([2, 4].as_slice(), TensorKind::F32, 32)
    );
    assert!(query.offset > header.data_offset && query.offset.is_multiple_of(32));
    let metadata = &header.metadata;
    assert_eq!(metadata.str("general.architecture").unwrap(), Some("llama"));
    assert_eq!(metadata.u32("llama.context_length").unwrap(), Some(16));
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap()[2], "b");
    assert_eq!(metadata.u32("absent").unwrap(), None);
    assert!(metadata.u32("general.architecture").unwrap_err().to_string().contains("general.arch"));
}

#[test]
fn version_two_is_read_and_others_are_named() {
    assert_eq!(read(&Gguf { version: 2, ..tiny_llama() }.bytes()).unwrap().version, 2);
    refused(&Gguf { version: 1, ..tiny_llama() }, "version 1");
    refused(&Gguf { version: 4, ..tiny_llama() }, "version 4");
    refused(&Gguf { version: 3u32.swap_bytes(), ..tiny_llama() }, "big-endian");
    assert!(read(b"GGML").unwrap_err().to_string().contains("not a GGUF file"));
    assert!(read(b"").unwrap_err().to_string().contains("magic"));
}

#[test]
fn a_version_one_file_with_an_empty_string_is_refused() {
    let mut file = b"GGUF".to_vec();
    file.extend([1u32, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()));
    assert!(read(&file).unwrap_err().to_string().contains("version 1"));
}

#[test]
fn alignment_must_be_a_sane_power_of_two() {
    for alignment in [0, 1, 4, 12, 33, 131_072, u32::MAX] {
        refused(&with_alignment(alignment), "general.alignment");
    }
    assert_eq!(read(&with_alignment(64).bytes()).unwrap().alignment, 64);
}

#[test]
fn products_that_wrap_are_refused() {
    refused(&one_tensor(&[(1 << 62) + 8], 0), "weights");
    refused(&one_tensor(&[(1 << 63) + 16, 2], 0), "weights");
    refused(&one_tensor(&[1 << 33, 1 << 31], 0), "weights");
    refused(&one_tensor(&[1 << 32, 1 << 32], 0), "weights");
    refused(&one_tensor(&[32, (1 << 59) + 2], 2), "weights");
    refused(&one_tensor(&[u64::MAX; 4], 0), "weights");
}

#[test]
fn shapes_must_have_one_to_four_whole_dimensions() {
    refused(&one_tensor(&[], 0), "0 dimensions");
    refused(&one_tensor(&[1; 6], 0), "6 dimensions");
    refused(&one_tensor(&[8, 0], 0), "empty dimension");
    refused(&one_tensor(&[33], 8), "impossible for type Q8_0");
}

#[test]
fn types_that_are_not_supported_are_named() {
    refused(&one_tensor(&[256], 23), "IQ4_XS");
    refused(&one_tensor(&[256], 4_000_000_000), "number 4000000000");
}

#[test]
fn duplicates_are_refused() {
    let twice = one_tensor(&[8], 0).tensor_at("weights", &[8], 0, 32);
    refused(&twice, "`weights`: appears twice");
    let mut keys = Gguf::empty().set("a", u32_value(1));
    keys.pairs.push(("a".into(), u32_value(2)));
    refused(&keys, "`a`: appears twice");
}

#[test]
fn tensors_must_not_overlap() {
    refused(&one_tensor(&[16], 0).tensor_at("late", &[8], 0, 32), "`late`: its data overlaps");
    refused(&one_tensor(&[8], 0).tensor_at("twin", &[8], 0, 0), "overlaps");
    assert!(read(&one_tensor(&[8], 0).tensor_at("next", &[8], 0, 32).bytes()).is_ok());
}

#[test]
fn tensors_must_lie_inside_the_file() {
    let at = |offset| Gguf { data_bytes: 64, ..Gguf::empty() }.tensor_at("w", &[8], 0, offset);
    assert!(read(&at(32).bytes()).is_ok());
    refused(&at(64), "past the end");
    refused(&at(1 << 40), "past the end");
    refused(&at(u64::MAX - 31), "past the end");
    refused(&at(8), "not aligned");
    refused(&Gguf { data_bytes: 64, ..Gguf::empty() }.tensor_at("w", &[17], 0, 0), "past the end");
}

#[test]
fn claimed_counts_are_not_believed() {
    for count in [u64::MAX, 1 << 62, 70_000, 60_000] {
        refused(&Gguf { claimed_tensors: Some(count), ..tiny_llama() }, "tensors claimed");
    }
    for count in [u64::MAX, 1 << 40, 4097] {
        refused(&Gguf { claimed_pairs: Some(count), ..tiny_llama() }, "metadata pairs claimed");
    }
    refused(&Gguf { claimed_pairs: Some(20), ..tiny_llama() }, "");
}

#[test]
fn claimed_lengths_are_not_believed() {
    let string = |length: u64| [&STRING.to_le_bytes(), length.to_le_bytes().as_slice()].concat();
    for length in [u64::MAX, 1 << 63, 1 << 25, 1 << 24] {
        refused(&Gguf::empty().set("key", string(length)), "`key`");
    }
    for count in [u64::MAX, 1 << 62, 1 << 22] {
        for kind in [0, STRING, ARRAY, 12] {
            refused(&Gguf::empty().set("key", array_value(kind, count, &[])), "`key`");
        }
    }
    // A key of 2^64 − 1 bytes.
    let mut file = Gguf { claimed_pairs: Some(1), ..Gguf::empty() }.bytes();
    file.truncate(24);
    file.extend(u64::MAX.to_le_bytes());
    file.extend([0; 64]);
    assert!(read(&file).unwrap_err().to_string().contains("metadata key"));
}

#[test]
fn arrays_nest_a_little_and_not_two_hundred_deep() {
    let nested = |depth: usize| {
        let open = [ARRAY.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat();
        let inner = [0u32.to_le_bytes().as_slice(), &0u64.to_le_bytes()].concat();
        let value = [&ARRAY.to_le_bytes(), open.repeat(depth - 1).as_slice(), &inner].concat();
        Gguf::empty().set("key", value)
    };
    assert!(read(&nested(MAX_ARRAY_DEPTH as usize).bytes()).is_ok());
    refused(&nested(MAX_ARRAY_DEPTH as usize + 1), "nests arrays");
    refused(&nested(200), "nests arrays");
    refused(&nested(100_000), "nests arrays");
}

#[test]
fn values_must_be_what_they_claim() {
    refused(
        &Gguf::empty().set("key", [13u32.to_le_bytes().as_slice(), &[0; 8]].concat()),
        "unknown type 13",
    );
    refused(&Gguf::empty().set("key", array_value(99, 1, &[0; 8])), "unknown type 99");
    refused(&Gguf::empty().set("key", [&BOOL.to_le_bytes(), [2].as_slice()].concat()), "boolean 2");
    let latin = [&STRING.to_le_bytes(), 1u64.to_le_bytes().as_slice(), &[0xff]].concat();
    refused(&Gguf::empty().set("key", latin), "not UTF-8");
}

#[test]
fn names_from_the_file_are_cut_and_escaped_in_errors() {
    let name = format!("\u{1b}[31m{}", "x".repeat(240));
    let file = Gguf::empty().tensor_at(&name, &[8], 99, 0);
    let problem = read(&file.bytes()).unwrap_err().to_string();
    assert!(!problem.contains('\u{1b}') && problem.len() < 200, "{problem}");
    refused(&Gguf::empty().tensor_at(&"x".repeat(257), &[8], 0, 0), "limit is 256");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let file = tiny_llama().bytes();
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "cut at {length}");
        // Shorter than its directory entry says: the disk lied, or the file shrank.
        let _ = Header::read(&mut Cursor::new(&file[..length]), file.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..1_000, any::<u8>()), 1..6)) {
        let mut file = tiny_llama().bytes();
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Ok(header) = read(&file) {
            for tensor in header.tensors {
                prop_assert!(tensor.offset + tensor.bytes <= file.len() as u64);
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&noise);
        let _ = read(&[b"GGUF\x03\0\0\0".as_slice(), &noise].concat());
    }
}
