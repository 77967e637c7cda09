//! Reads and checks the header of a `.safetensors` file.
//!
//! Layout: 8 bytes little-endian length, that many bytes of JSON, then the data. As the format's
//! own specification asks, the tensors must cover the data without gap or overlap.

use std::fmt;
use std::io::Read;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::error::{Error, Result};
use crate::gguf::{MAX_TENSOR_NAME_BYTES, MAX_TENSORS};
use crate::tensor::{TensorKind, checked_elements};

/// Largest JSON header; a shard of the largest models has under 1 MiB.
pub const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Most dimensions of a tensor.
pub const MAX_DIMENSIONS: usize = 8;

/// Bytes of the length that comes before the JSON.
const LENGTH_BYTES: u64 = 8;

/// Where a tensor is and how it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<u64>,
    pub kind: TensorKind,
    /// From the start of the file.
    pub offset: u64,
    pub bytes: u64,
}

/// Reads the header of a file of `file_bytes` bytes; the tensors come in the order of their data.
pub fn read_header(reader: &mut impl Read, file_bytes: u64) -> Result<Vec<TensorInfo>> {
    let cut_short = |_| Error::Damaged("the file ends inside the safetensors header".into());
    let mut length = [0; LENGTH_BYTES as usize];
    reader.read_exact(&mut length).map_err(cut_short)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES || length > file_bytes.saturating_sub(LENGTH_BYTES) {
        return Err(Error::Damaged(format!(
            "a safetensors header of {length} bytes is claimed, in a file of {file_bytes} bytes \
             and with a limit of {MAX_HEADER_BYTES}"
        )));
    }
    let mut json = Vec::new();
    reader.take(length).read_to_end(&mut json).map_err(cut_short)?;
    if json.len() as u64 != length {
        return Err(Error::Damaged("the file ends inside the safetensors header".into()));
    }
    let table: Table = serde_json::from_slice(&json)
        .map_err(|problem| Error::Damaged(format!("the safetensors header: {problem}")))?;
    place_tensors(table.0, LENGTH_BYTES + length, file_bytes)
}

/// The header as written: names in file order, each once.
struct Table(Vec<(String, Row)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Table, D::Error> {
        deserializer.deserialize_map(TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Table;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that maps tensor names to their places")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Table, A::Error> {
        let mut names = std::collections::HashSet::new();
        let mut rows = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            // Also the safeguard that a map would not be: serde_json lets the last twin win.
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!(
                    "`{}` appears twice",
                    crate::error::shown(&name)
                )));
            }
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if name.len() as u64 > MAX_TENSOR_NAME_BYTES || rows.len() as u64 >= MAX_TENSORS {
                return Err(A::Error::custom("too many tensors or too long a tensor name"));
            }
            rows.push((name, map.next_value()?));
        }
        Ok(Table(rows))
    }
}

fn place_tensors(
    rows: Vec<(String, Row)>,
    data_offset: u64,
    file_bytes: u64,
) -> Result<Vec<TensorInfo>> {
    let data_bytes = file_bytes - data_offset;
    let mut rows = rows;
    rows.sort_by_key(|(_, row)| row.data_offsets);
    let mut tensors = Vec::with_capacity(rows.len());
    let mut covered = 0;
    for (name, row) in rows {
        let [start, end] = row.data_offsets;
        if start != covered || end < start || end > data_bytes {
            let problem = format!(
                "data {start}..{end} must follow on {covered} and stay within {data_bytes} bytes"
            );
            return Err(Error::tensor(&name, problem));
        }
        // Old exports of encoders carry the list 0, 1, 2, … beside the table of positions.
        if name.ends_with("embeddings.position_ids") && row.dtype == "I64" {
            covered = end;
            continue;
        }
        let kind = kind(&name, &row.dtype)?;
        if row.shape.len() > MAX_DIMENSIONS {
            return Err(Error::tensor(&name, format!("has {} dimensions", row.shape.len())));
        }
        let elements = checked_elements(&row.shape);
        let bytes = elements.and_then(|elements| elements.checked_mul(kind.block_bytes()));
        if bytes != Some(end - start) {
            let label = kind.label();
            let problem =
                format!("shape {:?} as {label} does not fill {} bytes", row.shape, end - start);
            return Err(Error::tensor(&name, problem));
        }
        covered = end;
        let offset = data_offset + start;
        tensors.push(TensorInfo { name, shape: row.shape, kind, offset, bytes: end - start });
    }
    if covered != data_bytes {
        let problem = format!("{} bytes of data belong to no tensor", data_bytes - covered);
        return Err(Error::Damaged(problem));
    }
    Ok(tensors)
}

fn kind(name: &str, dtype: &str) -> Result<TensorKind> {
    match dtype {
        "F32" => Ok(TensorKind::F32),
        "F16" => Ok(TensorKind::F16),
        "BF16" => Ok(TensorKind::BF16),
        other => {
            let other = crate::error::shown(other);
            Err(Error::tensor(name, format!("the type {other} is not supported")))
        }
    }
}

#[cfg(test)]
mod tests;
