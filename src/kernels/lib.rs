//! Arithmetic on slices: what a step of a model costs is spent here.
//!
//! The only room that may hold `unsafe`. It knows no tensors, no models and no threads: each
//! function runs on its caller's thread, and each has a plain twin in [`reference`].
//!
//! The same row gives the same bits whatever other rows are computed beside it: every output is
//! one sum in one fixed order, however the work is tiled. That is what makes a seed repeatable in
//! a batch that others share.
#![expect(unsafe_code, reason = "calls of functions compiled for a wider instruction set")]

mod activation;
mod attention;
mod lanes;
mod linear;
mod norm;
pub mod probe;
pub mod reference;
mod rotary;

pub use activation::swiglu;
pub use attention::{AttentionShape, MAX_PAGE_TOKENS, PagedKv, attend};
pub use lanes::Level;
pub use linear::matrix_times_rows;
pub use norm::rms_norm;
pub use rotary::{Pairing, rotate};
