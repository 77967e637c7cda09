//! Models made of models: what they carry, what is shared and what goes.

use serde_json::json;

use super::*;
use crate::library::Library;

/// The smallest real model that is always there.
const STARTER: &[u8] = include_bytes!("../../../../models/starter/hearth-guide-q8_0.gguf");

fn library() -> (tempfile::TempDir, Library) {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), &[("guide", STARTER)]).unwrap();
    (folder, library)
}

fn base(name: &str) -> Base {
    Base::Model(name.parse().unwrap())
}

fn create(
    library: &Library,
    name: &str,
    base: &Base,
    changes: &Changes,
    now: i64,
) -> Result<Entry> {
    let recipe = Recipe { base: base.clone(), changes: changes.clone() };
    library.create(name, &recipe, now, &mut |_| ControlFlow::Continue(()))
}

fn blobs(folder: &tempfile::TempDir) -> usize {
    fs::read_dir(folder.path().join("blobs")).unwrap().count()
}

#[test]
fn a_made_model_carries_its_texts_and_shares_its_weights() {
    let (folder, library) = library();
    let parameters = json!({ "temperature": 0.5, "stop": ["x"] }).as_object().unwrap().clone();
    let changes = Changes {
        system: Some("Be kind.".into()),
        parameters,
        messages: Some(vec![ProfileMessage { role: "user".into(), content: "hi".into() }]),
        licenses: vec!["MIT".into()],
        template: Some("{{ .Prompt }}".into()),
        quantization: None,
    };
    let made = create(&library, "mine", &base("guide"), &changes, 7).unwrap();
    assert_eq!(made.description.created_at, 7);
    let profile = library.profile(&made.name).unwrap();
    assert_eq!(profile.system.as_deref(), Some("Be kind."));
    assert_eq!(profile.messages[0].content, "hi");
    assert_eq!(
        (profile.licenses.as_slice(), &profile.parameters["stop"]),
        (&["MIT".to_owned()][..], &json!(["x"]))
    );
    let again = Changes {
        system: Some("Be brief.".into()),
        parameters: json!({ "temperature": 1 }).as_object().unwrap().clone(),
        licenses: vec!["BSD".into()],
        ..Changes::default()
    };
    let child = create(&library, "child", &base("mine"), &again, 8).unwrap();
    let profile = library.profile(&child.name).unwrap();
    assert_eq!(profile.system.as_deref(), Some("Be brief."));
    assert_eq!(
        profile.parameters,
        json!({ "temperature": 1, "stop": ["x"] }).as_object().unwrap().clone()
    );
    assert_eq!(profile.licenses, ["MIT", "BSD"]);
    assert!(child.description.capabilities == made.description.capabilities);
    assert_eq!(profile.messages.len(), 1);
    let reopened = Library::open(folder.path(), &[("guide", STARTER)]).unwrap();
    assert_eq!(reopened.profile(&child.name).unwrap(), profile);
    library.remove("child").unwrap();
    library.remove("mine").unwrap();
    assert_eq!(blobs(&folder), 0);
}

#[test]
fn a_model_that_is_made_again_replaces_itself_and_leaves_nothing_behind() {
    let (folder, library) = library();
    let with = |system: &str| Changes { system: Some(system.into()), ..Changes::default() };
    create(&library, "mine", &base("guide"), &with("one"), 1).unwrap();
    let count = blobs(&folder);
    let entry = create(&library, "Mine:latest", &base("mine"), &with("two"), 2).unwrap();
    assert_eq!(library.profile(&entry.name).unwrap().system.as_deref(), Some("two"));
    assert_eq!(blobs(&folder), count);
    assert!(matches!(
        create(&library, "guide", &base("mine"), &with("x"), 3),
        Err(Error::Builtin(_))
    ));
    assert!(matches!(create(&library, "x", &base("none"), &with("x"), 3), Err(Error::NotFound(_))));
    assert_eq!(blobs(&folder), count);
}

#[test]
fn files_that_were_sent_become_a_model_and_bad_ones_do_not() {
    let (folder, library) = library();
    let send = |bytes: &[u8]| {
        let mut file = library.new_blob().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        let digest = Digest::of(bytes);
        library.keep_blob(&digest, file).unwrap();
        digest
    };
    let good = send(STARTER);
    assert!(library.has_blob(&good));
    let files = |name: &str, digest| Base::Files(HashMap::from([(name.to_owned(), digest)]));
    let made = create(&library, "sent", &files("a.gguf", good), &Changes::default(), 1).unwrap();
    assert_eq!(made.description.model_format, "gguf");
    let facts = library.file_facts(&made.name, false).unwrap();
    assert!(facts.metadata.contains_key("general.architecture"));
    assert_eq!(facts.metadata["tokenizer.ggml.tokens"], json!([]));
    assert!(!facts.tensors.is_empty() && facts.chat_template.is_some());
    let bad = send(b"GGUF no");
    assert!(create(&library, "bad", &files("a.gguf", bad), &Changes::default(), 1).is_err());
    let absent = files("a.gguf", Digest::of(b"absent"));
    assert!(matches!(
        create(&library, "bad", &absent, &Changes::default(), 1),
        Err(Error::NoBlob(_))
    ));
    let two = HashMap::from([("../config.json".to_owned(), good), ("b".to_owned(), good)]);
    let hostile = create(&library, "bad", &Base::Files(two), &Changes::default(), 1);
    assert!(matches!(hostile, Err(Error::BadManifest(_))), "{hostile:?}");
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 3, "no folder is left behind");
}

#[test]
fn the_parts_of_a_split_file_become_one_and_wrong_parts_nothing() {
    let (folder, library) = library();
    let send = |bytes: &[u8]| {
        let mut file = library.new_blob().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        library.keep_blob(&Digest::of(bytes), file).unwrap();
        Digest::of(bytes)
    };
    let parts = crate::merge::tests::split(STARTER, 2);
    let digests: Vec<Digest> = parts.iter().map(|part| send(part)).collect();
    let named = |names: [&str; 2]| {
        Base::Files(names.map(str::to_owned).into_iter().zip(digests.clone()).collect())
    };
    let before = blobs(&folder);
    let swapped = named(["m-00002-of-00002.gguf", "m-00001-of-00002.gguf"]);
    let failed = create(&library, "parts", &swapped, &Changes::default(), 1);
    assert!(matches!(failed, Err(Error::BadModel(_))), "{failed:?}");
    assert_eq!(blobs(&folder), before);
    let right = named(["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]);
    let made = create(&library, "parts", &right, &Changes::default(), 1).unwrap();
    let facts = library.file_facts(&made.name, false).unwrap();
    assert!(facts.chat_template.is_some() && !facts.metadata.contains_key("split.count"));
}

#[test]
fn a_model_that_ollama_asks_by_code_says_so() {
    let (folder, library) = library();
    let template = Changes { template: Some("{{ .Prompt }}".into()), ..Changes::default() };
    let made = create(&library, "mine", &base("guide"), &template, 1).unwrap();
    assert!(!library.profile(&made.name).unwrap().is_asked_by_code);
    let manifest = library.manifest(&made.name).unwrap();
    let config = folder.path().join("blobs").join(manifest.config.digest.file_name());
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replacen('{', r#"{"renderer":"qwen3.5","#, 1)).unwrap();
    assert!(library.profile(&made.name).unwrap().is_asked_by_code);
}
