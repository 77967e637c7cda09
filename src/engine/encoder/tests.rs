//! Encoders against Hugging Face's transformers, from folders and from GGUF files: small ones with
//! random weights, made here as `tests/parity/encoders/make.py` makes them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::Path;

use candle_core::quantized::gguf_file::{self, Value as GgufValue};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use hearth_formats::{EncoderOutput, ModelFile};
use hearth_kernels::reference::noise;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Encoder, EncoderText};

/// Largest difference of one number of a vector of length 1, or of a score.
const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Golden {
    vocab: usize,
    models: BTreeMap<String, Model>,
}

#[derive(Deserialize)]
struct Model {
    tensors: BTreeMap<String, Vec<usize>>,
    texts: Vec<Text>,
    folders: Vec<Folder>,
    gguf: Option<Gguf>,
}

#[derive(Deserialize)]
struct Text {
    ids: Vec<u32>,
    second: Option<usize>,
    answer: Vec<f32>,
}

/// A name in the file, the tensors that are put together under it, and leading rows left out.
type Row = (String, Vec<String>, usize);

#[derive(Deserialize)]
struct Folder {
    files: BTreeMap<String, Value>,
    tensors: Vec<Row>,
}

#[derive(Deserialize)]
struct Gguf {
    metadata: Map<String, Value>,
    tensors: Vec<Row>,
}

fn golden() -> Golden {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/encoders");
    let text = fs::read_to_string(root.join("golden.json")).expect("readable");
    serde_json::from_str(&text).expect("of the described form")
}

impl Model {
    /// The weight of this name, as the script makes it.
    fn weight(&self, name: &str) -> Tensor {
        let shape = &self.tensors[name];
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |digest, byte| {
            (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let is_norm = name.to_lowercase().contains("norm") && name.ends_with("weight");
        let center = if is_norm { 1.0 } else { 0.0 };
        let scale = 1.7 / (*shape.last().expect("has dimensions") as f32).sqrt();
        let values = noise(seed, shape.iter().product());
        let values = values.into_iter().map(|value| center + value * scale).collect();
        Tensor::from_vec::<_, f32>(values, shape.as_slice(), &Device::Cpu).expect("fits")
    }

    fn tensors(&self, rows: &[Row]) -> HashMap<String, Tensor> {
        let made = rows.iter().map(|(name, sources, skipped)| {
            let parts: Vec<Tensor> = sources.iter().map(|source| self.weight(source)).collect();
            let whole = Tensor::cat(&parts, 0).expect("of one width");
            let kept = whole.dims()[0] - skipped;
            let whole = whole.narrow(0, *skipped, kept).expect("has the rows");
            (name.clone(), whole.force_contiguous().expect("copied"))
        });
        made.collect()
    }

    fn write_folder(&self, folder: &Folder, path: &Path) {
        for (name, content) in &folder.files {
            fs::write(path.join(name), content.to_string()).expect("written");
        }
        let tensors = self.tensors(&folder.tensors);
        candle_core::safetensors::save(&tensors, path.join("model.safetensors")).expect("written");
    }

    fn write_gguf(&self, gguf: &Gguf, vocab: usize, path: &Path) {
        let mut metadata: Vec<(String, GgufValue)> = gguf
            .metadata
            .iter()
            .map(|(key, value)| {
                let value = match value {
                    Value::Bool(value) => GgufValue::Bool(*value),
                    Value::String(value) => GgufValue::String(value.clone()),
                    value => match value.as_u64() {
                        Some(value) => GgufValue::U32(value as u32),
                        None => GgufValue::F32(value.as_f64().expect("a number") as f32),
                    },
                };
                (key.clone(), value)
            })
            .collect();
        let tokens = (0..vocab).map(|id| GgufValue::String(format!("t{id}"))).collect();
        metadata.push(("tokenizer.ggml.tokens".into(), GgufValue::Array(tokens)));
        let metadata: Vec<(&str, &GgufValue)> =
            metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(String, QTensor)> = self
            .tensors(&gguf.tensors)
            .into_iter()
            .map(|(name, tensor)| {
                (name, QTensor::quantize(&tensor, GgmlDType::F32).expect("can be written"))
            })
            .collect();
        let tensors: Vec<(&str, &QTensor)> =
            tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut file = File::create(path).expect("writable");
        gguf_file::write(&mut file, &metadata, &tensors).expect("written");
    }

    fn texts(&self) -> Vec<EncoderText> {
        let text = |text: &Text| EncoderText { tokens: text.ids.clone(), second_from: text.second };
        self.texts.iter().map(text).collect()
    }

    /// All texts together, whose answers must be those of the golden file.
    fn check(&self, what: &str, file: &ModelFile) {
        let texts = self.texts();
        let texts: Vec<&EncoderText> = texts.iter().collect();
        for is_packed in [true, false] {
            let encoder = Encoder::load_as(file, &Device::Cpu, is_packed).expect("loads");
            let answers = encoder.forward(&texts).expect("runs");
            for (text, found) in self.texts.iter().zip(answers) {
                let off = difference(&found, &text.answer);
                let count = text.ids.len();
                assert!(
                    off < TOLERANCE,
                    "{what}, packed {is_packed}, {count} tokens: off by {off}"
                );
            }
        }
    }
}

fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn folders_give_what_transformers_gives() {
    for (name, model) in golden().models {
        for (index, folder) in model.folders.iter().enumerate() {
            let path = tempfile::tempdir().expect("a folder");
            model.write_folder(folder, path.path());
            let file = ModelFile::open(path.path()).expect("a sound model");
            model.check(&format!("{name}, folder {index}"), &file);
        }
    }
}

#[test]
fn gguf_files_give_what_transformers_gives() {
    let golden = golden();
    let mut checked = 0;
    for (name, model) in &golden.models {
        let Some(gguf) = &model.gguf else { continue };
        let path = tempfile::tempdir().expect("a folder");
        let path = path.path().join("model.gguf");
        model.write_gguf(gguf, golden.vocab, &path);
        model.check(&format!("{name}, GGUF"), &ModelFile::open(&path).expect("a sound model"));
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn a_text_has_the_same_bits_in_any_company() {
    for (name, model) in golden().models {
        let path = tempfile::tempdir().expect("a folder");
        model.write_folder(&model.folders[0], path.path());
        let file = ModelFile::open(path.path()).expect("a sound model");
        let encoder = Encoder::load(&file, &Device::Cpu).expect("loads");
        let texts = model.texts();
        let together = encoder.forward(&texts.iter().collect::<Vec<_>>()).expect("runs");
        for (text, together) in texts.iter().zip(together) {
            let alone = encoder.forward(&[text]).expect("runs");
            assert_eq!(alone, [together], "{name}");
        }
    }
}

#[test]
fn the_two_texts_of_a_pair_are_told_apart_where_the_model_knows_types() {
    let golden = golden();
    for (name, differs) in [("bert scoring pairs", true), ("xlm-roberta scoring pairs", false)] {
        let model = &golden.models[name];
        let path = tempfile::tempdir().expect("a folder");
        model.write_folder(&model.folders[0], path.path());
        let file = ModelFile::open(path.path()).expect("a sound model");
        let shape = file.shape.encoder.as_ref().expect("an encoder");
        assert_eq!(shape.output, EncoderOutput::Score);
        let encoder = Encoder::load(&file, &Device::Cpu).expect("loads");
        let pair = model.texts().remove(1);
        let single = EncoderText { second_from: None, ..pair.clone() };
        let scores = encoder.forward(&[&pair, &single]).expect("runs");
        assert_eq!(scores[0] != scores[1], differs, "{name}");
    }
}
