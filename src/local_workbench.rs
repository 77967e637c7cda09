//! What making models needs of text and engine, where the hub cannot see them.

use hearth_engine::{Mix, convert_rows, mixed_kinds};
use hearth_formats::TensorKind;
use hearth_formats::gguf::Header;
use hearth_hub::{Quantization, Workbench};
use hearth_text::{Abilities, ChatTemplate};

/// Templates by `text`, blocks by `engine`.
pub(crate) struct LocalWorkbench;

impl Workbench for LocalWorkbench {
    fn check_template(&self, source: &str) -> Result<(), String> {
        match ChatTemplate::new_go(source) {
            Ok(_) => Ok(()),
            Err(hearth_text::Error::BrokenTemplate(problem)) => Err(problem),
            Err(other) => Err(other.to_string()),
        }
    }

    fn prefers_own(&self, own: &str, beside: &str) -> bool {
        let beside = ChatTemplate::new_go(beside).map(|beside| beside.abilities());
        beside.is_err() || beside.is_ok_and(|go| Abilities::of_jinja(own).are_better_than(go))
    }

    fn kinds(&self, header: &Header, wanted: Quantization) -> Result<Vec<TensorKind>, String> {
        let mix = match wanted {
            Quantization::Q4_0 => Mix::Q4_0,
            Quantization::Q4KSmall => Mix::Q4KSmall,
            Quantization::Q4KMedium => Mix::Q4KMedium,
            Quantization::Q8_0 => Mix::Q8_0,
        };
        mixed_kinds(header, mix).map_err(|error| error.to_string())
    }

    fn convert(
        &self,
        rows: &[u8],
        from: TensorKind,
        to: TensorKind,
        row_values: usize,
    ) -> Result<Vec<u8>, String> {
        convert_rows(rows, from, to, row_values).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;
    use std::sync::Arc;

    use hearth_hub::{Base, Changes, CreateStep, Library, Recipe};

    use super::*;

    #[test]
    fn quantising_ends_with_its_reader_and_leaves_nothing() {
        let shared = std::env::var("HEARTH_SHARED")
            .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared").to_owned());
        let file = Path::new(&shared).join("models/stories260k/stories260K-f32.gguf");
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path(), &[]).unwrap();
        library.set_workbench(Arc::new(LocalWorkbench));
        library.import(&file, "base", 1, &mut |_| ControlFlow::Continue(())).unwrap();
        let blobs = || std::fs::read_dir(folder.path().join("blobs")).unwrap().count();
        let before = blobs();
        let changes = Changes { quantization: Some(Quantization::Q8_0), ..Changes::default() };
        let recipe = Recipe { base: Base::Model("base".parse().unwrap()), changes };
        let mut steps = Vec::new();
        let made = library.create("small", &recipe, 2, &mut |step| {
            let is_quantizing = matches!(step, CreateStep::Quantizing { .. });
            steps.push(step);
            if is_quantizing { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(made, Err(hearth_hub::Error::Cancelled)), "{made:?}");
        assert_eq!(steps.len(), 2, "{steps:?}");
        assert_eq!(blobs(), before);
        assert!(library.find("small").is_err());
    }
}
