//! Hostile and damaged safetensors headers, each made here.

use proptest::prelude::*;

use super::*;
use crate::testing::safetensors;

fn read(file: &[u8]) -> Result<Vec<TensorInfo>> {
    read_header(&mut &*file, file.len() as u64)
}

fn refused(header: &str, data_bytes: usize, words: &str) {
    let problem = read(&safetensors(header, data_bytes)).expect_err("accepted").to_string();
    assert!(problem.contains(words), "`{words}` is not in `{problem}`");
}

const TWO: &str = r#"{"__metadata__":{"format":"pt"},
    "b":{"dtype":"F16","shape":[2,2],"data_offsets":[8,16]},
    "a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;

#[test]
fn an_honest_header_reads_in_the_order_of_the_data() {
    let tensors = read(&safetensors(TWO, 16)).unwrap();
    assert_eq!(tensors[0].name, "a");
    assert_eq!(
        (tensors[1].kind, tensors[1].shape.as_slice()),
        (TensorKind::F16, [2, 2].as_slice())
    );
    assert_eq!(tensors[1].offset, tensors[0].offset + 8);
    assert_eq!(tensors[0].offset, 8 + TWO.len() as u64);
}

#[test]
fn the_data_must_be_covered_exactly() {
    refused(TWO, 15, "`b`");
    refused(TWO, 17, "belong to no tensor");
    let gap = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    refused(gap, 8, "`a`");
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
        "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    refused(overlap, 12, "`b`");
    let backwards = r#"{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},
        "b":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#;
    refused(backwards, 4, "`b`");
}

#[test]
fn sizes_must_follow_from_shapes() {
    let with =
        |shape: &str| format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,8]}}}}"#);
    assert!(read(&safetensors(&with("[2]"), 8)).is_ok());
    refused(&with("[3]"), 8, "does not fill");
    refused(&with("[4611686018427387906]"), 8, "does not fill");
    refused(&with("[9223372036854775809,2]"), 8, "does not fill");
    refused(&with("[1,1,1,1,1,1,1,1,2]"), 8, "9 dimensions");
    refused(&with("[-2]"), 8, "header");
    refused(&with("[2.0]"), 8, "header");
}

#[test]
fn the_json_is_taken_strictly() {
    refused("", 0, "header");
    refused("[]", 0, "header");
    refused("{", 0, "header");
    refused("{} x", 0, "header");
    let row = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    refused(&format!(r#"{{"a":{row},"a":{row}}}"#), 4, "appears twice");
    refused(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4, "unknown field");
    refused(
        r#"{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#,
        4,
        "duplicate",
    );
    refused(r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, 8, "`a`: the type I64");
    refused(&"[".repeat(100_000), 0, "header");
}

#[test]
fn the_claimed_length_is_not_believed() {
    for length in [u64::MAX, 1 << 63, MAX_HEADER_BYTES + 1, 100] {
        let mut file = length.to_le_bytes().to_vec();
        file.extend(b"{}");
        assert!(read(&file).is_err(), "{length}");
        assert!(read_header(&mut &*file, u64::MAX).is_err(), "{length}");
    }
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let file = safetensors(TWO, 16);
    for length in 0..file.len() {
        assert!(read(&file[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..250, any::<u8>()), 1..6)) {
        let mut file = safetensors(TWO, 16);
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        for tensor in read(&file).into_iter().flatten() {
            prop_assert!(tensor.offset + tensor.bytes <= file.len() as u64);
        }
    }
}
