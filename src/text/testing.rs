//! What several tests of this room share: the real models, and small ones made by hand.

use std::path::PathBuf;

use hearth_formats::ModelFile;

use crate::tokenizer::Tokenizer;

/// A file of the shared test data, which is not part of the project.
pub(crate) fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("HEARTH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join(path);
    assert!(path.exists(), "{} is absent: set HEARTH_SHARED to the shared folder", path.display());
    path
}

/// The tokenizer of the real model stories260k, from `stories260K-f32.gguf`, `hf` and so on.
pub(crate) fn stories(file: &str) -> Tokenizer {
    let path = shared("models/stories260k").join(file);
    Tokenizer::from_model(&ModelFile::open(&path).unwrap()).unwrap()
}
