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
    use hearth_engine::{EngineConfig, Facts, Machine};
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
