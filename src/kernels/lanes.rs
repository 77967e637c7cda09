//! Short vectors that the compiler turns into the widest registers of the level at hand.
//!
//! A kernel is written once as an `#[inline(always)]` function over [`Lanes`] and compiled three
//! times on x86-64: portable, AVX2 with FMA, AVX-512. [`Level::detect`] picks one at run time. On
//! 64-bit ARM the portable build has NEON's registers and its fused multiply-add.

/// Instruction sets that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What every machine of this architecture has.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F, BW and VL.
    Avx512,
    /// Any 64-bit ARM.
    Neon,
    /// 64-bit ARM with dot products of bytes.
    NeonDotprod,
}

impl Level {
    /// The widest level of this machine. The standard library remembers the answer.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            // Every function of this level is compiled with all of these.
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            if has_avx512 && is_x86_feature_detected!("fma") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        Level::baseline()
    }

    /// The widest level that packed matrices can use: AVX-512 counts with its whole-number
    /// products of bytes only, AVX2 with conversion of half floats.
    pub(crate) fn detect_packed() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vnni");
            let has_avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if has_avx512 && has_avx2 {
                return Level::Avx512;
            }
            if has_avx2 {
                return Level::Avx2;
            }
        }
        Level::baseline()
    }

    #[cfg(target_arch = "aarch64")]
    fn baseline() -> Level {
        match std::arch::is_aarch64_feature_detected!("dotprod") {
            true => Level::NeonDotprod,
            false => Level::Neon,
        }
    }

    #[cfg(not(target_arch = "aarch64"))]
    fn baseline() -> Level {
        Level::Portable
    }
}

/// Whether a multiply and an add may become one instruction. Without such an instruction
/// `mul_add` is a slow library call, so the portable build on x86 must not use it.
pub(crate) const PORTABLE_FMA: bool = cfg!(target_arch = "aarch64");

/// `N` running sums.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<const FMA: bool, const N: usize>(pub(crate) [f32; N]);

impl<const FMA: bool, const N: usize> Lanes<FMA, N> {
    pub(crate) const ZERO: Self = Lanes([0.0; N]);

    /// Adds a·b, lane by lane.
    #[inline(always)]
    pub(crate) fn add_product(&mut self, a: &[f32; N], b: &[f32; N]) {
        for lane in 0..N {
            self.0[lane] = fused::<FMA>(a[lane], b[lane], self.0[lane]);
        }
    }

    /// The sum of all lanes, always added in the same order.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        let mut width = N;
        let mut lanes = self.0;
        while width > 1 {
            width /= 2;
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
        }
        lanes[0]
    }
}

/// a·b + c.
#[inline(always)]
pub(crate) fn fused<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The `N` values from `start`; what lies behind the end counts as 0.
#[inline(always)]
pub(crate) fn load<const N: usize>(values: &[f32], start: usize) -> [f32; N] {
    match values.get(start..start + N).and_then(|chunk| chunk.try_into().ok()) {
        Some(chunk) => chunk,
        None => {
            let mut padded = [0.0; N];
            let rest = &values[start..];
            padded[..rest.len()].copy_from_slice(rest);
            padded
        }
    }
}

/// Σ a·b over two slices of one length.
#[inline(always)]
pub(crate) fn dot<const FMA: bool, const N: usize>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = Lanes::<FMA, N>::ZERO;
    let (a_chunks, a_rest) = a.as_chunks::<N>();
    let (b_chunks, b_rest) = b.as_chunks::<N>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        sums.add_product(a, b);
    }
    if !a_rest.is_empty() {
        sums.add_product(&load(a_rest, 0), &load(b_rest, 0));
    }
    sums.sum()
}

/// e^x for x ≤ 88; relative error below 2e-7, results under 1e-38 are 0.
///
/// x = n·ln 2 + r, |r| ≤ ln 2 / 2; e^r by the polynomial of Cephes' expf, 2^n by its bits.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding and subtracting it rounds to an integer
    let clamped = x.clamp(-87.0, 88.0);
    let n = fused::<FMA>(clamped, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let r = fused::<FMA>(n, -LN2_LOW, fused::<FMA>(n, -LN2_HIGH, clamped));
    let mut series = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        series = fused::<FMA>(series, r, coefficient);
    }
    let power = fused::<FMA>(series, r * r, r) + 1.0;
    let scale = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.0 { 0.0 } else { power * scale }
}

/// tanh(x); relative error below 5e-7.
///
/// Near 0 by its series, where 1 − 2 / (e^2x + 1) would lose digits.
#[inline(always)]
pub(crate) fn tanh<const FMA: bool>(x: f32) -> f32 {
    const SERIES_BELOW: f32 = 0.25;
    let square = x * x;
    let mut series = 2.186_948_8e-2; // 62/2835
    for coefficient in [-5.396_825_4e-2, 1.333_333_4e-1, -3.333_333_4e-1] {
        series = fused::<FMA>(series, square, coefficient);
    }
    let near = fused::<FMA>(series * square, x, x);
    // e^20 + 1 is e^20 in single precision; more would leave the range of `exp`.
    let far = 1.0 - 2.0 / (exp::<FMA>(2.0 * x.abs().min(10.0)) + 1.0);
    let far = far.copysign(x);
    if x.abs() < SERIES_BELOW || x.is_nan() { near } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_stays_within_half_a_millionth() {
        let worst = (-20_000..=20_000)
            .filter(|&step| step != 0)
            .map(|step| step as f32 / 1000.0)
            .map(|x| (f64::from(tanh::<false>(x)) / f64::from(x).tanh() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 5e-7, "relative error {worst}");
        assert_eq!(tanh::<false>(0.0), 0.0);
        assert_eq!(tanh::<false>(f32::NEG_INFINITY), -1.0);
        assert!(tanh::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn exp_stays_within_two_ten_millionths() {
        let worst = (-8700..=8800)
            .map(|step| step as f32 / 100.0)
            .map(|x| (f64::from(exp::<false>(x)) / f64::from(x).exp() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 2e-7, "relative error {worst}");
        assert_eq!(exp::<false>(-1000.0), 0.0);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp::<false>(0.0), 1.0);
    }

    #[test]
    fn exp_keeps_nan() {
        assert!(exp::<false>(f32::NAN).is_nan());
    }
}
