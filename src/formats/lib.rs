//! Reads the headers of model files that nobody has checked yet, without trusting a byte of them.
//!
//! Entry point: [`ModelFile::open`] for a GGUF file or a Hugging Face folder, [`ModelFile::from_static`]
//! for a model inside the binary. What it returns has been checked as a whole: a known architecture,
//! sane numbers, every tensor present with the right shape, inside its file and apart from the others.
//! This crate reads headers and small text files only; it never loads a tensor's data.

pub mod architecture;
mod error;
pub mod expected;
pub mod gguf;
mod model_file;
pub mod safetensors;
mod tensor;
#[cfg(test)]
mod testing;
mod vocabulary;

pub use architecture::{
    Architecture, DecoderShape, EncoderOutput, EncoderShape, Experts, LongRope, ModelShape,
    Pooling, PositionTable, Rope, RopeScaling, RopeStyle, Window, Yarn,
};
pub use error::{Error, Result};
pub use expected::{ExpertPart, LayerPart, TensorRole};
pub use model_file::{
    FLAT_POOLING_FILE, HuggingFaceTexts, ModelFile, ModelFormat, QUANTIZED_FILE, TensorLocation,
    TokenizerSource, Weights,
};
pub use tensor::TensorKind;
pub use vocabulary::{ChatFamily, GAP_MARKS, fills_gaps};
