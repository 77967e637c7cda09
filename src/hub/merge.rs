//! Makes one GGUF file of the parts that a large model is split into (`…-00001-of-00003.gguf`).
//!
//! The first part has the model's metadata; each part has a table of its own tensors. Every part
//! is checked like a whole file before a byte of it is copied.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use hearth_formats::gguf::{Header, Metadata, TensorInfo};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::gguf_head::{head, pad};
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
    let kept = first.metadata.iter().filter(|(key, _)| !key.starts_with(SPLIT_KEYS));
    let mut head = head(&kept.collect::<Vec<_>>(), &tensors, alignment);
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
    use hearth_formats::gguf::Value;

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

    fn head_with(
        metadata: &Metadata,
        number: usize,
        parts: usize,
        tensors: &[TensorInfo],
        alignment: u64,
    ) -> Vec<u8> {
        let mut metadata = metadata.clone();
        for (key, value) in [("split.no", number), ("split.count", parts)] {
            metadata.insert(key.to_owned(), Value::Unsigned(value as u64)).unwrap();
        }
        head(&metadata.iter().collect::<Vec<_>>(), &tensors.iter().collect::<Vec<_>>(), alignment)
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
