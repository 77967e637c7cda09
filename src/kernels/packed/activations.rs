//! Activations as bytes, in the blocks that packed weights are multiplied with.

use std::sync::OnceLock;

use crate::lanes::Level;
use crate::team::Team;

/// The rows that matrices are multiplied with. Each form of them is made when it is first needed,
/// once for all matrices that share the rows.
#[derive(Debug)]
pub struct Activations<'a> {
    pub(super) values: &'a [f32],
    pub(super) columns: usize,
    by_32: OnceLock<Quantized>,
    by_256: OnceLock<Quantized>,
}

/// Rows in 8 bits: x ≈ scale · quant, one scale per block.
#[derive(Debug)]
pub(super) struct Quantized {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows whose quants lie side by side: 1, 2 or 4. Where there are fewer, zeros fill up.
    pub(super) together: usize,
    /// [rows / together, columns / 4, together, 4]: what a step of the kernel reads is one stretch.
    pub(super) quants: Vec<i8>,
    /// [rows, blocks]
    pub(super) scales: Vec<f32>,
    /// Σ quant over 32 columns. [rows, columns / 32]
    pub(super) sums: Vec<i16>,
    /// Σ quant over 16 columns. [rows, columns / 16]
    pub(super) half_sums: Vec<i16>,
}

impl<'a> Activations<'a> {
    /// `values`: [rows, columns].
    pub fn new(values: &'a [f32], columns: usize) -> Activations<'a> {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "whole rows");
        Activations { values, columns, by_32: OnceLock::new(), by_256: OnceLock::new() }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    pub(super) fn quantized(&self, team: &Team, block: usize) -> &Quantized {
        let form = if block == 32 { &self.by_32 } else { &self.by_256 };
        form.get_or_init(|| Quantized::new(team, self.values, self.columns, block))
    }
}

impl Quantized {
    fn new(team: &Team, values: &[f32], columns: usize, block: usize) -> Quantized {
        let rows = values.len() / columns;
        let together = rows.next_power_of_two().min(4);
        let stretch = together * columns;
        let mut quants = vec![0i8; rows.div_ceil(together) * stretch];
        let mut scales = vec![0.0; values.len() / block];
        let mut sums = vec![0i16; values.len() / 32];
        let mut half_sums = vec![0i16; values.len() / 16];
        // Some 20 µs of work.
        let task = (1usize << 16).div_ceil(stretch) * stretch;
        let mut parts: Vec<Part<'_>> = values
            .chunks(task)
            .zip(quants.chunks_mut(task))
            .zip(scales.chunks_mut(task / block))
            .zip(sums.chunks_mut(task / 32).zip(half_sums.chunks_mut(task / 16)))
            .map(|(((values, quants), scales), (sums, half_sums))| Part {
                values,
                quants,
                scales,
                sums,
                half_sums,
            })
            .collect();
        let sizes = Sizes { columns, block, together };
        team.run_chunks(&mut parts, 1, |_, parts| {
            for part in parts {
                part.quantize(sizes);
            }
        });
        Quantized { rows, columns, together, quants, scales, sums, half_sums }
    }
}

impl Quantized {
    /// `row`, or the last there is where rows are filled up.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> usize {
        row.min(self.rows - 1)
    }
}

#[derive(Clone, Copy)]
struct Sizes {
    columns: usize,
    block: usize,
    together: usize,
}

/// Whole rows, and where their numbers go.
struct Part<'a> {
    values: &'a [f32],
    quants: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i16],
    half_sums: &'a mut [i16],
}

impl Part<'_> {
    fn quantize(&mut self, sizes: Sizes) {
        match Level::detect() {
            // SAFETY: `detect` has seen AVX-512F with BW and VL, and FMA, on this machine.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, sizes) },
            // SAFETY: `detect` has seen AVX2 and FMA on this machine.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, sizes) },
            _ => self.body(sizes),
        }
    }

    #[inline(always)]
    fn body(&mut self, Sizes { columns, block, together }: Sizes) {
        // A block and its sums do not leave the first-level cache before they are spread.
        let mut quants = [0i8; 256];
        let quants = &mut quants[..block];
        for (index, values) in self.values.chunks_exact(block).enumerate() {
            let scale = quantize_block(values.as_chunks().0, quants.as_chunks_mut().0);
            self.scales[index] = scale;
            let halves = &mut self.half_sums[index * block / 16..(index + 1) * block / 16];
            for (sum, quants) in halves.iter_mut().zip(quants.as_chunks::<16>().0) {
                *sum = quants.iter().map(|&quant| i16::from(quant)).sum();
            }
            let sums = &mut self.sums[index * block / 32..(index + 1) * block / 32];
            for (sum, halves) in sums.iter_mut().zip(halves.as_chunks::<2>().0) {
                *sum = halves[0] + halves[1];
            }
            let (row, column) = (index * block / columns, index * block % columns);
            let start = row / together * together * columns + column * together;
            let to = &mut self.quants[start..start + block * together];
            let to = to.as_chunks_mut::<4>().0.iter_mut().skip(row % together);
            for (to, from) in to.step_by(together).zip(quants.as_chunks::<4>().0) {
                *to = *from;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,fma")]
fn avx512(part: &mut Part<'_>, sizes: Sizes) {
    part.body(sizes);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(part: &mut Part<'_>, sizes: Sizes) {
    part.body(sizes);
}

/// Rounds a block to −127 ..= 127 and returns its scale, which is not a number if a value is not.
#[inline(always)]
fn quantize_block(values: &[[f32; 16]], quants: &mut [[i8; 16]]) -> f32 {
    let (mut highest, mut nothing) = ([0.0f32; 16], [0.0f32; 16]);
    for values in values {
        for lane in 0..16 {
            highest[lane] = highest[lane].max(values[lane].abs());
            nothing[lane] += values[lane] * 0.0;
        }
    }
    let highest = highest.iter().fold(0.0f32, |a, &b| a.max(b));
    let nothing: f32 = nothing.iter().sum();
    let inverse = if highest > 0.0 { 127.0 / highest } else { 0.0 };
    for (values, quants) in values.iter().zip(quants) {
        for lane in 0..16 {
            quants[lane] = (values[lane] * inverse).round_ties_even() as i8;
        }
    }
    highest / 127.0 + nothing
}
