//! Packed matrices against plain arithmetic, at odd sizes and on every level of this machine.

use super::*;
use crate::reference::noise;

const ALL: [Encoding; 8] = [
    Encoding::F32,
    Encoding::F16,
    Encoding::BF16,
    Encoding::Q4_0,
    Encoding::Q8_0,
    Encoding::Q4K,
    Encoding::Q5K,
    Encoding::Q6K,
];

/// Bytes of a file's matrix: random blocks whose float scales are small and finite.
fn file(encoding: Encoding, outputs: usize, inputs: usize, seed: u64) -> Vec<u8> {
    let len = outputs * encoding.row_bytes(inputs);
    let mut bytes: Vec<u8> =
        noise(seed, len).iter().map(|value| ((value + 1.0) * 127.9) as u8).collect();
    let (_, block_bytes, _) = layout::sizes(encoding);
    let numbers = noise(seed + 1, 2 * len / block_bytes);
    for (index, block) in bytes.chunks_exact_mut(block_bytes).enumerate() {
        let half = |number: f32| crate::half::narrow(number * 0.01).to_le_bytes();
        let (first, second) = (half(numbers[2 * index]), half(numbers[2 * index + 1]));
        match encoding {
            Encoding::F32 => block.copy_from_slice(&numbers[2 * index].to_le_bytes()),
            Encoding::F16 => block.copy_from_slice(&first),
            Encoding::BF16 => block.copy_from_slice(&numbers[2 * index].to_le_bytes()[2..]),
            Encoding::Q6K => block[208..210].copy_from_slice(&first),
            Encoding::Q4_0 | Encoding::Q8_0 => block[..2].copy_from_slice(&first),
            Encoding::Q4K | Encoding::Q5K => {
                block[..2].copy_from_slice(&first);
                block[2..4].copy_from_slice(&second);
            }
        }
    }
    bytes
}

fn file_values(encoding: Encoding, bytes: &[u8]) -> Vec<f32> {
    let (columns, block_bytes, _) = layout::sizes(encoding);
    let mut values = vec![0.0; bytes.len() / block_bytes * columns];
    for (block, values) in bytes.chunks_exact(block_bytes).zip(values.chunks_exact_mut(columns)) {
        layout::read_values(encoding, block, values);
    }
    values
}

fn packed(encoding: Encoding, outputs: usize, inputs: usize, bytes: &[u8]) -> PackedMatrix {
    let mut matrix = PackedMatrix::zeroed(encoding, outputs, inputs).expect("memory");
    matrix.pack(bytes);
    matrix
}

fn widths(encoding: Encoding) -> Vec<usize> {
    match encoding.block_columns() {
        1 => vec![1, 31, 33, 256],
        32 => vec![32, 96, 1024],
        _ => vec![256, 768],
    }
}

/// x as its 8 bits say it.
fn rounded(x: &[f32], block: usize) -> Vec<f64> {
    let round = |values: &[f32]| -> Vec<f64> {
        let highest = values.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let quant = |value: f32| f64::from((value * (127.0 / highest)).round_ties_even());
        values.iter().map(|&value| quant(value) * f64::from(highest / 127.0)).collect()
    };
    x.chunks_exact(block).flat_map(round).collect()
}

#[test]
fn packing_keeps_every_value() {
    for encoding in ALL {
        for inputs in widths(encoding) {
            for outputs in [1, 15, 16, 17, 40] {
                let bytes = file(encoding, outputs, inputs, 3);
                let matrix = packed(encoding, outputs, inputs, &bytes);
                let mut row = vec![0.0; inputs];
                let values = file_values(encoding, &bytes);
                for (output, want) in values.chunks_exact(inputs).enumerate() {
                    matrix.row(output, &mut row);
                    assert_eq!(row, want, "{encoding:?} {outputs}×{inputs}, row {output}");
                }
            }
        }
    }
}

#[test]
fn parts_filled_apart_make_the_same_matrix() {
    let (outputs, inputs) = (75, 256);
    for encoding in ALL {
        let bytes = file(encoding, outputs, inputs, 5);
        let whole = packed(encoding, outputs, inputs, &bytes);
        let mut matrix = PackedMatrix::zeroed(encoding, outputs, inputs).expect("memory");
        for mut part in matrix.parts(32) {
            let range = part.bytes();
            part.pack(&bytes[range]);
        }
        assert!(matrix.tiles[..] == whole.tiles[..], "{encoding:?}");
    }
}

#[test]
fn parts_of_a_matrix_give_the_bits_of_the_whole() {
    let team = Team::new(2).expect("threads");
    let (outputs, inputs, rows) = (75, 256, 3);
    let x = noise(6, rows * inputs);
    for encoding in ALL {
        let matrix = packed(encoding, outputs, inputs, &file(encoding, outputs, inputs, 5));
        let mut whole = vec![0.0; rows * outputs];
        matrix.multiply(&team, &Activations::new(&x, inputs), &mut whole);
        for part in [0..16, 16..64, 48..75, 0..75, 64..75, 16..16] {
            let mut y = vec![0.0; rows * part.len()];
            matrix.multiply_part(&team, &Activations::new(&x, inputs), part.clone(), &mut y);
            for row in 0..rows {
                let want = &whole[row * outputs..][part.clone()];
                assert_eq!(&y[row * part.len()..][..part.len()], want, "{encoding:?} {part:?}");
            }
        }
    }
}

/// The product in f64 of the weights with x (rounded as the kernel rounds it), and Σ|w·x|.
fn exact(weights: &[f32], x: &[f64]) -> (f64, f64) {
    let products = || weights.iter().zip(x).map(|(&w, &x)| f64::from(w) * x);
    (products().sum(), products().map(f64::abs).sum())
}

#[test]
fn products_are_those_of_the_rounded_activations() {
    let team = Team::new(2).expect("threads");
    for encoding in ALL {
        for inputs in widths(encoding) {
            for (outputs, rows) in [(1, 1), (17, 2), (33, 3), (40, 9), (16, 70)] {
                let weights = file(encoding, outputs, inputs, 7);
                let matrix = packed(encoding, outputs, inputs, &weights);
                let x = noise(9, rows * inputs);
                let mut y = vec![f32::NAN; rows * outputs];
                matrix.multiply(&team, &Activations::new(&x, inputs), &mut y);
                let x: Vec<f64> = match encoding.block_columns() {
                    1 => x.iter().map(|&x| f64::from(x)).collect(),
                    block => rounded(&x, block),
                };
                let values = file_values(encoding, &weights);
                for (row, x) in x.chunks_exact(inputs).enumerate() {
                    for (output, weights) in values.chunks_exact(inputs).enumerate() {
                        let (want, size) = exact(weights, x);
                        let got = f64::from(y[row * outputs + output]);
                        let bound = 2e-6 * size + 1e-12;
                        assert!(
                            (got - want).abs() <= bound,
                            "{encoding:?} {outputs}×{inputs}, {rows} rows: {got}, not {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn rounding_activations_costs_less_than_a_hundredth() {
    let team = Team::new(1).expect("threads");
    for encoding in [Encoding::Q4_0, Encoding::Q8_0, Encoding::Q4K, Encoding::Q5K, Encoding::Q6K] {
        let (outputs, inputs) = (16, 1024);
        let bytes = file(encoding, outputs, inputs, 11);
        let x = noise(12, inputs);
        let mut y = vec![0.0; outputs];
        let matrix = packed(encoding, outputs, inputs, &bytes);
        matrix.multiply(&team, &Activations::new(&x, inputs), &mut y);
        let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        for (got, weights) in y.iter().zip(file_values(encoding, &bytes).chunks_exact(inputs)) {
            let (want, size) = exact(weights, &x);
            let error = (f64::from(*got) - want).abs() / size;
            assert!(error < 0.01, "{encoding:?}: {error}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_a_batch() {
    let team = Team::new(2).expect("threads");
    let (outputs, inputs, rows) = (50, 512, 67);
    for encoding in ALL {
        let matrix = packed(encoding, outputs, inputs, &file(encoding, outputs, inputs, 13));
        let x = noise(14, rows * inputs);
        let mut together = vec![0.0; rows * outputs];
        matrix.multiply(&team, &Activations::new(&x, inputs), &mut together);
        for (x, together) in x.chunks_exact(inputs).zip(together.chunks_exact(outputs)) {
            let mut alone = vec![0.0; outputs];
            matrix.multiply(&team, &Activations::new(x, inputs), &mut alone);
            assert!(alone.iter().zip(together).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }
}

/// y by the instructions of one level, on one thread.
fn by_level(level: Level, matrix: &PackedMatrix, x: &[f32]) -> Vec<f32> {
    let (outputs, inputs) = (matrix.outputs, matrix.inputs);
    let team = Team::new(1).expect("threads");
    let mut y = vec![f32::NAN; x.len() / inputs * outputs];
    let rows = Activations::new(x, inputs);
    let to = y.as_mut_ptr();
    match matrix.encoding {
        Encoding::F32 | Encoding::F16 | Encoding::BF16 => {
            let tiles = &matrix.tiles;
            let task = FloatTask { tiles, outputs, x, columns: inputs, y: to, stride: outputs };
            // SAFETY: the caller asks for levels that this machine has.
            unsafe { run_floats(level, matrix.encoding, &task) };
        }
        encoding => {
            let x = rows.quantized(&team, encoding.block_columns());
            let task = Task { tiles: &matrix.tiles, outputs, x, y: to, stride: outputs };
            // SAFETY: as above.
            unsafe { run_quantized(level, encoding, &task) };
        }
    }
    y
}

#[test]
fn every_level_of_this_machine_agrees() {
    let levels = match Level::detect_packed() {
        Level::Portable => vec![Level::Portable],
        Level::Avx512 => vec![Level::Portable, Level::Avx2, Level::Avx512],
        Level::NeonDotprod => vec![Level::Portable, Level::Neon, Level::NeonDotprod],
        best => vec![Level::Portable, best],
    };
    let (outputs, inputs) = (35, 768);
    for encoding in ALL {
        let matrix = packed(encoding, outputs, inputs, &file(encoding, outputs, inputs, 15));
        for rows in [1, 2, 5, 13] {
            let x = noise(16, rows * inputs);
            let plain = by_level(Level::Portable, &matrix, &x);
            for &level in &levels {
                for (got, want) in by_level(level, &matrix, &x).iter().zip(&plain) {
                    let close = (got - want).abs() <= 1e-5 * want.abs() + 1e-4;
                    assert!(close, "{encoding:?}, {level:?}: {got}, portable {want}");
                }
            }
        }
    }
}

#[test]
fn extreme_weights_and_activations_do_not_overflow() {
    let team = Team::new(1).expect("threads");
    for encoding in [Encoding::Q4_0, Encoding::Q8_0, Encoding::Q4K, Encoding::Q5K, Encoding::Q6K] {
        let (inputs, (_, block_bytes, _)) = (512, layout::sizes(encoding));
        for fill in [0x00, 0x7f, 0x80, 0xff] {
            let mut bytes = vec![fill; 16 * encoding.row_bytes(inputs)];
            let one = crate::half::narrow(1.0).to_le_bytes();
            for block in bytes.chunks_exact_mut(block_bytes) {
                match encoding {
                    Encoding::Q6K => block[208..210].copy_from_slice(&one),
                    Encoding::Q4_0 | Encoding::Q8_0 => block[..2].copy_from_slice(&one),
                    _ => block[..4].copy_from_slice(&[one[0], one[1], one[0], one[1]]),
                }
            }
            let matrix = packed(encoding, 16, inputs, &bytes);
            let values = file_values(encoding, &bytes);
            for sign in [1.0, -1.0] {
                for rows in [1, 5] {
                    let x = vec![sign; rows * inputs];
                    let mut y = vec![0.0; rows * 16];
                    matrix.multiply(&team, &Activations::new(&x, inputs), &mut y);
                    let x = vec![f64::from(sign); inputs];
                    for (index, got) in y.iter().enumerate() {
                        let weights = &values[index % 16 * inputs..][..inputs];
                        let (want, size) = exact(weights, &x);
                        let close = (f64::from(*got) - want).abs() <= 2e-6 * size + 1e-9;
                        assert!(close, "{encoding:?} of {fill:#x}: {got}, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let team = Team::new(1).expect("threads");
    for encoding in ALL {
        let matrix = packed(encoding, 16, 256, &file(encoding, 16, 256, 17));
        for value in [f32::NAN, f32::INFINITY] {
            let mut x = noise(18, 256);
            x[100] = value;
            let mut y = vec![0.0; 16];
            matrix.multiply(&team, &Activations::new(&x, 256), &mut y);
            assert!(y.iter().all(|y| !y.is_finite()), "{encoding:?} {value}: {y:?}");
        }
    }
}

#[test]
fn a_product_in_new_memory_equals_one_in_old() {
    let team = Team::new(2).expect("threads");
    let values = noise(3, 5 * 64);
    let x = Activations::new(&values, 64);
    let rows: Vec<u8> = noise(4, 50 * 64).iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut matrix = PackedMatrix::zeroed(Encoding::F32, 50, 64).expect("memory");
    matrix.pack(&rows);
    for outputs in [0..50, 16..50, 16..32, 48..48] {
        let mut old = vec![f32::NAN; 5 * outputs.len()];
        matrix.multiply_part(&team, &x, outputs.clone(), &mut old);
        assert_eq!(matrix.product(&team, &x, outputs), old);
    }
}
