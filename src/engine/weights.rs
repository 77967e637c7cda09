//! Reads a checked model's tensors into memory, once, in the form a device computes with.
//!
//! Files are read and not memory-mapped: weights are packed into tiles anyway, and a mapped file
//! that someone truncates kills the process.

mod packed;

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use half::{bf16, f16};
use hearth_formats::{ModelFile, TensorKind, TensorLocation, TensorRole, Weights};

use crate::error::{Error, Result};
use crate::layers::{PackedRows, Weight};

/// Alignment that every block type is content with; ggml's own is 32, files may have 8.
const ALIGNMENT_BYTES: usize = 32;

/// How far ahead of the pieces that are packed the disk reads.
#[cfg(any(target_os = "linux", target_os = "android"))]
const AHEAD_BYTES: u64 = 16 << 20;

/// The open weights of one model.
pub(crate) struct WeightReader<'a> {
    model: &'a ModelFile,
    source: Source,
    device: &'a Device,
    is_packed: bool,
}

enum Source {
    Files(Vec<File>),
    Static(&'static [u8]),
}

impl<'a> WeightReader<'a> {
    /// `is_packed`: matrices are for our kernels, where these have their kind.
    pub(crate) fn open(
        model: &'a ModelFile,
        device: &'a Device,
        is_packed: bool,
    ) -> Result<WeightReader<'a>> {
        let source = match &model.weights {
            Weights::Static(bytes) => Source::Static(bytes),
            Weights::Files(paths) => {
                let open = |path| File::open(path).map_err(|error| unreadable(&error));
                Source::Files(paths.iter().map(open).collect::<Result<_>>()?)
            }
        };
        Ok(WeightReader { model, source, device, is_packed })
    }

    pub(crate) fn has(&self, role: TensorRole) -> bool {
        self.model.tensor(role).is_some()
    }

    /// A matrix packed as its file has it, if that is wanted and our kernels have its kind; else
    /// quantised blocks stay as they are, and floats become f32.
    pub(crate) fn matrix(&self, role: TensorRole) -> Result<Weight> {
        self.matrix_at(self.location(role)?)
    }

    /// Matrices of one form. For our kernels they lie in one: each may be too small for a huge page.
    pub(crate) fn matrices(&self, roles: &[TensorRole]) -> Result<Vec<Weight>> {
        let locations: Vec<&TensorLocation> =
            roles.iter().map(|&role| self.location(role)).collect::<Result<_>>()?;
        let is_alike = |pair: &[&TensorLocation]| {
            pair[0].kind == pair[1].kind && pair[0].shape == pair[1].shape
        };
        let first =
            locations.first().filter(|_| self.is_packed && locations.windows(2).all(is_alike));
        let rows = first.and_then(|first| first.shape.first()).map_or(0, |&rows| rows as usize);
        match first.and_then(|first| packed::encoding(first)) {
            Some(encoding) if rows > 0 && rows.is_multiple_of(packed::TILE_ROWS) => {
                let matrix = packed::read(&self.source, &locations, encoding)?;
                Ok(PackedRows::whole(matrix).split(rows).map(Weight::Packed).collect())
            }
            _ => locations.into_iter().map(|location| self.matrix_at(location)).collect(),
        }
    }

    /// Some rows of a matrix, as a matrix of their own: files may have several in one.
    pub(crate) fn rows(&self, role: TensorRole, rows: Range<usize>) -> Result<Weight> {
        let whole = self.location(role)?;
        let [outputs, inputs] = whole.shape[..] else {
            return Err(Error::LoadFailed("a matrix has two dimensions".into()));
        };
        let (first, count) = (rows.start as u64, rows.len() as u64);
        if first + count > outputs {
            return Err(Error::LoadFailed(format!("rows {rows:?} of a matrix of {outputs}")));
        }
        // Whole blocks make up a row.
        let row_bytes = whole.bytes / outputs;
        self.matrix_at(&TensorLocation {
            file: whole.file,
            offset: whole.offset + first * row_bytes,
            bytes: count * row_bytes,
            kind: whole.kind,
            shape: vec![count, inputs],
        })
    }

    fn matrix_at(&self, location: &TensorLocation) -> Result<Weight> {
        if let (true, Some(encoding)) = (self.is_packed, packed::encoding(location)) {
            let matrix = packed::read(&self.source, &[location], encoding)?;
            return Ok(Weight::Packed(PackedRows::whole(matrix)));
        }
        let bytes = self.read(location)?;
        match block_kind(location.kind) {
            None => Ok(Weight::Dense(self.dense(&bytes, location)?)),
            Some(kind) => Ok(Weight::Quantized(Arc::new(self.blocks(&bytes, kind, location)?))),
        }
    }

    /// A vector (or table) as f32 on the device, whatever its file has.
    pub(crate) fn vector(&self, role: TensorRole) -> Result<Tensor> {
        let location = self.location(role)?;
        let bytes = self.read(location)?;
        match block_kind(location.kind) {
            None => self.dense(&bytes, location),
            Some(kind) => Ok(self.blocks(&bytes, kind, location)?.dequantize(self.device)?),
        }
    }

    fn dense(&self, bytes: &AlignedBytes, location: &TensorLocation) -> Result<Tensor> {
        let values = widen(bytes.get(), location.kind);
        Ok(Tensor::from_vec(values, dims(location), &Device::Cpu)?.to_device(self.device)?)
    }

    fn blocks(
        &self,
        bytes: &AlignedBytes,
        kind: GgmlDType,
        location: &TensorLocation,
    ) -> Result<QTensor> {
        let storage = QStorage::from_data(bytes.get().into(), self.device, kind)?;
        Ok(QTensor::new(storage, dims(location))?)
    }

    fn location(&self, role: TensorRole) -> Result<&'a TensorLocation> {
        self.model.tensor(role).ok_or_else(|| {
            Error::LoadFailed(format!("the checked file has no tensor for {role:?}"))
        })
    }

    fn read(&self, location: &TensorLocation) -> Result<AlignedBytes> {
        let mut bytes = AlignedBytes::new(location.bytes as usize);
        self.source.read(location, 0, bytes.get_mut())?;
        Ok(bytes)
    }
}

impl Source {
    /// Reads a tensor's bytes from `start` on.
    fn read(&self, location: &TensorLocation, start: usize, bytes: &mut [u8]) -> Result<()> {
        match self {
            Source::Static(all) => {
                let data = location.data(all).and_then(|data| data.get(start..start + bytes.len()));
                let cut = || Error::LoadFailed("the embedded model is cut short".into());
                bytes.copy_from_slice(data.ok_or_else(cut)?);
                Ok(())
            }
            Source::Files(files) => {
                let offset = location.offset + start as u64;
                let file = &files[location.file];
                // The disk reads on while this piece is packed.
                ask_ahead(file, offset, bytes.len());
                read_at(file, bytes, offset).map_err(|error| unreadable(&error))
            }
        }
    }
}

/// Reads without moving the file's own place, so that threads can share the file.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Has the system read what lies [`AHEAD_BYTES`] behind these bytes, and at a file's beginning all
/// until there. Only a wish: a file in the system's cache costs some microseconds.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn ask_ahead(file: &File, offset: u64, len: usize) {
    use rustix::fs::{Advice, fadvise};
    let len = len as u64;
    let (from, len) = match offset < AHEAD_BYTES {
        true => (offset, AHEAD_BYTES + len),
        false => (offset + AHEAD_BYTES, len),
    };
    let _ = fadvise(file, from, std::num::NonZeroU64::new(len), Advice::WillNeed);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn ask_ahead(_file: &File, _offset: u64, _len: usize) {}

/// Bytes that start where every block type may start. candle asserts alignment, and neither a
/// file's offsets nor an embedded file give it.
struct AlignedBytes {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBytes {
    fn new(len: usize) -> AlignedBytes {
        let bytes = vec![0; len + ALIGNMENT_BYTES];
        let start = bytes.as_ptr().align_offset(ALIGNMENT_BYTES).min(ALIGNMENT_BYTES);
        AlignedBytes { bytes, start, len }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// candle's name of a block kind; `None` for plain floats.
pub(crate) fn block_kind(kind: TensorKind) -> Option<GgmlDType> {
    match kind {
        TensorKind::F32 | TensorKind::F16 | TensorKind::BF16 => None,
        TensorKind::Q4_0 => Some(GgmlDType::Q4_0),
        TensorKind::Q4_1 => Some(GgmlDType::Q4_1),
        TensorKind::Q5_0 => Some(GgmlDType::Q5_0),
        TensorKind::Q5_1 => Some(GgmlDType::Q5_1),
        TensorKind::Q8_0 => Some(GgmlDType::Q8_0),
        TensorKind::Q2_K => Some(GgmlDType::Q2K),
        TensorKind::Q3_K => Some(GgmlDType::Q3K),
        TensorKind::Q4_K => Some(GgmlDType::Q4K),
        TensorKind::Q5_K => Some(GgmlDType::Q5K),
        TensorKind::Q6_K => Some(GgmlDType::Q6K),
    }
}

/// Little-endian floats as f32. Half floats are widened once here, so that a step computes in one
/// precision on every device; it costs twice their memory.
pub(crate) fn widen(bytes: &[u8], kind: TensorKind) -> Vec<f32> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    match kind {
        TensorKind::F16 => pairs().map(|&pair| f16::from_le_bytes(pair).to_f32()).collect(),
        TensorKind::BF16 => pairs().map(|&pair| bf16::from_le_bytes(pair).to_f32()).collect(),
        _ => bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
    }
}

/// Bytes that a tensor takes in host memory, with the copies that candle makes of what it keeps.
pub(crate) fn host_bytes(location: &TensorLocation) -> u64 {
    match (location.shape.len(), location.kind) {
        (2, _) if packed::encoding(location).is_some() => packed::bytes(location),
        (_, TensorKind::F32 | TensorKind::F16 | TensorKind::BF16) => location.elements() * 4,
        _ => location.bytes + repacked_bytes(location),
    }
}

/// Bytes that reading a tensor into host memory takes beside it, at the most.
pub(crate) fn host_reading_bytes(location: &TensorLocation) -> u64 {
    match packed::encoding(location) {
        Some(_) => packed::reading_bytes(location),
        None => location.bytes,
    }
}

/// The same by the bytes of the widest row.
pub(crate) fn host_pieces_bytes(row_bytes: u64) -> u64 {
    packed::pieces_bytes(row_bytes)
}

/// Bytes that a tensor takes on a GPU.
pub(crate) fn gpu_bytes(location: &TensorLocation) -> u64 {
    match location.kind {
        TensorKind::F32 | TensorKind::F16 | TensorKind::BF16 => location.elements() * 4,
        _ => location.bytes,
    }
}

/// On x86-64 candle keeps a second form of some kinds, tiled over 16 rows of whole 256-value
/// blocks (`repack_x86.rs`: 192 bytes per block of Q4_K, 320 of Q6_K, as it is of Q8_0).
fn repacked_bytes(location: &TensorLocation) -> u64 {
    let [rows, columns] = location.shape[..] else { return 0 };
    if !cfg!(target_arch = "x86_64") || !rows.is_multiple_of(16) || !columns.is_multiple_of(256) {
        return 0;
    }
    match location.kind {
        TensorKind::Q4_K => rows * columns / 256 * 192,
        TensorKind::Q6_K => rows * columns / 256 * 320,
        TensorKind::Q8_0 => location.bytes,
        _ => 0,
    }
}

fn dims(location: &TensorLocation) -> Vec<usize> {
    location.shape.iter().map(|&dim| dim as usize).collect()
}

fn unreadable(error: &std::io::Error) -> Error {
    Error::LoadFailed(format!("the weights cannot be read: {error}"))
}
