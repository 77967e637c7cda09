//! Both caches against each other, on batches of mixed lengths.

use candle_core::{Device, Tensor};
use hearth_formats::ModelFile;
use hearth_kernels::{AttentionShape, KvNumber, reference::noise};

use super::{DeviceKv, HostKv, KvCache, KvShape, Projected, number, token_bytes};
use crate::batch::Batch;
use crate::config::{EngineConfig, KvType};
use crate::tensors::values;
use crate::tests::support::f32_gguf;

fn shape() -> KvShape {
    let (scale, softcap) = (1.0 / 10f32.sqrt(), 0.0);
    let heads =
        AttentionShape { query_heads: 6, kv_heads: 2, head_dim: 10, scale, softcap, window: 0 };
    let windows = Vec::new();
    KvShape { layers: 2, pages: 12, page_tokens: 4, heads, windows, number: KvNumber::F32 }
}

fn projected(seed: u64, rows: usize) -> Projected {
    let tensor = |seed, width: usize| {
        Tensor::from_vec(noise(seed, rows * width), (rows, width), &Device::Cpu).expect("fits")
    };
    Projected { query: tensor(seed, 60), key: tensor(seed + 1, 20), value: tensor(seed + 2, 20) }
}

/// Spans as (first position, count, pages).
fn batch(spans: &[(usize, usize, &[u32])]) -> Batch {
    let mut batch = Batch::new(4);
    for &(start, count, pages) in spans {
        batch.push(&vec![0; count], start, pages.to_vec(), true);
    }
    batch
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn host_equals_device(shape: &KvShape) {
    let mut host = HostKv::new(shape.clone()).expect("fits");
    let mut device = DeviceKv::new(shape.clone(), &Device::Cpu).expect("fits");
    let steps = [
        batch(&[(0, 7, &[5, 2]), (0, 1, &[9]), (0, 4, &[11])]),
        batch(&[(7, 1, &[5, 2]), (1, 9, &[9, 0, 7]), (4, 1, &[11, 1])]),
        batch(&[(10, 1, &[9, 0, 7]), (8, 6, &[5, 2, 3, 4])]),
    ];
    for (index, batch) in steps.iter().enumerate() {
        for layer in 0..2 {
            let rows = projected(100 * index as u64 + 10 * layer as u64, batch.rows());
            let ours = host.attend(layer, &rows, batch).and_then(|out| values(&out));
            let theirs = device.attend(layer, &rows, batch).and_then(|out| values(&out));
            let worst = worst(&ours.expect("runs"), &theirs.expect("runs"));
            assert!(worst < 1e-5, "step {index}, layer {layer}: {worst}");
        }
    }
}

#[test]
fn host_equals_device_over_mixed_steps() {
    host_equals_device(&shape());
}

#[test]
fn host_equals_device_with_windows_a_cap_and_another_scale() {
    let heads = AttentionShape { scale: 1.3, softcap: 0.7, ..shape().heads };
    for window in [1, 3, 4, 6, 100] {
        host_equals_device(&KvShape { heads, windows: vec![window, 0], ..shape() });
    }
}

#[test]
fn a_token_takes_what_it_is_reckoned_to_take() {
    let file = ModelFile::open(&f32_gguf()).expect("sound");
    for kv_type in [KvType::Auto, KvType::F32, KvType::F16, KvType::Q8_0] {
        for page_tokens in [1, 16, 20] {
            let config = EngineConfig { kv_type, page_tokens, ..EngineConfig::default() };
            let number = number(&file, kv_type);
            let kv = HostKv::new(KvShape { number, ..KvShape::new(&file, 3, page_tokens) });
            let bytes = kv.expect("fits").bytes() as u64;
            let reckoned = 3 * page_tokens as u64 * token_bytes(&file, &config).0;
            assert!(bytes <= reckoned && reckoned < bytes + 3 * page_tokens as u64, "{kv_type:?}");
        }
    }
}

#[test]
fn a_window_hides_what_lies_before_it() {
    let rows = projected(1, 9);
    let run = |windows: Vec<usize>, rows: &Projected| {
        let mut kv = HostKv::new(KvShape { windows, ..shape() }).expect("fits");
        let out = kv.attend(0, rows, &batch(&[(0, 9, &[3, 1, 2])]));
        out.and_then(|out| values(&out)).expect("runs")
    };
    let plain = run(vec![3, 0], &rows);
    // Other keys and values for the first token: rows from the fourth on do not see it.
    let first = |tensor: &Tensor| {
        let zeros = tensor.narrow(0, 0, 1).and_then(|row| row.zeros_like()).expect("in range");
        let rest = tensor.narrow(0, 1, 8).expect("in range");
        Tensor::cat(&[zeros, rest], 0).expect("as before")
    };
    let changed =
        Projected { query: rows.query.clone(), key: first(&rows.key), value: first(&rows.value) };
    let other = run(vec![3, 0], &changed);
    assert!(plain[..180] != other[..180]);
    assert_eq!(plain[180..], other[180..]);
    assert!(run(Vec::new(), &rows)[180..] != run(Vec::new(), &changed)[180..]);
}

#[test]
fn a_chunked_prompt_has_the_same_bits_as_a_whole_one() {
    let rows = projected(1, 9);
    let part = |start, count| {
        let cut = |tensor: &Tensor| {
            tensor.narrow(0, start, count).and_then(|part| part.contiguous()).expect("in range")
        };
        Projected { query: cut(&rows.query), key: cut(&rows.key), value: cut(&rows.value) }
    };
    let run = |kv: &mut HostKv, rows: &Projected, batch: &Batch| {
        kv.attend(0, rows, batch).and_then(|out| values(&out)).expect("runs")
    };
    let mut kv = HostKv::new(shape()).expect("fits");
    let whole = run(&mut kv, &rows, &batch(&[(0, 9, &[3, 1, 2])]));
    let mut kv = HostKv::new(shape()).expect("fits");
    let mut chunked = run(&mut kv, &part(0, 5), &batch(&[(0, 5, &[8, 0, 4])]));
    chunked.extend(run(&mut kv, &part(5, 4), &batch(&[(5, 4, &[8, 0, 4])])));
    assert_eq!(whole, chunked);
}
