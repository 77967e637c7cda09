//! Puts quantised weights in the place of a model's.

use std::sync::Arc;

use hearth_formats::ModelFile;

use super::{CreateStep, Making};
use crate::error::{Error, Result};
use crate::import::Progress;
use crate::library::{Library, lock};
use crate::manifest::{Description, GGUF_TYPE};
use crate::quantize::{Plan, Quantization};

impl Library {
    /// Fails early where nothing can be quantised.
    pub(super) fn plan_smaller(&self, wanted: Quantization, making: &Making) -> Result<Plan> {
        let Some(workbench) = self.workbench.get() else {
            return Err(Error::CannotMake("quantization is not available here".to_owned()));
        };
        let weights = making.layers.iter().find(|layer| layer.media_type == GGUF_TYPE);
        let Some(weights) = weights else {
            let problem = "only GGUF files can be quantized; this model is a folder of \
                           safetensors files: convert it to a GGUF file of F16 first";
            return Err(Error::CannotMake(problem.to_owned()));
        };
        Plan::new(&self.blob_path(&weights.digest), wanted, Arc::clone(workbench))
    }

    /// Puts quantised weights in the place of the model's.
    pub(super) fn make_smaller(
        &self,
        plan: Plan,
        wanted: Quantization,
        description: Description,
        making: &mut Making,
    ) -> Result<Description> {
        let (blobs, from) = (self.root.join("blobs"), description.file_type.clone());
        let mut on_progress = |progress: Progress| {
            let step = CreateStep::Quantizing { from: from.clone(), to: wanted, progress };
            (making.on_step)(step)
        };
        // One at a time: each takes all cores.
        let _quantizing = lock(&self.quantizing);
        let (digest, bytes) = plan.write(&blobs, &mut on_progress)?;
        self.keep_written(digest, making)?;
        for layer in making.layers.iter_mut().filter(|layer| layer.media_type == GGUF_TYPE) {
            (layer.digest, layer.bytes) = (digest, bytes);
        }
        // What we have written is read as if it came from elsewhere.
        let made = ModelFile::open(&self.blob_path(&digest))?;
        let made = Description::of(&made, making.now);
        let (file_type, capabilities) = (wanted.to_string(), description.capabilities);
        Ok(Description { file_type, capabilities, ..made })
    }
}
