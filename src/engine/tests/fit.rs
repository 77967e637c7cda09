//! Whether a card's numbers say of a model what its file says.

use std::path::Path;

use hearth_formats::ModelFile;

use crate::config::{DevicePreference, EngineConfig};
use crate::fit::{Dimensions, Outline, Verdict};
use crate::machine::{Facts, Gpu, Machine};
use crate::placement::{Backends, DeviceChoice, Need};
use crate::pool::Pool;

const GIB: u64 = 1 << 30;
const BOTH: Backends = Backends { cuda: true, metal: false };

fn machine(memory_gib: u64, gpus_gib: &[u64]) -> Facts {
    let gpu = |(index, &free): (usize, &u64)| Gpu {
        index,
        name: format!("GPU {index}"),
        memory_bytes: 80 * GIB,
        memory_free_bytes: free * GIB,
    };
    Facts {
        cores: 16,
        memory_bytes: 128 * GIB,
        memory_free_bytes: memory_gib * GIB,
        gpus: gpus_gib.iter().enumerate().map(gpu).collect(),
    }
}

/// qwen3:8b in Q4_K_M.
fn eight_billion() -> Outline {
    let dimensions = Dimensions {
        layers: 36,
        dim: 4096,
        ffn_dim: 12_288,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        vocab: 151_936,
        context_tokens: 40_960,
        experts: None,
        is_encoder: false,
    };
    Outline { dimensions, parameters: 8_190_735_360, file_bytes: 5_200_000_000, is_half: false }
}

fn config() -> EngineConfig {
    EngineConfig { memory_share: 1.0, ..EngineConfig::default() }
}

/// What a card would say of this file.
fn outline(model: &ModelFile) -> Outline {
    Outline {
        dimensions: Dimensions::of(&model.shape),
        parameters: model.tensors.values().map(|tensor| tensor.elements()).sum(),
        file_bytes: model.size_bytes,
        is_half: false,
    }
}

fn agree(path: &Path, tolerance: f64) {
    let model = ModelFile::open(path).expect("a sound file");
    for config in [config(), EngineConfig { context_tokens: 256, max_sequences: 4, ..config() }] {
        let real = Need::of(&model, &config);
        let said = outline(&model).need(&config);
        assert_eq!(said.context_tokens, real.context_tokens);
        for (said, real) in [(said.on_host, real.on_host), (said.on_gpu, real.on_gpu)] {
            assert_eq!(said.kv_token_bytes, real.kv_token_bytes);
            let sum = |footprint: crate::placement::Footprint| {
                (footprint.weights_bytes + footprint.workspace_bytes) as f64
            };
            let ratio = sum(said) / sum(real);
            let close = (1.0 - tolerance..=1.0 + tolerance).contains(&ratio);
            assert!(close, "{}: {said:?} is {ratio} of {real:?}", path.display());
        }
    }
}

#[test]
fn a_cards_numbers_come_to_what_the_file_comes_to() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    super::footprint::write(&path);
    agree(&path, 0.1);
    let starter =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/starter/hearth-guide-q8_0.gguf");
    // Of 2 MB: what is read at once is as much again.
    agree(Path::new(starter), 0.15);
}

#[test]
fn machines_with_0_1_2_and_8_gpus_are_judged() {
    let model = eight_billion();
    let judge = |facts: Facts| model.fit(&facts, &config(), BOTH);
    let without = judge(machine(64, &[]));
    assert_eq!((without.verdict, without.device), (Verdict::Fits, DeviceChoice::Cpu));
    // 5.2 GB of weights, 4 GiB of cache, and some workspace.
    assert!((9 * GIB..11 * GIB).contains(&without.need_bytes), "{without:?}");
    assert_eq!(without.free_bytes, 64 * GIB);
    let one = judge(machine(64, &[24]));
    assert_eq!((one.verdict, one.device), (Verdict::Fits, DeviceChoice::Cuda(0)));
    let two = judge(machine(64, &[8, 40]));
    assert_eq!((two.verdict, two.device), (Verdict::Fits, DeviceChoice::Cuda(1)));
    let eight = judge(machine(64, &[2, 3, 1, 0, 8, 70, 69, 9]));
    assert_eq!((eight.verdict, eight.device), (Verdict::Fits, DeviceChoice::Cuda(5)));
    assert_eq!(eight.free_bytes, 70 * GIB);
    // Too small a card: the CPU takes it.
    assert_eq!(judge(machine(64, &[4])).device, DeviceChoice::Cpu);
}

#[test]
fn a_tight_machine_is_told_the_shorter_context_and_a_small_one_the_numbers() {
    let model = eight_billion();
    let tight = model.fit(&machine(8, &[]), &config(), BOTH);
    assert_eq!(tight.verdict, Verdict::FitsShorter);
    assert!((2048..29_000).contains(&tight.context_tokens), "{tight:?}");
    assert!(tight.need_bytes <= tight.free_bytes, "{tight:?}");
    let small = model.fit(&machine(4, &[2]), &config(), BOTH);
    assert_eq!((small.verdict, small.context_tokens), (Verdict::TooLarge, 0));
    assert_eq!((small.device, small.free_bytes), (DeviceChoice::Cpu, 4 * GIB));
    assert!(small.need_bytes > 5 * GIB, "{small:?}");
    let gpu = EngineConfig { device: DevicePreference::Gpu, ..config() };
    let nowhere = model.fit(&machine(64, &[2, 3]), &gpu, BOTH);
    assert_eq!((nowhere.verdict, nowhere.device), (Verdict::TooLarge, DeviceChoice::Cuda(1)));
}

#[test]
fn what_the_settings_forbid_is_not_held_against_the_machine() {
    // A cache of 1 GiB holds 7,281 tokens of 144 KiB, however large the machine is.
    let small_cache = EngineConfig { kv_cache_bytes: GIB, ..config() };
    let fit = eight_billion().fit(&machine(64, &[]), &small_cache, BOTH);
    assert_eq!(fit.verdict, Verdict::Fits);
    assert_eq!(fit.context_tokens, 7280);
}

#[test]
fn a_pool_judges_by_what_its_machine_has_free() {
    let pool = Pool::new(config(), Machine::recorded(machine(16, &[]))).expect("starts");
    let tiny = Outline { file_bytes: 1 << 20, parameters: 1 << 20, ..eight_billion() };
    let large = Outline { file_bytes: 40 * GIB, ..eight_billion() };
    let fits = pool.fit(&[tiny, large]);
    assert_eq!(fits[0].verdict, Verdict::Fits);
    assert_eq!(fits[1].verdict, Verdict::TooLarge);
    assert_eq!(fits[1].free_bytes, 16 * GIB);
}
