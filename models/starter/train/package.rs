//! Writes the trained model as a GGUF file in Q8_0, and reads it back for the examination.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor, Var};

use crate::network::Shape;
use crate::vocabulary::{BEGIN, END, Vocabulary};

/// Token types of GGUF: ordinary text and control.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
/// `general.file_type` of a file that is mostly Q8_0.
const MOSTLY_Q8_0: u32 = 7;

/// Renders the last message alone: a model this small answers one question well and mixes up two.
/// It leaves out system messages: the guide follows no instructions but its own.
const CHAT_TEMPLATE: &str = "<|begin|>{% for message in messages[-1:] %}\
    {% if message.role in ['user', 'assistant'] %}\
    {{ '<|' ~ message.role ~ '|>' ~ message.content ~ '<|end|>' }}\
    {% endif %}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Writes `weights` with `vocabulary` to `path`.
pub fn write(
    path: &Path,
    shape: &Shape,
    vocabulary: &Vocabulary,
    weights: &BTreeMap<String, Var>,
) -> Result<u64> {
    let mut metadata = describe_model(shape);
    metadata.extend(describe_vocabulary(vocabulary));
    let metadata: Vec<(&str, &Value)> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let mut tensors = Vec::new();
    for (name, dims) in shape.weights() {
        let weight = weights.get(&name).with_context(|| format!("no weight {name}"))?;
        // Norms are a few values that scale everything: they stay exact.
        let kind = if dims.len() == 1 { GgmlDType::F32 } else { GgmlDType::Q8_0 };
        tensors.push((name, QTensor::quantize(weight.as_tensor(), kind)?));
    }
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors)?;
    let mut bytes = file.into_inner();
    // candle writes version 2, which little-endian version 3 is equal to but for this number.
    bytes[4..8].copy_from_slice(&3_u32.to_le_bytes());
    std::fs::write(path, &bytes).with_context(|| path.display().to_string())?;
    Ok(bytes.len() as u64)
}

/// The weights as any reader of the file gets them, after quantisation.
pub fn read_weights(path: &Path, shape: &Shape) -> Result<BTreeMap<String, Tensor>> {
    let mut file = Cursor::new(std::fs::read(path)?);
    let content = Content::read(&mut file)?;
    let mut weights = BTreeMap::new();
    for (name, dims) in shape.weights() {
        let tensor = content.tensor(&mut file, &name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        ensure!(tensor.dims() == dims, "{name} came back as {:?}", tensor.dims());
        weights.insert(name, tensor);
    }
    Ok(weights)
}

fn describe_model(shape: &Shape) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    let number = |number: usize| Value::U32(number as u32);
    vec![
        ("general.architecture", text("llama")),
        ("general.type", text("model")),
        ("general.name", text("hearth-guide")),
        ("general.description", text("A very small guide that only knows how to use Hearth")),
        ("general.license", text("MIT OR Apache-2.0")),
        ("general.languages", Value::Array(vec![text("en"), text("zh")])),
        ("general.file_type", Value::U32(MOSTLY_Q8_0)),
        ("general.quantization_version", Value::U32(2)),
        ("llama.block_count", number(shape.layers)),
        ("llama.context_length", number(shape.context)),
        ("llama.embedding_length", number(shape.width)),
        ("llama.feed_forward_length", number(shape.hidden)),
        ("llama.attention.head_count", number(shape.heads)),
        ("llama.attention.head_count_kv", number(shape.heads_kv)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(shape.norm_epsilon as f32)),
        ("llama.rope.dimension_count", number(shape.head_width)),
        ("llama.rope.freq_base", Value::F32(shape.rope_base)),
        ("llama.vocab_size", number(shape.vocabulary)),
    ]
}

fn describe_vocabulary(vocabulary: &Vocabulary) -> Vec<(&'static str, Value)> {
    let texts = |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
    let kind = |id: usize| if Vocabulary::is_control(id) { CONTROL } else { NORMAL };
    let kinds = (0..vocabulary.tokens.len()).map(|id| Value::I32(kind(id)));
    vec![
        ("tokenizer.ggml.model", Value::String("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".to_owned())),
        ("tokenizer.ggml.tokens", texts(&vocabulary.tokens)),
        ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
        ("tokenizer.ggml.merges", texts(&vocabulary.merges)),
        ("tokenizer.ggml.bos_token_id", Value::U32(BEGIN)),
        ("tokenizer.ggml.eos_token_id", Value::U32(END)),
        // The template writes the first token itself.
        ("tokenizer.ggml.add_bos_token", Value::Bool(false)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        ("tokenizer.chat_template", Value::String(CHAT_TEMPLATE.to_owned())),
    ]
}
