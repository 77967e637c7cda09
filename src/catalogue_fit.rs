//! Where the catalogue meets the engine: whether a known model would run on this machine.

use std::sync::Arc;

use hearth_engine::{DeviceChoice, Dimensions, Outline, Pool, Verdict as EngineVerdict};
use hearth_hub::catalogue::{Quantization, Variant};
use hearth_server::{Fit, Judge, Verdict};

/// Judges by what this pool would do.
pub(crate) fn judge(pool: &Arc<Pool>) -> Arc<Judge> {
    let pool = Arc::clone(pool);
    Arc::new(move |variants: &[&Variant]| {
        let outlines: Vec<Outline> = variants.iter().copied().map(outline).collect();
        pool.fit(&outlines).into_iter().map(shape).collect()
    })
}

fn outline(variant: &Variant) -> Outline {
    let sizes = &variant.sizes;
    Outline {
        dimensions: Dimensions {
            layers: sizes.layers,
            dim: sizes.dim,
            ffn_dim: sizes.ffn_dim,
            heads: sizes.heads,
            kv_heads: sizes.kv_heads,
            head_dim: sizes.head_dim,
            vocab: sizes.vocab,
            context_tokens: sizes.context_tokens,
            experts: sizes.experts.map(|experts| (experts.count, experts.used)),
            is_encoder: variant.architecture.is_encoder(),
        },
        parameters: variant.parameters,
        file_bytes: variant.file_bytes,
        is_half: variant.quantization == Quantization::F16,
    }
}

fn shape(fit: hearth_engine::Fit) -> Fit {
    Fit {
        verdict: match fit.verdict {
            EngineVerdict::Fits => Verdict::Fits,
            EngineVerdict::FitsShorter => Verdict::FitsShorter,
            EngineVerdict::TooLarge => Verdict::TooLarge,
        },
        device: match fit.device {
            DeviceChoice::Cpu => "cpu".to_owned(),
            DeviceChoice::Cuda(index) => format!("gpu{index}"),
            DeviceChoice::Metal => "metal".to_owned(),
        },
        need_bytes: fit.need_bytes,
        free_bytes: fit.free_bytes,
        context_tokens: fit.context_tokens,
    }
}

#[cfg(test)]
mod tests {
    use hearth_engine::{EngineConfig, Facts, Machine, Mix, mixed_kinds};
    use hearth_formats::gguf::{Header, Metadata, TensorInfo, Value};
    use hearth_formats::{Architecture, TensorKind};
    use hearth_hub::Catalogue;

    use super::*;

    /// What a machine with so much free memory makes of the catalogue, by name.
    fn verdicts(free_bytes: u64) -> Vec<(String, Fit)> {
        let facts = Facts {
            cores: 8,
            memory_bytes: free_bytes,
            memory_free_bytes: free_bytes,
            gpus: vec![],
        };
        let pool = Pool::new(EngineConfig::default(), Machine::recorded(facts)).expect("starts");
        let cards = &Catalogue::built_in().cards;
        let variants: Vec<&Variant> = cards.iter().flat_map(|card| &card.variants).collect();
        let fits = judge(&Arc::new(pool))(&variants);
        variants.iter().map(|variant| variant.name.to_string()).zip(fits).collect()
    }

    fn of(verdicts: &[(String, Fit)], name: &str) -> Fit {
        verdicts.iter().find(|(found, _)| found == name).expect("is in the catalogue").1.clone()
    }

    /// Bytes of the matrices of a model with these sizes, by llama.cpp's mix for its kind.
    fn mixed_bytes(variant: &Variant, mix: Mix) -> u64 {
        let sizes = &variant.sizes;
        let (dim, query, kv) =
            (sizes.dim, sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
        let experts = sizes.experts.map_or(0, |experts| experts.count);
        let mut named = vec![("token_embd".to_owned(), vec![sizes.vocab, dim])];
        if !sizes.tied_embeddings {
            named.push(("output".to_owned(), vec![sizes.vocab, dim]));
        }
        for layer in 0..sizes.layers {
            let mut add = |part: &str, shape| named.push((format!("blk.{layer}.{part}"), shape));
            add("attn_output", vec![dim, query]);
            match variant.architecture {
                Architecture::Phi3 => {
                    add("attn_qkv", vec![query + 2 * kv, dim]);
                    add("ffn_up", vec![2 * sizes.ffn_dim, dim]);
                    add("ffn_down", vec![dim, sizes.ffn_dim]);
                    continue;
                }
                _ => {
                    add("attn_q", vec![query, dim]);
                    add("attn_k", vec![kv, dim]);
                    add("attn_v", vec![kv, dim]);
                }
            }
            let (suffix, stack) = if experts > 0 { ("_exps", vec![experts]) } else { ("", vec![]) };
            let matrix = |rows, columns| [stack.clone(), vec![rows, columns]].concat();
            add(&format!("ffn_gate{suffix}"), matrix(sizes.ffn_dim, dim));
            add(&format!("ffn_up{suffix}"), matrix(sizes.ffn_dim, dim));
            add(&format!("ffn_down{suffix}"), matrix(dim, sizes.ffn_dim));
        }
        let (kind, offset, bytes) = (TensorKind::F16, 0, 0);
        let tensors = named.into_iter().map(|(name, shape)| TensorInfo {
            name: format!("{name}.weight"),
            shape: shape.into_iter().map(|size| size as u64).collect(),
            kind,
            offset,
            bytes,
        });
        let mut metadata = Metadata::default();
        for (key, value) in [
            ("general.architecture", Value::String("x".to_owned())),
            ("x.block_count", Value::Unsigned(sizes.layers as u64)),
            ("x.expert_count", Value::Unsigned(experts as u64)),
        ] {
            metadata.insert(key.to_owned(), value).expect("each once");
        }
        let (version, alignment, data_offset) = (3, 32, 0);
        let tensors = tensors.collect();
        let header = Header { version, metadata, tensors, alignment, data_offset };
        let kinds = mixed_kinds(&header, mix).expect("sound");
        let tensors = header.tensors.iter().zip(kinds);
        tensors.map(|(tensor, kind)| kind.tensor_bytes(&tensor.shape).expect("fits")).sum()
    }

    #[test]
    fn each_cards_file_is_as_large_as_its_mix_makes_it() {
        // Their registry quantised these by a mix of its own, with more bits for fused matrices.
        let larger = ["phi4-reasoning:14b"];
        let mut wrong = Vec::new();
        for variant in Catalogue::built_in().cards.iter().flat_map(|card| &card.variants) {
            let mix = match variant.quantization {
                _ if variant.architecture.is_encoder() => continue,
                Quantization::Q4_0 => Mix::Q4_0,
                Quantization::Q4KM => Mix::Q4KMedium,
                Quantization::Q8_0 => Mix::Q8_0,
                Quantization::F16 => continue,
            };
            let name = variant.name.to_string();
            let ratio = variant.file_bytes as f64 / mixed_bytes(variant, mix) as f64;
            // Sizes are rounded to two digits; vocabularies lie beside the weights, and some small
            // models keep both tables with six bits.
            let most = if larger.contains(&name.as_str()) { 1.25 } else { 1.10 };
            if !(0.95..=most).contains(&ratio) {
                wrong.push(format!("{name}: {ratio:.3}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn what_fits_grows_with_the_machine() {
        let laptop = verdicts(16 << 30);
        assert_eq!(of(&laptop, "qwen3:0.6b").verdict, Verdict::Fits);
        assert_eq!(of(&laptop, "llama3.1:70b").verdict, Verdict::TooLarge);
        assert_eq!(of(&laptop, "all-minilm:22m").context_tokens, 512);
        let server = verdicts(512 << 30);
        for (name, fit) in &server {
            assert_ne!(fit.verdict, Verdict::TooLarge, "{name}: {fit:?}");
            assert!(fit.need_bytes <= fit.free_bytes, "{name}: {fit:?}");
        }
        // Each needs at least its file, and no model more than half as much again and 8 GB.
        let cards = &Catalogue::built_in().cards;
        for variant in cards.iter().flat_map(|card| &card.variants) {
            let need = of(&server, &variant.name.to_string()).need_bytes;
            assert!(need >= variant.file_bytes, "{}", variant.name);
            let most = variant.file_bytes / 2 * 3 + 8_000_000_000;
            assert!(need <= most, "{}: {need} > {most}", variant.name);
        }
    }
}
