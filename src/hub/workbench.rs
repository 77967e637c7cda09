//! What making models needs of rooms that this one does not know: whoever puts the program together
//! gives it to the library.

use hearth_formats::TensorKind;
use hearth_formats::gguf::Header;

use crate::quantize::Quantization;

/// Checks templates, and makes smaller weights of floats. Errors are told to whoever makes a model.
pub trait Workbench: Send + Sync {
    /// Fails if the text is no template in Go's notation.
    fn check_template(&self, source: &str) -> Result<(), String>;

    /// Whether a model is asked by the Jinja template of its file rather than by the one in Go's
    /// notation that came beside it.
    fn prefers_own(&self, own: &str, beside: &str) -> bool;

    /// The kind of each tensor of a quantised model, in the order of the file.
    fn kinds(&self, header: &Header, wanted: Quantization) -> Result<Vec<TensorKind>, String>;

    /// Whole rows of one kind of floats, as rows of another kind.
    fn convert(
        &self,
        rows: &[u8],
        from: TensorKind,
        to: TensorKind,
        row_values: usize,
    ) -> Result<Vec<u8>, String>;
}
