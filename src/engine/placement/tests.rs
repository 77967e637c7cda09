//! Placement on machines that were written down, with 0, 1, 2 and 8 GPUs.

use super::*;
use crate::machine::Gpu;

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

/// An 8B model in Q8_0 as llama-3 is made, if its cache were f32 everywhere: 256 KiB per token.
fn need() -> Need {
    let both =
        Footprint { weights_bytes: 8 * GIB, workspace_bytes: GIB / 2, kv_token_bytes: 256 << 10 };
    Need { on_host: both, on_gpu: both, context_tokens: 8192 }
}

fn config() -> EngineConfig {
    EngineConfig { memory_share: 1.0, ..EngineConfig::default() }
}

#[test]
fn without_a_gpu_the_cpu_serves() {
    let placement = place(&need(), &machine(64, &[]), &config(), BOTH).expect("fits");
    assert_eq!(placement.device, DeviceChoice::Cpu);
    // 4 GiB of cache as the settings say: 16,384 tokens of 256 KiB.
    assert_eq!((placement.pages, placement.context_tokens), (1024, 8192));
    assert_eq!(placement.memory_bytes, 12 * GIB + GIB / 2);
}

#[test]
fn one_gpu_is_taken_if_it_has_room_and_the_binary_can() {
    let facts = machine(64, &[24]);
    let device = |backends| place(&need(), &facts, &config(), backends).expect("fits").device;
    assert_eq!(device(BOTH), DeviceChoice::Cuda(0));
    assert_eq!(device(Backends { cuda: false, metal: false }), DeviceChoice::Cpu);
    let full = machine(64, &[4]);
    assert_eq!(place(&need(), &full, &config(), BOTH).expect("fits").device, DeviceChoice::Cpu);
}

#[test]
fn of_several_gpus_the_freest_is_taken() {
    let two = place(&need(), &machine(64, &[10, 40]), &config(), BOTH).expect("fits");
    assert_eq!(two.device, DeviceChoice::Cuda(1));
    let eight = machine(64, &[2, 3, 1, 0, 8, 70, 69, 9]);
    let eight = place(&need(), &eight, &config(), BOTH).expect("fits");
    assert_eq!(eight.device, DeviceChoice::Cuda(5));
}

#[test]
fn the_preference_is_obeyed() {
    let facts = machine(64, &[40]);
    let cpu = EngineConfig { device: DevicePreference::Cpu, ..config() };
    assert_eq!(place(&need(), &facts, &cpu, BOTH).expect("fits").device, DeviceChoice::Cpu);
    let gpu = EngineConfig { device: DevicePreference::Gpu, ..config() };
    let refused = place(&need(), &machine(64, &[4, 6]), &gpu, BOTH);
    assert!(matches!(refused, Err(Error::TooBig { free_bytes, .. }) if free_bytes == 6 * GIB));
}

#[test]
fn a_tight_machine_gets_a_shorter_context_and_a_tighter_one_the_numbers() {
    let tight = place(&need(), &machine(0, &[]), &config(), BOTH);
    assert!(matches!(tight, Err(Error::TooBig { free_bytes: 0, .. })));
    // One GiB beside weights and workspace: 4,096 tokens.
    let facts = Facts { memory_free_bytes: 9 * GIB + GIB / 2, ..machine(0, &[]) };
    assert_eq!(place(&need(), &facts, &config(), BOTH).expect("fits").context_tokens, 4096);
    let facts = machine(8, &[]);
    let Err(Error::TooBig { need_bytes, free_bytes }) = place(&need(), &facts, &config(), BOTH)
    else {
        panic!("8 GiB of weights and their cache do not fit 8 GiB");
    };
    // 2,048 tokens are half a GiB.
    assert_eq!((need_bytes, free_bytes), (9 * GIB, 8 * GIB));
}

#[test]
fn a_small_model_takes_no_more_cache_than_it_can_use() {
    let on_host = Footprint { kv_token_bytes: 1280, ..need().on_host };
    let small = Need { on_host, context_tokens: 512, ..need() };
    let placement = place(&small, &machine(64, &[]), &config(), BOTH).expect("fits");
    assert_eq!(placement.pages, 32 * config().max_sequences);
}

#[test]
fn each_device_is_asked_for_what_the_model_takes_there() {
    // Half floats are widened on a GPU: twice the weights, twice the cache.
    let on_gpu = Footprint { weights_bytes: 16 * GIB, kv_token_bytes: 512 << 10, ..need().on_gpu };
    let wide = Need { on_gpu, ..need() };
    let facts = machine(64, &[12]);
    assert_eq!(place(&wide, &facts, &config(), BOTH).expect("fits").device, DeviceChoice::Cpu);
    let placement = place(&wide, &machine(10, &[24]), &config(), BOTH).expect("fits");
    assert_eq!(placement.device, DeviceChoice::Cuda(0));
    // 4 GiB of cache at 512 KiB a token.
    assert_eq!(placement.pages * config().page_tokens, 8192);
    assert_eq!(placement.memory_bytes, 20 * GIB + GIB / 2);
}
