//! Which tensor is quantised how: the rules of llama.cpp's `llama-quantize`.

use candle_core::quantized::GgmlDType;
use clap::ValueEnum;

/// A mix of quantisations, as files are named by.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mix {
    #[value(name = "q4_0")]
    Q4Zero,
    #[value(name = "q4_k_m")]
    Q4KMedium,
    #[value(name = "q8_0")]
    Q8Zero,
}

/// What a matrix is for, as far as the rules ask.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// The output matrix, or the embedding table where it serves as one.
    Output,
    /// The value projection or the down projection of this layer.
    Sensitive(usize),
    Plain,
}

impl Mix {
    /// The kind of a matrix (`llama_tensor_get_type`, for models without experts).
    pub(crate) fn kind(self, role: Role, layers: usize) -> GgmlDType {
        match (self, role) {
            (Mix::Q8Zero, _) => GgmlDType::Q8_0,
            (_, Role::Output) => GgmlDType::Q6K,
            (Mix::Q4Zero, _) => GgmlDType::Q4_0,
            (Mix::Q4KMedium, Role::Sensitive(layer)) if wants_more_bits(layer, layers) => {
                GgmlDType::Q6K
            }
            (Mix::Q4KMedium, _) => GgmlDType::Q4K,
        }
    }

    /// GGUF's `general.file_type` (`enum llama_ftype`).
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Mix::Q4Zero => 2,
            Mix::Q8Zero => 7,
            Mix::Q4KMedium => 15,
        }
    }
}

/// The first and last eighth of the layers and every third between (`use_more_bits`).
fn wants_more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}
