//! Makes a smaller GGUF file of one whose weights are floats.
//!
//! The new file is made in order, a piece of a tensor at a time, so that memory does not grow with
//! the model; sizes are known before the first byte is. What the pieces become is the
//! [`Workbench`]'s matter.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use hearth_formats::TensorKind;
use hearth_formats::gguf::{Header, TensorInfo, Value};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::gguf_head::{head, pad};
use crate::import::{OnProgress, Progress, write_blob};
use crate::workbench::Workbench;

/// Bytes of a tensor that are read at a time, but at least a row.
const PIECE_BYTES: u64 = 8 << 20;

/// Named kinds of quantised models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    Q4_0,
    Q4KSmall,
    Q4KMedium,
    Q8_0,
}

/// Each one's name and the number that stands for it in `general.file_type` (`enum llama_ftype`).
const QUANTIZATIONS: [(Quantization, &str, u32); 4] = [
    (Quantization::Q4_0, "Q4_0", 2),
    (Quantization::Q4KSmall, "Q4_K_S", 14),
    (Quantization::Q4KMedium, "Q4_K_M", 15),
    (Quantization::Q8_0, "Q8_0", 7),
];

impl FromStr for Quantization {
    type Err = Error;

    fn from_str(name: &str) -> Result<Quantization> {
        // What Ollama understands too.
        let name = if name.eq_ignore_ascii_case("Q4_K") { "Q4_K_M" } else { name };
        let found = QUANTIZATIONS.iter().find(|(_, label, _)| label.eq_ignore_ascii_case(name));
        found.map(|(quantization, ..)| *quantization).ok_or_else(|| {
            let supported: Vec<&str> = QUANTIZATIONS.iter().map(|(_, label, _)| *label).collect();
            let (name, supported) = (name.escape_debug(), supported.join(", "));
            Error::CannotMake(format!(
                "unsupported quantization type {name:.40} - supported types are {supported}"
            ))
        })
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = QUANTIZATIONS.iter().find(|(quantization, ..)| quantization == self);
        formatter.write_str(row.map_or("", |(_, label, _)| *label))
    }
}

impl Quantization {
    fn file_type(self) -> u32 {
        let row = QUANTIZATIONS.iter().find(|(quantization, ..)| *quantization == self);
        row.map_or(0, |(.., number)| *number)
    }
}

/// A file that can be quantised, and what will be written.
pub(crate) struct Plan {
    start: Vec<u8>,
    total_bytes: u64,
    quantized: Quantized,
}

impl Plan {
    /// Reads the header of a checked file; fails if its weights are no floats.
    pub(crate) fn new(
        path: &Path,
        wanted: Quantization,
        workbench: Arc<dyn Workbench>,
    ) -> Result<Plan> {
        let doing = || "read the model's file".to_owned();
        let mut file = File::open(path).doing(doing)?;
        let bytes = file.metadata().doing(doing)?.len();
        let header = Header::read(&mut file, bytes)?;
        let kinds = workbench.kinds(&header, wanted).map_err(Error::CannotMake)?;
        let tensors = planned(&header, &kinds)?;
        let mut start = new_head(&header, wanted, &tensors);
        pad(&mut start, header.alignment);
        let total_bytes = tensors.iter().fold(start.len() as u64, |sum, tensor| {
            sum.saturating_add(tensor.bytes.next_multiple_of(header.alignment))
        });
        let quantized = Quantized {
            alignment: header.alignment,
            parts: header.tensors.into_iter().zip(tensors).collect(),
            file,
            workbench,
            next: 0,
            done_bytes: 0,
            ready: io::Cursor::default(),
        };
        Ok(Plan { start, total_bytes, quantized })
    }

    /// Writes the quantised model as a blob; returns its digest and size.
    pub(crate) fn write(self, blobs: &Path, on_progress: OnProgress<'_>) -> Result<(Digest, u64)> {
        let Plan { start, total_bytes, quantized } = self;
        let mut whole = io::Cursor::new(start).chain(quantized);
        let mut done_bytes = 0;
        write_blob(blobs, &mut whole, &mut |chunk_bytes| {
            done_bytes += chunk_bytes;
            on_progress(Progress { done_bytes, total_bytes })
        })
    }
}

/// The tensors of the new file; their offsets do not count.
fn planned(header: &Header, kinds: &[TensorKind]) -> Result<Vec<TensorInfo>> {
    let is_float = |kind| matches!(kind, TensorKind::F32 | TensorKind::F16 | TensorKind::BF16);
    let pairs = header.tensors.iter().zip(kinds);
    pairs
        .map(|(tensor, &kind)| {
            if kind != tensor.kind && !is_float(tensor.kind) {
                let problem = "quantization is only supported for F16, BF16 and F32 models";
                let (name, label) = (&tensor.name, tensor.kind.label());
                return Err(Error::CannotMake(format!("{problem}: `{name}` is {label}")));
            }
            let bytes = kind.tensor_bytes(&tensor.shape).ok_or_else(|| {
                let label = kind.label();
                Error::CannotMake(format!("`{}` cannot be made {label}", tensor.name))
            })?;
            let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
            Ok(TensorInfo { name, shape, kind, offset: 0, bytes })
        })
        .collect()
}

fn new_head(header: &Header, wanted: Quantization, tensors: &[TensorInfo]) -> Vec<u8> {
    let said = [
        // `GGML_QNT_VERSION`
        ("general.quantization_version", Value::Unsigned(2)),
        ("general.file_type", Value::Unsigned(wanted.file_type().into())),
    ];
    let is_said = |key: &str| said.iter().any(|(name, _)| *name == key);
    let kept = header.metadata.iter().filter(|(key, _)| !is_said(key));
    let metadata: Vec<(&str, &Value)> =
        kept.chain(said.iter().map(|(key, value)| (*key, value))).collect();
    head(&metadata, &tensors.iter().collect::<Vec<_>>(), header.alignment)
}

/// The new file, read in order.
struct Quantized {
    alignment: u64,
    /// The old tensor, the new one.
    parts: Vec<(TensorInfo, TensorInfo)>,
    file: File,
    workbench: Arc<dyn Workbench>,
    /// The tensor that is being made.
    next: usize,
    /// Bytes of the old tensor that are made.
    done_bytes: u64,
    /// Made, but not read yet.
    ready: io::Cursor<Vec<u8>>,
}

impl Quantized {
    /// Makes the next piece; `None` when there is none.
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some((old, new)) = self.parts.get(self.next) else { return Ok(None) };
        // The header was checked: a row is a whole number of bytes, and not empty.
        let row_values = old.shape.last().copied().unwrap_or(1);
        let row_bytes = (old.bytes / (old.shape.iter().product::<u64>() / row_values)).max(1);
        let rows = (PIECE_BYTES / row_bytes).max(1);
        let bytes = (rows * row_bytes).min(old.bytes - self.done_bytes);
        let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.file.seek(SeekFrom::Start(old.offset + self.done_bytes))?;
        self.file.read_exact(&mut read)?;
        let mut made = match old.kind == new.kind {
            true => read,
            false => {
                let row_values = usize::try_from(row_values).map_err(io::Error::other)?;
                let converted = self.workbench.convert(&read, old.kind, new.kind, row_values);
                converted.map_err(io::Error::other)?
            }
        };
        self.done_bytes += bytes;
        if self.done_bytes == old.bytes {
            // Pieces are not aligned by themselves; the tensor's end is.
            let over = new.bytes.next_multiple_of(self.alignment) - new.bytes;
            made.resize(made.len() + usize::try_from(over).unwrap_or(0), 0);
            (self.next, self.done_bytes) = (self.next + 1, 0);
        }
        Ok(Some(made))
    }
}

impl Read for Quantized {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.ready.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            match self.piece()? {
                Some(piece) => self.ready = io::Cursor::new(piece),
                None => return Ok(0),
            }
        }
    }
}
