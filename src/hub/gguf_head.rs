//! Writes the head of a GGUF file: metadata and the table of tensors.

use hearth_formats::gguf::{Array, FixedKind, TensorInfo, Value};

/// Everything before the tensors' data but the padding.
///
/// The tensors' data follow each other in this order, each aligned; offsets of `tensors` do not
/// count.
pub(crate) fn head(
    metadata: &[(&str, &Value)],
    tensors: &[&TensorInfo],
    alignment: u64,
) -> Vec<u8> {
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        put_string(&mut out, key);
        put_value(&mut out, value);
    }
    let mut offset: u64 = 0;
    for tensor in tensors {
        put_string(&mut out, &tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        // ggml's order is the reverse.
        tensor.shape.iter().rev().for_each(|size| out.extend(size.to_le_bytes()));
        out.extend(tensor.kind.ggml_id().to_le_bytes());
        out.extend(offset.to_le_bytes());
        offset += tensor.bytes.next_multiple_of(alignment);
    }
    out
}

/// Numbers are written in the width in which other programs expect them.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut put = |id: u32, bytes: &[u8]| {
        out.extend(id.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Unsigned(number) => match u32::try_from(*number) {
            Ok(number) => put(4, &number.to_le_bytes()),
            Err(_) => put(10, &number.to_le_bytes()),
        },
        Value::Signed(number) => match i32::try_from(*number) {
            Ok(number) => put(5, &number.to_le_bytes()),
            Err(_) => put(11, &number.to_le_bytes()),
        },
        Value::Float(number) => put(6, &(*number as f32).to_le_bytes()),
        Value::Bool(flag) => put(7, &[u8::from(*flag)]),
        Value::String(text) => {
            put(8, &[]);
            put_string(out, text);
        }
        Value::Array(array) => {
            put(9, &[]);
            put_array(out, array);
        }
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let mut put = |id: u32, count: usize| {
        out.extend(id.to_le_bytes());
        out.extend((count as u64).to_le_bytes());
    };
    match array {
        Array::Fixed { kind, bytes } => {
            put(fixed_id(*kind), bytes.len() / kind.bytes());
            out.extend(bytes);
        }
        Array::Strings(strings) => {
            put(8, strings.len());
            strings.iter().for_each(|text| put_string(out, text));
        }
        Array::Arrays(arrays) => {
            put(9, arrays.len());
            arrays.iter().for_each(|array| put_array(out, array));
        }
    }
}

/// `enum gguf_type`.
fn fixed_id(kind: FixedKind) -> u32 {
    match kind {
        FixedKind::U8 => 0,
        FixedKind::I8 => 1,
        FixedKind::U16 => 2,
        FixedKind::I16 => 3,
        FixedKind::U32 => 4,
        FixedKind::I32 => 5,
        FixedKind::F32 => 6,
        FixedKind::Bool => 7,
        FixedKind::U64 => 10,
        FixedKind::I64 => 11,
        FixedKind::F64 => 12,
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Fills up with zeros to the next multiple of `alignment`.
pub(crate) fn pad(out: &mut Vec<u8>, alignment: u64) {
    let whole = (out.len() as u64).next_multiple_of(alignment);
    out.resize(usize::try_from(whole).unwrap_or(out.len()), 0);
}
