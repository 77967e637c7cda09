//! Makes a smaller file of weights that are floats: of a GGUF file another one, of a folder of
//! safetensors files the one that stands in for them.
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

use hearth_formats::expected::Naming;
use hearth_formats::gguf::{Header, Metadata, TensorInfo, Value};
use hearth_formats::{ModelFile, TensorKind, Weights};

use crate::digest::Digest;
use crate::error::{Doing, Error, Result};
use crate::gguf_head::{head, pad};
use crate::import::{OnProgress, Progress, write_blob};
use crate::workbench::Workbench;

/// Bytes of a tensor that are read at a time, but at least a row.
const PIECE_BYTES: u64 = 8 << 20;
/// Bytes to which tensors are aligned in files that come of a folder; GGUF's own choice.
const ALIGNMENT_BYTES: u64 = 32;

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

/// Weights that can be quantised, and what will be written.
pub(crate) struct Plan {
    start: Vec<u8>,
    total_bytes: u64,
    quantized: Quantized,
}

/// Weights as they are: what llama.cpp would write of them, and where they really lie.
struct Old {
    /// In llama.cpp's names, by which kinds are chosen; its places do not count.
    header: Header,
    /// Of each tensor: the file it lies in, and what it is there.
    places: Vec<(usize, TensorInfo)>,
    files: Vec<File>,
}

impl Plan {
    /// Reads the header of a checked GGUF file; fails if its weights are no floats.
    pub(crate) fn of_file(
        path: &Path,
        wanted: Quantization,
        workbench: Arc<dyn Workbench>,
    ) -> Result<Plan> {
        let doing = || "read the model's file".to_owned();
        let mut file = File::open(path).doing(doing)?;
        let bytes = file.metadata().doing(doing)?.len();
        let header = Header::read(&mut file, bytes)?;
        let places = header.tensors.iter().map(|tensor| (0, tensor.clone())).collect();
        Plan::new(Old { header, places, files: vec![file] }, wanted, workbench)
    }

    /// The same of a checked folder. Its files are open from here on: the folder itself may go.
    pub(crate) fn of_folder(
        model: &ModelFile,
        wanted: Quantization,
        workbench: Arc<dyn Workbench>,
    ) -> Result<Plan> {
        let Weights::Files(paths) = &model.weights else {
            return Err(Error::CannotMake("the model has no files of its own".to_owned()));
        };
        let doing = || "read the model's files".to_owned();
        let files =
            paths.iter().map(|path| File::open(path).doing(doing)).collect::<Result<_>>()?;
        let naming = Naming::of_folder(model.shape.architecture);
        let (mut tensors, mut places) = (Vec::new(), Vec::new());
        for (role, location) in &model.tensors {
            let names = (role.file_name(naming), role.file_name(Naming::Gguf));
            let (Some(own), Some(theirs)) = names else { continue };
            let (kind, offset, bytes) = (location.kind, location.offset, location.bytes);
            let tensor =
                TensorInfo { name: own, shape: location.shape.clone(), kind, offset, bytes };
            // llama.cpp stacks a layer's experts, and has one name for all.
            let name = theirs.split('[').next().unwrap_or_default().to_owned();
            tensors.push(TensorInfo { name, ..tensor.clone() });
            places.push((location.file, tensor));
        }
        let (version, alignment, data_offset) = (3, ALIGNMENT_BYTES, 0);
        let metadata = metadata_of(model)?;
        let header = Header { version, metadata, tensors, alignment, data_offset };
        Plan::new(Old { header, places, files }, wanted, workbench)
    }

    fn new(old: Old, wanted: Quantization, workbench: Arc<dyn Workbench>) -> Result<Plan> {
        let Old { header, places, files } = old;
        let kinds = workbench.kinds(&header, wanted).map_err(Error::CannotMake)?;
        let parts = places.into_iter().zip(kinds).map(|((file, old), kind)| {
            let new = planned(&old, kind)?;
            Ok(Part { file, old, new })
        });
        let parts = parts.collect::<Result<Vec<Part>>>()?;
        let tensors: Vec<&TensorInfo> = parts.iter().map(|part| &part.new).collect();
        let mut start = new_head(&header, wanted, &tensors);
        pad(&mut start, header.alignment);
        let total_bytes = tensors.iter().fold(start.len() as u64, |sum, tensor| {
            sum.saturating_add(tensor.bytes.next_multiple_of(header.alignment))
        });
        let quantized = Quantized {
            alignment: header.alignment,
            parts,
            files,
            workbench,
            next: 0,
            done_bytes: 0,
            ready: io::Cursor::default(),
        };
        Ok(Plan { start, total_bytes, quantized })
    }

    /// Size of the file that will be written.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
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

/// What the choice of kinds asks of a folder, in llama.cpp's words.
fn metadata_of(model: &ModelFile) -> Result<Metadata> {
    let name = model.shape.architecture.name();
    let experts = model.shape.decoder.experts.map_or(0, |experts| experts.count);
    let mut metadata = Metadata::default();
    for (key, value) in [
        ("general.architecture".to_owned(), Value::String(name.to_owned())),
        (format!("{name}.block_count"), Value::Unsigned(model.shape.layers as u64)),
        (format!("{name}.expert_count"), Value::Unsigned(experts as u64)),
    ] {
        metadata.insert(key, value)?;
    }
    Ok(metadata)
}

/// A tensor of the new file; its offset does not count.
fn planned(old: &TensorInfo, kind: TensorKind) -> Result<TensorInfo> {
    let is_float = |kind| matches!(kind, TensorKind::F32 | TensorKind::F16 | TensorKind::BF16);
    if kind != old.kind && !is_float(old.kind) {
        let problem = "quantization is only supported for F16, BF16 and F32 models";
        let (name, label) = (&old.name, old.kind.label());
        return Err(Error::CannotMake(format!("{problem}: `{name}` is {label}")));
    }
    let bytes = kind.tensor_bytes(&old.shape).ok_or_else(|| {
        let label = kind.label();
        Error::CannotMake(format!("`{}` cannot be made {label}", old.name))
    })?;
    let (name, shape) = (old.name.clone(), old.shape.clone());
    Ok(TensorInfo { name, shape, kind, offset: 0, bytes })
}

fn new_head(header: &Header, wanted: Quantization, tensors: &[&TensorInfo]) -> Vec<u8> {
    let said = [
        // `GGML_QNT_VERSION`
        ("general.quantization_version", Value::Unsigned(2)),
        ("general.file_type", Value::Unsigned(wanted.file_type().into())),
    ];
    let is_said = |key: &str| said.iter().any(|(name, _)| *name == key);
    let kept = header.metadata.iter().filter(|(key, _)| !is_said(key));
    let metadata: Vec<(&str, &Value)> =
        kept.chain(said.iter().map(|(key, value)| (*key, value))).collect();
    head(&metadata, tensors, header.alignment)
}

/// A tensor, as it is and as it will be.
struct Part {
    /// The file that the old one lies in.
    file: usize,
    old: TensorInfo,
    new: TensorInfo,
}

/// The new file, read in order.
struct Quantized {
    alignment: u64,
    parts: Vec<Part>,
    files: Vec<File>,
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
        let Some(Part { file, old, new }) = self.parts.get(self.next) else { return Ok(None) };
        // The header was checked: a row is a whole number of bytes, and not empty.
        let row_values = old.shape.last().copied().unwrap_or(1);
        let row_bytes = (old.bytes / (old.shape.iter().product::<u64>() / row_values)).max(1);
        let rows = (PIECE_BYTES / row_bytes).max(1);
        let bytes = (rows * row_bytes).min(old.bytes - self.done_bytes);
        let mut read = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        // Each part names one of these.
        let file = &mut self.files[*file];
        file.seek(SeekFrom::Start(old.offset + self.done_bytes))?;
        file.read_exact(&mut read)?;
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
