//! Makes one GGUF file of the parts that a large model is split into (`…-00001-of-00003.gguf`).
//!
//! The first part has the model's metadata; each part has a table of its own tensors. Every part
//! is checked like a whole file before a byte of it is copied.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hearth_formats::gguf::{Array, FixedKind, Header, Metadata, TensorInfo, Value};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::import::write_blob;

/// Keys that speak of the split; they have no meaning in the whole.
const SPLIT_KEYS: &str = "split.";

/// Writes the whole model as a blob; returns its digest and size.
pub(crate) fn merge(parts: &[PathBuf], blobs: &Path) -> Result<(Digest, u64)> {
    let mut files = Vec::new();
    for (number, path) in parts.iter().enumerate() {
        let doing = || format!("open {}", path.display());
        let mut file = File::open(path).doing(doing)?;
        let bytes = file.metadata().doing(doing)?.len();
        let header = Header::read(&mut file, bytes)?;
        check_place(&header.metadata, number, parts.len())?;
        files.push((file, header));
    }
    let (_, first) = files.first().ok_or_else(|| damaged("a model of no parts"))?;
    let alignment = first.alignment;
    let tensors: Vec<&TensorInfo> = files.iter().flat_map(|(_, header)| &header.tensors).collect();
    let mut head = head(&first.metadata, &tensors, alignment);
    pad(&mut head, alignment);
    let mut segments = VecDeque::from([Segment::Bytes(io::Cursor::new(head))]);
    for (at, (_, header)) in files.iter().enumerate() {
        for tensor in &header.tensors {
            segments.push_back(Segment::Tensor {
                file: at,
                offset: tensor.offset,
                left: tensor.bytes,
            });
            let mut padding = vec![0; usize::try_from(tensor.bytes % alignment).unwrap_or(0)];
            let data_bytes = padding.len();
            pad(&mut padding, alignment);
            segments.push_back(Segment::Bytes(io::Cursor::new(padding.split_off(data_bytes))));
        }
    }
    let files = files.into_iter().map(|(file, _)| file).collect();
    let mut whole = Whole { files, segments };
    write_blob(blobs, &mut whole, &mut |_| ControlFlow::Continue(()))
}

/// Whether this is the part of the model that should stand here.
fn check_place(metadata: &Metadata, number: usize, parts: usize) -> Result<()> {
    let said = (metadata.u64("split.no")?, metadata.u64("split.count")?);
    if said != (Some(number as u64), Some(parts as u64)) {
        return Err(damaged(&format!(
            "a part says that it is number {:?} of {:?}, and stands at {number} of {parts}",
            said.0, said.1
        )));
    }
    Ok(())
}

fn damaged(problem: &str) -> Error {
    Error::BadModel(hearth_formats::Error::Damaged(problem.to_owned()))
}

/// Everything before the tensors' data but the padding.
fn head(metadata: &Metadata, tensors: &[&TensorInfo], alignment: u64) -> Vec<u8> {
    let kept = || metadata.iter().filter(|(key, _)| !key.starts_with(SPLIT_KEYS));
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((kept().count() as u64).to_le_bytes());
    for (key, value) in kept() {
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

fn pad(out: &mut Vec<u8>, alignment: u64) {
    let whole = (out.len() as u64).next_multiple_of(alignment);
    out.resize(usize::try_from(whole).unwrap_or(out.len()), 0);
}

/// The whole file, read in order.
struct Whole {
    files: Vec<File>,
    segments: VecDeque<Segment>,
}

enum Segment {
    Bytes(io::Cursor<Vec<u8>>),
    Tensor { file: usize, offset: u64, left: u64 },
}

impl Read for Whole {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while let Some(segment) = self.segments.front_mut() {
            let read = match segment {
                Segment::Bytes(bytes) => bytes.read(out)?,
                Segment::Tensor { left: 0, .. } => 0,
                Segment::Tensor { file, offset, left } => {
                    let file = &mut self.files[*file];
                    file.seek(SeekFrom::Start(*offset))?;
                    let read = file.take(*left).read(out)?;
                    if read == 0 && !out.is_empty() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *offset += read as u64;
                    *left -= read as u64;
                    read
                }
            };
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            self.segments.pop_front();
        }
        Ok(0)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hearth_formats::ModelFile;

    use super::*;

    /// A GGUF file in parts, as llama.cpp's `gguf-split` writes them.
    pub(crate) fn split(whole: &[u8], parts: usize) -> Vec<Vec<u8>> {
        let header = Header::read(&mut io::Cursor::new(whole), whole.len() as u64).unwrap();
        let each = header.tensors.len().div_ceil(parts);
        let chunks = header.tensors.chunks(each).enumerate();
        chunks
            .map(|(number, tensors)| {
                let mut metadata = Metadata::default();
                for (key, value) in header.metadata.iter().filter(|_| number == 0) {
                    metadata.insert(key.to_owned(), value.clone()).unwrap();
                }
                let mut out = head_with(&metadata, number, parts, tensors, header.alignment);
                pad(&mut out, header.alignment);
                for tensor in tensors {
                    let start = tensor.offset as usize;
                    out.extend(&whole[start..start + tensor.bytes as usize]);
                    pad(&mut out, header.alignment);
                }
                out
            })
            .collect()
    }

    /// `head` leaves the keys of the split out, so they go in under names of the same length first.
    fn head_with(
        metadata: &Metadata,
        number: usize,
        parts: usize,
        tensors: &[TensorInfo],
        alignment: u64,
    ) -> Vec<u8> {
        let mut metadata = metadata.clone();
        for (key, value) in [("Split.no", number), ("Split.count", parts)] {
            metadata.insert(key.to_owned(), Value::Unsigned(value as u64)).unwrap();
        }
        let mut out = head(&metadata, &tensors.iter().collect::<Vec<_>>(), alignment);
        while let Some(at) = out.windows(6).position(|window| window == b"Split.") {
            out[at] = b's';
        }
        out
    }

    #[test]
    fn parts_in_the_wrong_order_or_of_another_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = std::env::var("HEARTH_SHARED")
            .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").to_owned());
        let file = Path::new(&shared).join("models/stories260k/stories260K-q8_0.gguf");
        let parts = split(&std::fs::read(file).unwrap(), 2);
        let paths: Vec<PathBuf> =
            (0..2).map(|number| folder.path().join(number.to_string())).collect();
        for (path, part) in paths.iter().zip(&parts) {
            std::fs::write(path, part).unwrap();
        }
        let swapped = [paths[1].clone(), paths[0].clone()];
        for wrong in [&swapped[..], &paths[..1]] {
            assert!(matches!(merge(wrong, folder.path()), Err(Error::BadModel(_))));
        }
        let (digest, _) = merge(&paths, folder.path()).unwrap();
        ModelFile::open(&folder.path().join(digest.file_name())).unwrap();
    }
}
