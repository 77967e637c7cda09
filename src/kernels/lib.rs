//! Arithmetic on slices: what a step of a model costs is spent here.
//!
//! The only room that may hold `unsafe`. It knows no tensors and no models. What multiplies
//! matrices or attends shares its work over a [`Team`] of threads; the rest runs on its caller's
//! thread. Each function has a plain twin in [`reference`] or in its tests.
//!
//! The same row gives the same bits whatever other rows are computed beside it: every output is
//! one sum in one fixed order, however the work is tiled. That is what makes a seed repeatable in
//! a batch that others share.
#![expect(unsafe_code, reason = "calls of functions compiled for a wider instruction set")]

mod activation;
mod attention;
mod bidirectional;
mod gelu;
pub mod half;
mod lanes;
mod layer_norm;
mod memory;
mod norm;
mod packed;
pub mod probe;
pub mod reference;
mod rotary;
mod team;

pub use activation::swiglu;
pub use attention::{AttentionShape, AttentionSpan, KvNumber, KvPages, attend};
pub use bidirectional::{HeadShape, attend_both_ways};
pub use gelu::bias_gelu;
pub use lanes::Level;
pub use layer_norm::add_layer_norm;
pub use memory::Memory;
pub use norm::{add_rms_norm, rms_norm};
pub use packed::{Activations, Encoding, PackedMatrix, PackedPart};
pub use rotary::{Pairing, rotate};
pub use team::Team;
