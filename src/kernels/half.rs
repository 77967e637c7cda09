//! Half floats (IEEE binary16) in plain arithmetic, where no instruction does it.

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
