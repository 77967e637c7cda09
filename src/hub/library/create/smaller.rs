//! Puts quantised weights in the place of a model's.

use std::sync::Arc;

use hearth_formats::{ModelFile, QUANTIZED_FILE};

use super::{CreateStep, Making};
use crate::disk::check_room;
use crate::error::{Error, Result};
use crate::import::Progress;
use crate::library::{Library, lock};
use crate::manifest::{Description, FOLDER_FILE_TYPE, GGUF_TYPE, Layer};
use crate::quantize::{Plan, Quantization};

impl Library {
    /// Fails early where nothing can be quantised.
    pub(super) fn plan_smaller(&self, wanted: Quantization, making: &Making) -> Result<Plan> {
        let Some(workbench) = self.workbench.get() else {
            return Err(Error::CannotMake("quantization is not available here".to_owned()));
        };
        let workbench = Arc::clone(workbench);
        if let Some(weights) = making.layers.iter().find(|layer| layer.media_type == GGUF_TYPE) {
            return Plan::of_file(&self.blob_path(&weights.digest), wanted, workbench);
        }
        Plan::of_folder(&self.folder_of_layers(&making.layers)?.1, wanted, workbench)
    }

    /// A folder's model, by links that go when the folder is dropped.
    fn folder_of_layers(&self, layers: &[Layer]) -> Result<(tempfile::TempDir, ModelFile)> {
        let named = layers.iter().filter(|layer| layer.media_type == FOLDER_FILE_TYPE);
        let named = named.filter_map(|layer| Some((layer.name.clone()?, layer.digest)));
        let folder = self.folder_of(&named.collect())?;
        let model = ModelFile::open(folder.path())?;
        Ok((folder, model))
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
        check_room(&self.root, plan.total_bytes())?;
        let (digest, bytes) = plan.write(&blobs, &mut on_progress)?;
        self.keep_written(digest, making)?;
        // What we have written is read as if it came from elsewhere.
        let made = match making.layers.iter_mut().find(|layer| layer.media_type == GGUF_TYPE) {
            Some(layer) => {
                (layer.digest, layer.bytes) = (digest, bytes);
                ModelFile::open(&self.blob_path(&digest))?
            }
            None => {
                making.layers.retain(|layer| !is_weights(layer));
                let media_type = FOLDER_FILE_TYPE.to_owned();
                let name = Some(QUANTIZED_FILE.to_owned());
                making.layers.push(Layer { media_type, digest, bytes, name });
                self.folder_of_layers(&making.layers)?.1
            }
        };
        let made = Description::of(&made, making.now);
        let (file_type, capabilities) = (wanted.to_string(), description.capabilities);
        Ok(Description { file_type, capabilities, ..made })
    }
}

/// Whether a folder's file holds weights, or says which one does.
fn is_weights(layer: &Layer) -> bool {
    let name = layer.name.as_deref().unwrap_or_default();
    let is_safetensors =
        name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
    layer.media_type == FOLDER_FILE_TYPE && (is_safetensors || name == QUANTIZED_FILE)
}
