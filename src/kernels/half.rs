//! Half floats (IEEE binary16) in plain arithmetic, where no instruction does it.

#[cfg(target_arch = "x86_64")]
use crate::lanes::Level;

/// The value of a half float.
///
/// Shifted into place its exponent is 112 too low; a multiplication by 2^112 sets that right, for
/// subnormal numbers too. What comes out at 2^16 or more was infinite or not a number.
#[inline(always)]
pub fn widen(half: u16) -> f32 {
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * f32::from_bits(239 << 23);
    let is_special = half & 0x7c00 == 0x7c00;
    let bits = if is_special { magnitude.to_bits() | 0x7f80_0000 } else { magnitude.to_bits() };
    f32::from_bits(bits | u32::from(half & 0x8000) << 16)
}

/// The nearest half float, ties to even; too large becomes infinite.
#[inline(always)]
pub fn narrow(value: f32) -> u16 {
    let sign = (value.to_bits() >> 16 & 0x8000) as u16;
    let magnitude = value.abs();
    if magnitude.is_nan() {
        return sign | 0x7e00;
    }
    if magnitude >= 65520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 6.103_515_6e-5 {
        // Subnormal: steps of 2^-24. Adding 0.5 rounds at that place.
        return sign | ((magnitude + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let bits = magnitude.to_bits();
    // Half of the last place, less one unless that place is odd: ties go to even.
    let rounded = bits + 0xfff + (bits >> 13 & 1);
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

/// As [`narrow`], for many: with the machine's instruction, where it has one.
pub fn narrow_all(values: &[f32], halves: &mut [u16]) {
    assert_eq!(values.len(), halves.len(), "a half float for each value");
    #[cfg(target_arch = "x86_64")]
    if Level::detect_packed() != Level::Portable {
        // SAFETY: every packed level but the portable one has F16C.
        return unsafe { f16c(values, halves) };
    }
    narrow_baseline(values, halves);
}

#[cfg(not(target_arch = "aarch64"))]
fn narrow_baseline(values: &[f32], halves: &mut [u16]) {
    for (half, &value) in halves.iter_mut().zip(values) {
        *half = narrow(value);
    }
}

#[cfg(target_arch = "aarch64")]
fn narrow_baseline(values: &[f32], halves: &mut [u16]) {
    use std::arch::aarch64::{uint16x4_t, vld1q_f32, vst1_u16};
    let (fours, rest) = values.as_chunks::<4>();
    let (half_fours, half_rest) = halves.as_chunks_mut::<4>();
    for (values, halves) in fours.iter().zip(half_fours) {
        // SAFETY: both chunks hold four numbers; every machine of this architecture has the
        // instruction, which the standard library does not offer in its stable part.
        unsafe {
            let narrow: uint16x4_t;
            std::arch::asm!(
                "fcvtn {narrow:v}.4h, {wide:v}.4s",
                narrow = lateout(vreg) narrow,
                wide = in(vreg) vld1q_f32(values.as_ptr()),
                options(pure, nomem, nostack, preserves_flags)
            );
            vst1_u16(halves.as_mut_ptr(), narrow);
        }
    }
    for (half, &value) in half_rest.iter_mut().zip(rest) {
        *half = narrow(value);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,f16c")]
fn f16c(values: &[f32], halves: &mut [u16]) {
    use std::arch::x86_64::*;
    let (eights, rest) = values.as_chunks::<8>();
    let (half_eights, half_rest) = halves.as_chunks_mut::<8>();
    for (values, halves) in eights.iter().zip(half_eights) {
        // SAFETY: both chunks hold eight numbers.
        unsafe {
            let wide = _mm256_loadu_ps(values.as_ptr());
            let narrow = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(wide);
            _mm_storeu_si128(halves.as_mut_ptr().cast(), narrow);
        }
    }
    for (half, &value) in half_rest.iter_mut().zip(rest) {
        *half = narrow(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_float_survives_the_way_there_and_back() {
        for half in 0..=u16::MAX {
            let wide = widen(half);
            match wide.is_nan() {
                true => assert!(half & 0x7c00 == 0x7c00 && half & 0x3ff != 0),
                false => assert_eq!(narrow(wide), half, "{half:#x} is {wide}"),
            }
        }
    }

    #[test]
    fn many_at_once_become_what_each_alone_does() {
        let mut values: Vec<f32> = (0..3000).map(|n| (n as f32 - 1500.0) * 1.7e-3).collect();
        values.extend([0.0, -0.0, 1e-7, 6e-5, 65519.0, 65520.0, 1e9, f32::INFINITY]);
        for len in [0, 1, 7, 8, 9, values.len()] {
            let mut halves = vec![0; len];
            narrow_all(&values[..len], &mut halves);
            let want: Vec<u16> = values[..len].iter().map(|&value| narrow(value)).collect();
            assert_eq!(halves, want);
        }
        let mut half = [0];
        narrow_all(&[f32::NAN], &mut half);
        assert!(widen(half[0]).is_nan());
    }

    #[test]
    fn values_between_are_rounded_to_the_nearest_even() {
        assert_eq!(widen(0x3c00), 1.0);
        assert_eq!(widen(0x0001), 2f32.powi(-24));
        assert_eq!(narrow(1.0 + 2f32.powi(-11)), 0x3c00);
        assert_eq!(narrow(1.0 + 3.0 * 2f32.powi(-11)), 0x3c02);
        assert_eq!(narrow(1.0 + 2f32.powi(-11) + 2f32.powi(-20)), 0x3c01);
        assert_eq!(narrow(65519.9), 0x7bff);
        assert_eq!(narrow(-1e30), 0xfc00);
        assert_eq!(narrow(1e-30), 0);
        assert!(widen(narrow(f32::NAN)).is_nan());
    }
}
