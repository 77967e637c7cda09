//! How a tensor's numbers are stored: kinds, their blocks, and the checked size of a shape.

/// How the elements of a tensor are encoded; names follow ggml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "ggml's names, written everywhere with the underscore")]
pub enum TensorKind {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl TensorKind {
    /// Every kind that can be read.
    pub const ALL: [TensorKind; 13] = [
        TensorKind::F32,
        TensorKind::F16,
        TensorKind::BF16,
        TensorKind::Q4_0,
        TensorKind::Q4_1,
        TensorKind::Q5_0,
        TensorKind::Q5_1,
        TensorKind::Q8_0,
        TensorKind::Q2_K,
        TensorKind::Q3_K,
        TensorKind::Q4_K,
        TensorKind::Q5_K,
        TensorKind::Q6_K,
    ];

    /// The name people know it by, such as `Q8_0`.
    pub fn label(self) -> &'static str {
        self.row().0
    }

    /// Elements in one block; 1 for plain floats.
    pub fn block_elements(self) -> u64 {
        self.row().2
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> u64 {
        self.row().3
    }

    /// The number that stands for it in a GGUF file (`enum ggml_type`).
    pub fn ggml_id(self) -> u32 {
        self.row().1
    }

    /// The kind behind a `ggml_type` number, if supported.
    pub fn from_ggml_id(id: u32) -> Option<TensorKind> {
        TensorKind::ALL.into_iter().find(|kind| kind.ggml_id() == id)
    }

    /// Bytes that a tensor of this kind and shape (outermost dimension first) takes.
    /// `None` when a product overflows or a row is not a whole number of blocks.
    pub fn tensor_bytes(self, shape: &[u64]) -> Option<u64> {
        if shape.last().copied().unwrap_or(1) % self.block_elements() != 0 {
            return None;
        }
        let elements = checked_elements(shape)?;
        (elements / self.block_elements()).checked_mul(self.block_bytes())
    }

    /// Label, ggml id, elements per block, bytes per block (ggml-common.h, `block_*`).
    fn row(self) -> (&'static str, u32, u64, u64) {
        match self {
            TensorKind::F32 => ("F32", 0, 1, 4),
            TensorKind::F16 => ("F16", 1, 1, 2),
            TensorKind::BF16 => ("BF16", 30, 1, 2),
            TensorKind::Q4_0 => ("Q4_0", 2, 32, 18),
            TensorKind::Q4_1 => ("Q4_1", 3, 32, 20),
            TensorKind::Q5_0 => ("Q5_0", 6, 32, 22),
            TensorKind::Q5_1 => ("Q5_1", 7, 32, 24),
            TensorKind::Q8_0 => ("Q8_0", 8, 32, 34),
            TensorKind::Q2_K => ("Q2_K", 10, 256, 84),
            TensorKind::Q3_K => ("Q3_K", 11, 256, 110),
            TensorKind::Q4_K => ("Q4_K", 12, 256, 144),
            TensorKind::Q5_K => ("Q5_K", 13, 256, 176),
            TensorKind::Q6_K => ("Q6_K", 14, 256, 210),
        }
    }
}

/// The product of a shape, or `None` when it does not fit what a slice may hold.
pub(crate) fn checked_elements(shape: &[u64]) -> Option<u64> {
    let product = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim))?;
    (product <= isize::MAX as u64).then_some(product)
}

/// The name of a `ggml_type` that exists but is not supported, for error messages.
pub(crate) fn ggml_name(id: u32) -> String {
    let name = match id {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {id}"),
    };
    name.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_blocks_match_bits_per_weight() {
        assert_eq!(TensorKind::Q8_0.tensor_bytes(&[2, 64]), Some(136));
        assert_eq!(TensorKind::Q4_K.tensor_bytes(&[1, 256]), Some(144));
        assert_eq!(TensorKind::F32.tensor_bytes(&[3, 5]), Some(60));
    }

    #[test]
    fn rows_that_split_a_block_have_no_size() {
        assert_eq!(TensorKind::Q8_0.tensor_bytes(&[32, 33]), None);
    }

    #[test]
    fn products_never_wrap() {
        assert_eq!(TensorKind::F32.tensor_bytes(&[(1 << 62) + 8]), None);
        assert_eq!(TensorKind::F32.tensor_bytes(&[2, (1 << 63) + 16]), None);
        assert_eq!(TensorKind::F32.tensor_bytes(&[1 << 31, 1 << 33]), None);
        assert_eq!(TensorKind::Q4_0.tensor_bytes(&[(1 << 59) + 2, 32]), None);
    }

    #[test]
    fn every_kind_is_found_by_its_own_id() {
        for kind in TensorKind::ALL {
            assert_eq!(TensorKind::from_ggml_id(kind.ggml_id()), Some(kind));
        }
    }
}
