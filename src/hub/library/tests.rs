//! The library with real models in a temporary directory.

use std::path::PathBuf;

use super::*;

pub(crate) fn real_models() -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared");
    let shared = std::env::var("HEARTH_SHARED").unwrap_or(default.to_owned());
    let models = Path::new(&shared).join("models/stories260k");
    assert!(models.is_dir(), "{} is missing: set HEARTH_SHARED", models.display());
    models
}

pub(crate) fn import(library: &Library, file: &str, name: &str) -> Result<Entry> {
    library.import(&real_models().join(file), name, 7, &mut |_| ControlFlow::Continue(()))
}

pub(crate) fn blobs(root: &Path) -> usize {
    fs::read_dir(root.join("blobs")).unwrap().count()
}

#[test]
fn an_imported_model_is_listed_also_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let entry = import(&library, "stories260K-f32.gguf", "Stories260k").unwrap();
    assert_eq!(entry.name.to_string(), "stories260k");
    assert_eq!(entry.description.model_family, "llama");
    assert_eq!(entry.description.file_type, "F32");
    assert_eq!(entry.description.context_length, 512);
    assert!(entry.description.has_chat_template);
    assert_eq!(Library::open(root.path(), &[]).unwrap().list(), vec![entry]);
}

#[test]
fn the_kept_file_equals_the_imported_one() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let entry = import(&library, "stories260K-f32.gguf", "a").unwrap();
    let Source::Path(path) = library.source(&entry.name).unwrap() else { panic!("a file") };
    let original = fs::read(real_models().join("stories260K-f32.gguf")).unwrap();
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), Digest::of(&original).file_name());
    assert!(fs::read(path).unwrap() == original);
}

#[test]
fn a_hugging_face_folder_keeps_its_file_names() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let entry = import(&library, "hf", "a").unwrap();
    assert_eq!(entry.description.model_format, "safetensors");
    let Source::Path(folder) = library.source(&entry.name).unwrap() else { panic!("a folder") };
    ModelFile::open(&folder).unwrap();
    assert!(folder.join("tokenizer.json").is_file());
    library.remove("a").unwrap();
    assert!(!folder.exists());
    assert_eq!(blobs(root.path()), 0);
}

#[test]
fn a_copy_shares_the_blobs_and_outlives_the_original() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    import(&library, "stories260K-f32.gguf", "a").unwrap();
    let before = blobs(root.path());
    let copy = library.copy("a", "b:2").unwrap();
    assert_eq!(blobs(root.path()), before);
    library.remove("a").unwrap();
    assert_eq!(blobs(root.path()), before);
    assert!(matches!(library.source(&copy.name).unwrap(), Source::Path(path) if path.is_file()));
    library.remove("B:2").unwrap();
    assert_eq!(blobs(root.path()), 0);
    assert!(library.list().is_empty());
}

#[test]
fn a_name_is_taken_once_and_a_cancelled_import_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let file = real_models().join("stories260K-f32.gguf");
    let cancelled = library.import(&file, "a", 7, &mut |_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(blobs(root.path()), 0);
    import(&library, "stories260K-f32.gguf", "a").unwrap();
    assert!(matches!(import(&library, "hf", "a:latest"), Err(Error::Exists(_))));
}

#[test]
fn an_import_that_is_cancelled_at_its_second_file_leaves_nothing_of_the_first() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let first_bytes = fs::metadata(real_models().join("hf/config.json")).unwrap().len();
    let mut blobs_at_second = 0;
    let cancelled = library.import(&real_models().join("hf"), "a", 7, &mut |progress| {
        if progress.done_bytes <= first_bytes {
            return ControlFlow::Continue(());
        }
        blobs_at_second = blobs(root.path());
        ControlFlow::Break(())
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(blobs_at_second, 2, "the first blob and the second's temporary file");
    assert_eq!(blobs(root.path()), 0);
    // A blob that another model has too stays.
    import(&library, "hf", "b").unwrap();
    let before = blobs(root.path());
    let cancelled = library.import(
        &real_models().join("hf"),
        "a",
        7,
        &mut |progress| match progress.done_bytes <= first_bytes {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        },
    );
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert_eq!(blobs(root.path()), before);
}

/// Puts a file, if there is none, into the store that was last written two hours ago.
fn leave(root: &Path, name: &str) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(7_200);
    file.set_modified(then).unwrap();
    path
}

#[test]
fn what_a_dead_process_left_is_swept_at_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let entry = import(&library, "stories260K-f32.gguf", "a").unwrap();
    let Source::Path(model) = library.source(&entry.name).unwrap() else { panic!("a file") };
    let model = model.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned();
    let orphan = format!("blobs/{}", Digest::of(b"nobody's").file_name());
    let leave_all =
        || [".tmpAbC123", "blobs/.tmpAbC123", orphan.as_str()].map(|name| leave(root.path(), name));
    let leftovers = leave_all();
    let foreign = leave(root.path(), "blobs/README");
    // The model's own blob is as old, and a young one may be of an import that runs.
    leave(root.path(), &model);
    let young = root.path().join("blobs").join(Digest::of(b"young").file_name());
    fs::write(&young, "young").unwrap();
    assert_eq!(Library::open(root.path(), &[]).unwrap().list(), [entry]);
    assert_eq!(leftovers.map(|path| path.exists()), [false; 3]);
    assert!(foreign.exists() && young.exists());
    // A manifest that cannot be read may refer to any blob, but to nothing half-written.
    let broken = leave(root.path(), "manifests/registry.ollama.ai/library/broken/latest");
    let leftovers = leave_all();
    let library = Library::open(root.path(), &[]).unwrap();
    assert_eq!(leftovers.each_ref().map(|path| path.exists()), [false, false, true]);
    // It is named, the rest is looked after, and models can still be removed.
    let (removed, told) = library.collect_unused().unwrap();
    assert_eq!((removed.files, told.len()), (0, 1));
    assert_eq!((&told[0].path, library.broken_manifests().unwrap()), (&broken, told.clone()));
    assert_eq!(library.verify(None, &mut |_| ControlFlow::Continue(())).unwrap(), []);
    library.remove("a").unwrap();
    assert!(root.path().join(&model).exists() && library.list().is_empty());
    fs::remove_file(broken).unwrap();
    let (removed, told) = library.collect_unused().unwrap();
    assert_eq!((removed.files, told.len()), (2, 0), "the orphan and the model's file");
}

#[test]
fn a_damaged_file_is_not_copied() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let whole = fs::read(real_models().join("stories260K-f32.gguf")).unwrap();
    let short = root.path().join("short.gguf");
    fs::write(&short, &whole[..whole.len() - 64]).unwrap();
    let failed = library.import(&short, "a", 7, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(failed, Err(Error::BadModel(_))), "{failed:?}");
    let failed = library.import(root.path(), "a", 7, &mut |_| ControlFlow::Continue(()));
    assert!(matches!(failed, Err(Error::NotAModel { .. })), "{failed:?}");
    assert_eq!(blobs(root.path()), 0);
}

#[test]
fn a_hostile_manifest_is_left_out_and_the_others_load() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    import(&library, "stories260K-f32.gguf", "good").unwrap();
    let folder = root.path().join("manifests/registry.ollama.ai/library/evil");
    fs::create_dir_all(&folder).unwrap();
    let digest = "sha256:../../../../../../../../../../etc/passwd";
    let layer = format!("{{\"mediaType\":\"x\",\"digest\":\"{digest}\",\"size\":1}}");
    let text =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"x\",\"config\":{layer},\"layers\":[]}}");
    fs::write(folder.join("latest"), text).unwrap();
    let names: Vec<String> = Library::open(root.path(), &[])
        .unwrap()
        .list()
        .iter()
        .map(|entry| entry.name.to_string())
        .collect();
    assert_eq!(names, ["good"]);
}

#[test]
fn a_builtin_model_can_be_neither_removed_nor_replaced() {
    let bytes = fs::read(real_models().join("stories260K-q8_0.gguf")).unwrap();
    let bytes: &'static [u8] = Box::leak(bytes.into_boxed_slice());
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[("guide", bytes)]).unwrap();
    let entry = library.find("guide").unwrap();
    assert_eq!(entry.origin, Origin::Builtin);
    assert!(matches!(library.source(&entry.name).unwrap(), Source::Static(_)));
    assert!(matches!(library.remove("guide"), Err(Error::Builtin(_))));
    assert!(matches!(import(&library, "hf", "guide"), Err(Error::Exists(_))));
}

#[test]
fn a_copy_over_a_name_replaces_what_it_meant() {
    let root = tempfile::tempdir().unwrap();
    let guide = fs::read(real_models().join("stories260K-q8_0.gguf")).unwrap();
    let library = Library::open(root.path(), &[("guide", guide.leak())]).unwrap();
    let first = import(&library, "stories260K-f32.gguf", "a").unwrap();
    import(&library, "stories260K-q8_0.gguf", "b").unwrap();
    let copied = library.copy_over("a", "B").unwrap();
    assert_eq!((copied.name.to_string(), copied.digest), ("b".to_owned(), first.digest));
    assert_eq!(blobs(root.path()), 2, "the file and the config of the first one are left");
    assert_eq!(library.copy_over("a", "a").unwrap(), first);
    assert_eq!(library.copy_over("a", "c").unwrap().digest, first.digest);
    assert_eq!(library.list().len(), 4);
    for (source, destination) in [("a", "guide"), ("guide", "a")] {
        let refused = library.copy_over(source, destination);
        assert!(matches!(refused, Err(Error::Builtin(_))), "{refused:?}");
    }
}

#[test]
fn what_an_older_version_did_not_write_down_is_read_from_the_model() {
    let root = tempfile::tempdir().unwrap();
    let library = Library::open(root.path(), &[]).unwrap();
    let entry = import(&library, "hf", "a").unwrap();
    let config = library.blob_path(&library.manifest(&entry.name).unwrap().config.digest);
    // The blob keeps its name: what is in it is not hashed again when a store is opened.
    let mut described = entry.description.clone();
    described.capabilities = Vec::new();
    described.model_family = "of old".to_owned();
    fs::write(&config, serde_json::to_vec(&described).unwrap()).unwrap();
    assert_eq!(Library::open(root.path(), &[]).unwrap().list(), vec![entry]);
}
