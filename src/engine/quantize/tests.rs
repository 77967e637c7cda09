//! Kinds by llama.cpp's rules, and blocks against a file that llama.cpp's own tools have made.

use std::fs;

use hearth_formats::gguf::{Metadata, Value};

use super::*;
use crate::tests::support::{f32_gguf, shared};

fn header(path: &std::path::Path) -> (Header, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let length = bytes.len() as u64;
    (Header::read(&mut std::io::Cursor::new(&bytes), length).unwrap(), bytes)
}

fn data<'a>(bytes: &'a [u8], tensor: &TensorInfo) -> &'a [u8] {
    &bytes[tensor.offset as usize..(tensor.offset + tensor.bytes) as usize]
}

/// The kinds of tensors of these names, with rows of this length, in a model of 32 layers.
fn kinds(mix: Mix, experts: u64, tensors: &[(&str, u64)]) -> Vec<TensorKind> {
    let mut metadata = Metadata::default();
    let said = [
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", Value::Unsigned(32)),
        ("llama.expert_count", Value::Unsigned(experts)),
    ];
    for (key, value) in said {
        metadata.insert(key.into(), value).unwrap();
    }
    let tensors = tensors.iter().map(|&(name, row)| TensorInfo {
        name: name.into(),
        shape: if name.contains("norm") || name.ends_with("bias") {
            vec![row]
        } else {
            vec![8, row]
        },
        kind: TensorKind::F16,
        offset: 0,
        bytes: 0,
    });
    let (version, alignment, data_offset) = (3, 32, 0);
    let tensors = tensors.collect();
    mixed_kinds(&Header { version, metadata, tensors, alignment, data_offset }, mix).unwrap()
}

#[test]
fn a_medium_mix_spends_more_where_layers_suffer_most() {
    use TensorKind::{F16, F32, Q4_K, Q5_0, Q5_K, Q6_K, Q8_0};
    let tensors = [
        ("token_embd.weight", 4096),
        ("output.weight", 4096),
        ("output_norm.weight", 4096),
        ("blk.0.attn_q.weight", 4096),
        ("blk.0.attn_q.bias", 4096),
        ("blk.0.attn_v.weight", 4096),
        ("blk.3.ffn_down.weight", 4096),
        ("blk.4.ffn_down.weight", 4096),
        ("blk.6.ffn_down.weight", 4096),
        ("blk.28.attn_v.weight", 4096),
        ("blk.4.attn_qkv.weight", 4096),
        ("blk.4.ffn_gate_inp.weight", 4096),
        // Rows that are no whole blocks of 256, or of 32.
        ("blk.4.ffn_up.weight", 1056),
        ("blk.0.ffn_down.weight", 1056),
        ("blk.0.attn_k.weight", 172),
    ];
    let expected =
        [Q4_K, Q6_K, F32, Q4_K, F32, Q6_K, Q6_K, Q4_K, Q6_K, Q6_K, Q5_K, F16, Q5_0, Q8_0, F16];
    assert_eq!(kinds(Mix::Q4KMedium, 0, &tensors), expected);
    // Without an output of its own, the table of tokens is it.
    assert_eq!(kinds(Mix::Q4KMedium, 0, &tensors[..1]), [Q6_K]);
    let experts =
        [("output.weight", 256), ("blk.5.attn_v.weight", 256), ("blk.5.attn_output.weight", 256)];
    assert_eq!(kinds(Mix::Q4KMedium, 8, &experts), [Q6_K, Q8_0, Q5_K]);
    assert_eq!(kinds(Mix::Q8_0, 8, &experts), [Q8_0; 3]);
    let first =
        [("output.weight", 256), ("blk.3.attn_v.weight", 256), ("blk.4.attn_v.weight", 256)];
    assert_eq!(kinds(Mix::Q4KSmall, 0, &first), [Q6_K, Q5_K, Q4_K]);
    assert_eq!(kinds(Mix::Q4_0, 0, &first), [Q6_K, TensorKind::Q4_0, TensorKind::Q4_0]);
}

#[test]
fn blocks_are_those_of_the_file_that_others_made_of_the_same_floats() {
    let (source, floats) = header(&f32_gguf());
    let (theirs, blocks) = header(&shared("stories260K-q8_0.gguf"));
    let kinds = mixed_kinds(&source, Mix::Q8_0).unwrap();
    let mut compared = 0;
    for (tensor, kind) in source.tensors.iter().zip(kinds) {
        let their = theirs.tensors.iter().find(|their| their.name == tensor.name).unwrap();
        assert_eq!(kind, their.kind, "{}", tensor.name);
        let row = *tensor.shape.last().unwrap() as usize;
        let made = convert_rows(data(&floats, tensor), tensor.kind, kind, row).unwrap();
        assert!(made == data(&blocks, their), "{} differs", tensor.name);
        compared += made.len();
    }
    assert!(compared > 300_000, "{compared} bytes");
}

#[test]
fn pieces_are_the_same_as_the_whole() {
    let values: Vec<u8> = (0..256 * 2048_u32)
        .flat_map(|at| ((at.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e7 - 0.8).to_le_bytes())
        .collect();
    for kind in [TensorKind::Q4_K, TensorKind::Q6_K, TensorKind::Q8_0, TensorKind::Q4_0] {
        let whole = convert_rows(&values, TensorKind::F32, kind, 256).unwrap();
        assert_eq!(whole.len() as u64, kind.tensor_bytes(&[2048, 256]).unwrap());
        let pieces = values.chunks(256 * 4 * 100);
        let pieces = pieces.map(|rows| convert_rows(rows, TensorKind::F32, kind, 256).unwrap());
        assert!(pieces.collect::<Vec<_>>().concat() == whole, "{kind:?}");
    }
    let quantised = convert_rows(&[0; 34], TensorKind::Q8_0, TensorKind::Q4_0, 32);
    assert!(quantised.is_err());
}
