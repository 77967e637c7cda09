//! Reads and checks the header of a GGUF file: metadata and the table of tensors.
//!
//! Nothing in the file is believed: every count, length, product and offset is bounded and checked
//! before it is used, and memory follows the bytes that were read. The tensors' data is not read.

mod metadata;
mod source;

use std::collections::HashSet;
use std::io::{BufReader, Read, Seek};

use crate::error::{Error, Result};
use crate::tensor::{TensorKind, ggml_name};
use source::Source;

pub use metadata::{Array, FixedKind, Metadata, Value};

/// Largest header that is read; vocabularies of 256 thousand tokens with merges take about 16 MiB.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;
/// Most metadata pairs; real files have under a hundred.
pub const MAX_METADATA_PAIRS: u64 = 4096;
/// Longest key, as GGUF's specification says.
pub const MAX_KEY_BYTES: u64 = 65_535;
/// Longest string; some files carry a whole `tokenizer.json` of 17 MB as one.
pub const MAX_STRING_BYTES: u64 = 32 << 20;
/// Most elements of one array; the largest vocabularies have a quarter of a million.
pub const MAX_ARRAY_ELEMENTS: u64 = 4 << 20;
/// How deep arrays may nest.
pub const MAX_ARRAY_DEPTH: u32 = 4;
/// Most tensors in one file.
pub const MAX_TENSORS: u64 = 65_536;
/// Longest name of a tensor; ggml itself stops at 64.
pub const MAX_TENSOR_NAME_BYTES: u64 = 256;
/// Most dimensions of a tensor, as in ggml.
pub const MAX_DIMENSIONS: u32 = 4;
/// The bounds of `general.alignment`, which must be a power of two.
pub const ALIGNMENT_BYTES: std::ops::RangeInclusive<u64> = 8..=65_536;

/// `general.alignment` when the key is absent.
const DEFAULT_ALIGNMENT_BYTES: u64 = 32;

/// A checked header.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    pub metadata: Metadata,
    /// In the order of the file; names are unique and data ranges do not touch each other.
    pub tensors: Vec<TensorInfo>,
    /// Bytes to which the data of every tensor is aligned.
    pub alignment: u64,
    /// Where the tensors' data begins, from the start of the file.
    pub data_offset: u64,
}

/// Where a tensor is and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Outermost dimension first: the reverse of ggml's order.
    pub shape: Vec<u64>,
    pub kind: TensorKind,
    /// From the start of the file.
    pub offset: u64,
    pub bytes: u64,
}

impl Header {
    /// Reads the header of a file of `file_bytes` bytes from its start.
    pub fn read(reader: &mut (impl Read + Seek), file_bytes: u64) -> Result<Header> {
        reader.rewind().map_err(|source| Error::Io { path: "the model file".into(), source })?;
        let end = file_bytes.min(MAX_HEADER_BYTES);
        let mut source = Source::new(BufReader::with_capacity(64 << 10, reader), end);
        let version = read_version(&mut source)?;
        // A tensor takes at least 32 bytes of header and a pair at least 13.
        let tensors = read_count(&mut source, "tensors", MAX_TENSORS, 32)?;
        let pairs = read_count(&mut source, "metadata pairs", MAX_METADATA_PAIRS, 13)?;
        let metadata = Metadata::read(&mut source, pairs)?;
        let alignment = alignment(&metadata)?;
        let mut tensors =
            (0..tensors).map(|_| read_tensor(&mut source)).collect::<Result<Vec<TensorInfo>>>()?;
        // position ≤ 128 MiB and alignment ≤ 64 KiB: no overflow.
        let data_offset = source.position().next_multiple_of(alignment);
        place_tensors(&mut tensors, data_offset, alignment, file_bytes)?;
        Ok(Header { version, metadata, tensors, alignment, data_offset })
    }
}

fn read_version(source: &mut Source<impl Read>) -> Result<u32> {
    if source.fixed::<4>("the magic number")? != *b"GGUF" {
        return Err(Error::Unsupported("this is not a GGUF file".into()));
    }
    match source.u32("the version")? {
        version @ (2 | 3) => Ok(version),
        1 => Err(Error::Unsupported("GGUF version 1 is not supported: convert the file".into())),
        // A small number with its bytes the other way round.
        version if version.swap_bytes() <= 3 => {
            Err(Error::Unsupported("big-endian GGUF files are not supported".into()))
        }
        version => Err(Error::Unsupported(format!("GGUF version {version} is not known"))),
    }
}

fn read_count(
    source: &mut Source<impl Read>,
    what: &str,
    limit: u64,
    least_bytes: u64,
) -> Result<u64> {
    let count = source.u64(what)?;
    if count > limit {
        return Err(Error::Damaged(format!("{count} {what} claimed, the limit is {limit}")));
    }
    if count * least_bytes > source.left() {
        return Err(Error::Damaged(format!("{count} {what} claimed, more than the file can hold")));
    }
    Ok(count)
}

fn alignment(metadata: &Metadata) -> Result<u64> {
    let key = "general.alignment";
    let alignment = metadata.u64(key)?.unwrap_or(DEFAULT_ALIGNMENT_BYTES);
    if !alignment.is_power_of_two() || !ALIGNMENT_BYTES.contains(&alignment) {
        return Err(Error::key(
            key,
            format!("is {alignment}, must be a power of two from 8 to 65536"),
        ));
    }
    Ok(alignment)
}

/// Reads one row of the tensor table; `offset` is still relative to the start of the data.
fn read_tensor(source: &mut Source<impl Read>) -> Result<TensorInfo> {
    let name = source.string(MAX_TENSOR_NAME_BYTES, "a tensor's name")?;
    let dimensions = source.u32("a tensor's dimensions")?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(Error::tensor(&name, format!("has {dimensions} dimensions, must be 1 to 4")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(source.u64("a tensor's dimensions")?);
    }
    shape.reverse();
    if shape.contains(&0) {
        return Err(Error::tensor(&name, format!("has an empty dimension: {shape:?}")));
    }
    let id = source.u32("a tensor's type")?;
    let kind = TensorKind::from_ggml_id(id).ok_or_else(|| {
        Error::tensor(&name, format!("the type {} is not supported", ggml_name(id)))
    })?;
    let bytes = kind.tensor_bytes(&shape).ok_or_else(|| {
        let label = kind.label();
        Error::tensor(&name, format!("the shape {shape:?} is impossible for type {label}"))
    })?;
    let offset = source.u64("a tensor's offset")?;
    Ok(TensorInfo { name, shape, kind, offset, bytes })
}

/// Makes offsets absolute and proves that all tensors lie in the file, apart from each other.
fn place_tensors(
    tensors: &mut [TensorInfo],
    data_offset: u64,
    alignment: u64,
    file_bytes: u64,
) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twin) = tensors.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
        return Err(Error::tensor(&twin.name, "appears twice"));
    }
    for tensor in &mut *tensors {
        if !tensor.offset.is_multiple_of(alignment) {
            let problem = format!("offset {} is not aligned to {alignment}", tensor.offset);
            return Err(Error::tensor(&tensor.name, problem));
        }
        let start = tensor.offset.checked_add(data_offset);
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        if end.is_none_or(|end| end > file_bytes) {
            let problem = format!(
                "{} bytes at data offset {} reach past the end of the file ({file_bytes} bytes)",
                tensor.bytes, tensor.offset
            );
            return Err(Error::tensor(&tensor.name, problem));
        }
        tensor.offset += data_offset;
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            let problem = format!("its data overlaps that of `{}`", pair[0].name);
            return Err(Error::tensor(&pair[1].name, problem));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
