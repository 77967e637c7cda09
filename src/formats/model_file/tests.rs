//! Whole models: the real ones pass, altered ones name what is wrong.

use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::architecture::RopeStyle;
use crate::expected::LayerPart;
use crate::testing::*;

fn open(file: &[u8]) -> Result<ModelFile> {
    let size_bytes = file.len() as u64;
    ModelFile::from_gguf(&mut Cursor::new(file), size_bytes, Weights::Static(&[]))
}

fn refused(file: &Gguf, words: &str) {
    let problem = open(&file.bytes()).expect_err("accepted").to_string();
    assert!(problem.contains(words), "`{words}` is not in `{problem}`");
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
        assert_eq!(model.shape.rope.style, RopeStyle::Interleaved);
        assert!(model.weights_bytes() < model.size_bytes);
    }
}

#[test]
fn the_real_folder_holds_the_same_model() {
    let folder = ModelFile::open(&shared("models/stories260k/hf")).unwrap();
    assert_is_stories(&folder);
    assert_eq!((folder.quantization(), folder.format), ("F32", ModelFormat::Safetensors));
    assert_eq!(folder.shape.rope.style, RopeStyle::Halved);
    let file = ModelFile::open(&shared("models/stories260k/stories260K-f32.gguf")).unwrap();
    assert_eq!(folder.parameters(), file.parameters());
    assert!(folder.tensors.keys().eq(file.tensors.keys()));
}

#[test]
fn a_tiny_honest_encoder_passes_and_names_what_it_lacks() {
    let model = open(&tiny_bert().bytes()).unwrap();
    assert_eq!(model.tensors.len(), 21);
    let encoder = model.shape.encoder.unwrap();
    assert_eq!(encoder.positions, Some(crate::PositionTable { rows: 16, first: 0 }));
    assert_eq!(encoder.token_types, 2);
    let pooling = crate::Pooling::First;
    assert_eq!(encoder.output, crate::EncoderOutput::Vector { pooling, is_normalized: true });
    let renamed = tiny_bert().rename("blk.0.ffn_up.bias", "blk.0.ffn_gate.bias");
    refused(&renamed, "`blk.0.ffn_up.bias`: is missing");
    refused(&tiny_bert().set("bert.pooling_type", u32_value(3)), "only 1 (mean)");
    refused(&tiny_bert().set("bert.pooling_type", u32_value(4)), "no `cls.output.weight`");
    refused(&tiny_bert().set("bert.attention.head_count", u32_value(3)), "3 heads");
}

#[test]
fn a_score_needs_all_of_its_head() {
    let headed = tiny_bert()
        .set("bert.pooling_type", u32_value(4))
        .tensor("cls.output.weight", &[4, 1])
        .tensor("cls.output.bias", &[1]);
    // What converters make of a `BertForSequenceClassification`: its pooler is lost.
    refused(&headed, "`cls.weight`: is missing");
    let whole = headed.tensor("cls.weight", &[4, 4]).tensor("cls.bias", &[4]);
    let model = open(&whole.bytes()).unwrap();
    assert_eq!(model.shape.encoder.unwrap().output, crate::EncoderOutput::Score);
}

#[test]
fn a_fused_projection_is_taken_apart_row_by_row() {
    let mut file = tiny_bert();
    for part in ["weight", "bias"] {
        for of in ["q", "k", "v"] {
            file.tensors.retain(|row| row.name != format!("blk.0.attn_{of}.{part}"));
        }
    }
    let fused = file.tensor("blk.0.attn_qkv.weight", &[4, 12]).tensor("blk.0.attn_qkv.bias", &[12]);
    let model = open(&fused.bytes()).unwrap();
    let at = |part| model.tensor(TensorRole::Layer { layer: 0, part }).unwrap();
    let (query, key, value) = (at(LayerPart::Query), at(LayerPart::Key), at(LayerPart::Value));
    assert_eq!((key.offset, value.offset), (query.offset + 64, query.offset + 128));
    assert_eq!((key.bytes, key.shape.as_slice()), (64, [4, 4].as_slice()));
    assert_eq!(at(LayerPart::ValueBias).offset, at(LayerPart::QueryBias).offset + 32);
    refused(&fused.tensor("blk.0.attn_k.weight", &[4, 4]), "alone and fused");
}

#[test]
fn a_tiny_honest_model_passes_with_every_tensor_in_place() {
    let model = open(&tiny_llama().bytes()).unwrap();
    assert_eq!(model.tensors.len(), 12);
    let role = TensorRole::Layer { layer: 0, part: LayerPart::FfnDown };
    let down = model.tensor(role).unwrap();
    assert_eq!((down.shape.as_slice(), down.elements()), ([4, 6].as_slice(), 24));
    let file = tiny_llama().bytes();
    assert_eq!(down.data(&file).unwrap().len(), 96);
    assert_eq!(down.data(&file[..file.len() - 1500]), None);
}

#[test]
fn hostile_counts_are_refused_by_key() {
    for key in
        ["block_count", "embedding_length", "attention.head_count", "attention.head_count_kv"]
    {
        let key = format!("llama.{key}");
        for number in [0, u32::MAX] {
            refused(&tiny_llama().set(&key, u32_value(number)), &key);
        }
    }
    refused(&tiny_llama().without("llama.block_count"), "`llama.block_count`: is missing");
    refused(&tiny_llama().set("llama.vocab_size", u32_value(4)), "the tokenizer has 3 tokens");
    refused(&tiny_llama().set("llama.rope.freq_base", f32_value(f32::NAN)), "llama.rope.freq_base");
    refused(&tiny_llama().set("llama.expert_count", u32_value(8)), "experts");
    refused(&tiny_llama().set("split.count", u32_value(2)), "split.count");
    refused(&tiny_llama().set("llama.rope.scaling.type", string_value("magic")), "magic");
}

#[test]
fn other_architectures_are_named() {
    let mamba = tiny_llama().set("general.architecture", string_value("mamba"));
    refused(&mamba, "`mamba` is not supported; supported are llama, qwen2, qwen3");
    refused(&tiny_llama().without("general.architecture"), "general.architecture");
}

#[test]
fn tensors_must_be_exactly_those_of_the_architecture() {
    let name = "blk.0.ffn_up.weight";
    refused(
        &tiny_llama().rename(name, "blk.0.ffn_upp.weight"),
        "`blk.0.ffn_up.weight`: is missing",
    );
    refused(
        &tiny_llama().tensor("blk.0.attn_output.bias", &[4]),
        "`blk.0.attn_output.bias`: is not part",
    );
    refused(&tiny_llama().tensor("blk.1.ffn_up.weight", &[4, 6]), "is not part");
    let wide = tiny_llama().set("llama.feed_forward_length", u32_value(7));
    refused(&wide, "`blk.0.ffn_gate.weight`: shape [7, 4] expected, [6, 4] found");
    // Two layers claimed, one there.
    refused(
        &tiny_llama().set("llama.block_count", u32_value(2)),
        "`blk.1.attn_norm.weight`: is missing",
    );
}

#[test]
fn the_embedding_table_must_have_a_row_per_token() {
    let tokens: Vec<u8> = ["a", "b"].into_iter().flat_map(text).collect();
    let file = tiny_llama().set("tokenizer.ggml.tokens", array_value(STRING, 2, &tokens));
    refused(&file, "`token_embd.weight`: shape [2, 4] expected, [3, 4] found");
}

#[test]
fn a_gguf_without_output_matrix_has_tied_embeddings() {
    let mut tied = tiny_llama();
    tied.tensors.retain(|row| row.name != "output.weight");
    let model = open(&tied.bytes()).unwrap();
    assert!(model.shape.tied_embeddings && model.tensor(TensorRole::Output).is_none());
}

#[test]
fn things_that_are_no_files_are_refused_without_being_read() {
    for path in ["/dev/zero", "/dev/null", "/nowhere/at/all"] {
        assert!(ModelFile::open(Path::new(path)).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((0usize..3_000, any::<u8>()), 1..4)) {
        let mut file = tiny_llama().bytes();
        for (at, byte) in changes {
            let at = at % file.len();
            file[at] = byte;
        }
        if let Ok(model) = open(&file) {
            for tensor in model.tensors.values() {
                prop_assert!(tensor.data(&file).is_some());
            }
        }
    }
}

mod folders {
    use super::*;

    /// A copy of the real folder that a test may spoil.
    fn copy() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(shared("models/stories260k/hf")).unwrap() {
            let entry = entry.unwrap();
            // Not fs::copy: the shared files are read-only and their copies must not be.
            fs::write(folder.path().join(entry.file_name()), fs::read(entry.path()).unwrap())
                .unwrap();
        }
        folder
    }

    fn refused(folder: &Path, words: &str) {
        let problem = ModelFile::open(folder).expect_err("accepted").to_string();
        assert!(problem.contains(words), "`{words}` is not in `{problem}`");
    }

    /// Moves the weights into one shard under this name, with an index that says so.
    fn shard(folder: &Path, name: &str) {
        let header = fs::File::open(folder.join("model.safetensors")).unwrap();
        let bytes = header.metadata().unwrap().len();
        let tensors = crate::safetensors::read_header(&mut &header, bytes).unwrap();
        let map: serde_json::Map<String, Value> =
            tensors.into_iter().map(|tensor| (tensor.name, json!(name))).collect();
        let index = json!({"weight_map": map}).to_string();
        fs::write(folder.join("model.safetensors.index.json"), index).unwrap();
    }

    #[test]
    fn a_sharded_folder_passes() {
        let folder = copy();
        shard(folder.path(), "part-1.safetensors");
        fs::rename(
            folder.path().join("model.safetensors"),
            folder.path().join("part-1.safetensors"),
        )
        .unwrap();
        assert_is_stories(&ModelFile::open(folder.path()).unwrap());
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in ["../model.safetensors", "/etc/passwd", "a/b", "..", "", "a\\b", ".hidden"] {
            let folder = copy();
            shard(folder.path(), name);
            refused(folder.path(), "is not the name of a file");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_out_of_the_folder_are_refused() {
        for name in ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"] {
            let (folder, other) = (copy(), copy());
            fs::write(other.path().join("chat_template.jinja"), "x").unwrap();
            let _ = fs::remove_file(folder.path().join(name));
            std::os::unix::fs::symlink(other.path().join(name), folder.path().join(name)).unwrap();
            refused(folder.path(), "leads out of the folder");
        }
    }

    #[test]
    fn missing_and_broken_parts_are_named() {
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            let folder = copy();
            fs::remove_file(folder.path().join(name)).unwrap();
            refused(folder.path(), name);
            if name != "tokenizer.json" {
                fs::write(folder.path().join(name), "nonsense, long enough to be read").unwrap();
                assert!(ModelFile::open(folder.path()).is_err());
            }
        }
        let folder = copy();
        fs::write(folder.path().join("config.json"), vec![b' '; (1 << 20) + 1]).unwrap();
        refused(folder.path(), "larger than");
    }

    #[test]
    fn an_index_must_agree_with_its_files() {
        let folder = copy();
        fs::write(
            folder.path().join("model.safetensors.index.json"),
            r#"{"weight_map":{"model.norm.weight":"model.safetensors"}}"#,
        )
        .unwrap();
        refused(folder.path(), "against the index");
    }
}
