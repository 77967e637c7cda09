use std::path::PathBuf;

use super::*;

/// The shared test data; the models in it are real and not part of the project.
fn shared(path: &str) -> PathBuf {
    let root = std::env::var_os("HEARTH_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = root.join(path);
    assert!(path.exists(), "{} is absent: set HEARTH_SHARED to the shared folder", path.display());
    path
}

fn assert_is_stories(model: &ModelFile) {
    let shape = &model.shape;
    assert_eq!((shape.layers, shape.dim, shape.ffn_dim), (5, 64, 172));
    assert_eq!((shape.heads, shape.kv_heads, shape.head_dim), (8, 4, 8));
    assert_eq!((shape.vocab, shape.context_tokens), (512, 512));
    assert_eq!((shape.rope.theta, shape.rope.dim), (10_000.0, 8));
    assert!((shape.rms_eps - 1e-5).abs() < 1e-9);
    assert!(!shape.qkv_bias && !shape.qk_norm && shape.rope.scaling.is_none());
}

#[test]
fn the_real_gguf_files_pass() {
    for (file, quantization) in [("f32", "F32"), ("q8_0", "Q8_0")] {
        let path = shared(&format!("models/stories260k/stories260K-{file}.gguf"));
        let model = ModelFile::open(&path).unwrap();
        assert_is_stories(&model);
        assert_eq!(model.quantization(), quantization);
        assert_eq!(model.shape.rope.style, architecture::RopeStyle::Interleaved);
        assert!((260_000..330_000).contains(&model.parameters()), "{}", model.parameters());
    }
}

#[test]
fn the_real_folder_passes() {
    let model = ModelFile::open(&shared("models/stories260k/hf")).unwrap();
    assert_is_stories(&model);
    assert_eq!(model.quantization(), "F32");
    assert_eq!(model.shape.rope.style, architecture::RopeStyle::Halved);
    assert_eq!(model.format, ModelFormat::Safetensors);
}
