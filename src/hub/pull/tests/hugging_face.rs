//! Repositories as Hugging Face serves them.

use super::*;
use crate::digest::Digest;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TAGGED: &str = "fedcba9876543210fedcba9876543210fedcba98";

/// Serves a repository at one commit: files in LFS if they end so.
fn put_repository(
    server: &Server,
    commit: &str,
    revision: Option<&str>,
    files: &[(&str, Vec<u8>)],
) {
    put_named("Org/Repo", (server, commit, revision), files);
}

fn put_named(
    repository: &str,
    (server, commit, revision): (&Server, &str, Option<&str>),
    files: &[(&str, Vec<u8>)],
) {
    let siblings: Vec<_> = files
        .iter()
        .map(|(path, bytes)| {
            server.put(&format!("/{repository}/resolve/{commit}/{path}"), bytes.clone());
            let hex = Digest::of(bytes).to_string().replace("sha256:", "");
            let lfs = json!({ "sha256": hex, "size": bytes.len(), "pointerSize": 134 });
            let is_lfs = path.ends_with(".gguf") || path.ends_with(".safetensors");
            let lfs = if is_lfs { lfs } else { serde_json::Value::Null };
            json!({ "rfilename": path, "size": bytes.len(), "lfs": lfs })
        })
        .collect();
    let info = json!({ "_id": "1", "id": repository, "sha": commit, "siblings": siblings });
    let path = match revision {
        Some(revision) => format!("/api/models/{repository}/revision/{revision}"),
        None => format!("/api/models/{repository}"),
    };
    server.put(&path, info.to_string());
    server.put(&format!("/api/models/{repository}/revision/{commit}"), info.to_string());
}

#[tokio::test]
async fn a_tag_chooses_one_file_of_a_repository() {
    let fixture = Fixture::new().await;
    let (f32, q8) = (real_model("stories260K-f32.gguf"), real_model("stories260K-q8_0.gguf"));
    let files = [
        ("stories-F32.gguf", f32),
        ("stories-Q8_0.gguf", q8.clone()),
        ("mmproj-Q8_0.gguf", b"no language model".to_vec()),
        ("README.md", b"# Stories".to_vec()),
    ];
    put_repository(&fixture.server, COMMIT, None, &files);
    let entry = fixture.pull("hf.co/Org/Repo:q8_0").await.unwrap();
    assert_eq!(entry.name.to_string(), "hf.co/Org/Repo:q8_0");
    assert_eq!(entry.description.file_type, "Q8_0");
    assert!(std::fs::read(fixture.path(&entry)).unwrap() == q8);
    let asked = fixture.server.asked_for("/resolve/");
    assert!(asked.iter().all(|asked| asked.path.contains(COMMIT)), "{asked:?}");
    assert!(fixture.server.asked().iter().all(|a| a.token.as_deref() == Some("Bearer hf_secret")));
    // Without a tag the usual choice, here the only one of the favourites.
    let latest = fixture.pull("hf.co/Org/Repo").await.unwrap();
    assert_eq!(latest.digest, entry.digest);
    let failed = fixture.pull("hf.co/Org/Repo:Q4_K_M").await.unwrap_err();
    let text = failed.to_string();
    assert!(text.contains("stories-F32.gguf, stories-Q8_0.gguf"), "{text}");
}

#[tokio::test]
async fn a_model_of_the_catalogue_keeps_its_name_wherever_it_comes_from() {
    let fixture = Fixture::new().await;
    let files = [("gemma-3-4b-it-Q4_K_M.gguf", real_model("stories260K-q8_0.gguf"))];
    put_named("ggml-org/gemma-3-4b-it-GGUF", (&fixture.server, COMMIT, None), &files);
    let entry = fixture.pull("Gemma3:4B").await.unwrap();
    assert_eq!(entry.name.to_string(), "gemma3:4b");
    // By its alias it is the same model.
    let again = fixture.pull("gemma3").await.unwrap();
    assert_eq!((again.name.to_string(), again.digest), ("gemma3:4b".to_owned(), entry.digest));
    // Its card's source is checked as any other.
    let failed = fixture.pull("gemma3:12b").await;
    assert!(matches!(failed, Err(PullError::NotFound(_))), "{failed:?}");
}

#[tokio::test]
async fn a_folder_is_pulled_of_one_commit_by_tag_or_branch() {
    let fixture = Fixture::new().await;
    let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"];
    let mut files: Vec<(&str, Vec<u8>)> =
        names.iter().map(|name| (*name, real_model(&format!("hf/{name}")))).collect();
    files.push(("pytorch_model.bin", b"not wanted".to_vec()));
    put_repository(&fixture.server, COMMIT, None, &files);
    put_repository(&fixture.server, TAGGED, Some("v1.0"), &files);
    let entry = fixture.pull("hf.co/Org/Repo:v1.0").await.unwrap();
    assert_eq!(entry.description.model_format, "safetensors");
    let folder = fixture.path(&entry);
    for name in names {
        assert!(std::fs::read(folder.join(name)).unwrap() == real_model(&format!("hf/{name}")));
    }
    assert!(!folder.join("pytorch_model.bin").exists());
    let asked = fixture.server.asked_for("/resolve/");
    assert!(asked.iter().all(|asked| asked.path.contains(TAGGED)), "{asked:?}");
    assert_eq!(fixture.blobs(), names.len() + 1);
}

#[tokio::test]
async fn the_parts_of_a_split_file_become_one() {
    let fixture = Fixture::new().await;
    let whole = real_model("stories260K-f32.gguf");
    let parts = crate::merge::tests::split(&whole, 3);
    let names: Vec<String> = (1..=3).map(|n| format!("q/big-F32-0000{n}-of-00003.gguf")).collect();
    let files: Vec<(&str, Vec<u8>)> = names.iter().map(String::as_str).zip(parts).collect();
    put_repository(&fixture.server, COMMIT, None, &files);
    let entry = fixture.pull("hf.co/Org/Repo:F32").await.unwrap();
    let original =
        hearth_formats::gguf::Header::read(&mut std::io::Cursor::new(&whole), whole.len() as u64);
    let merged = std::fs::read(fixture.path(&entry)).unwrap();
    let header =
        hearth_formats::gguf::Header::read(&mut std::io::Cursor::new(&merged), merged.len() as u64);
    let (original, header) = (original.unwrap(), header.unwrap());
    assert_eq!(header.metadata, original.metadata);
    for (old, new) in original.tensors.iter().zip(&header.tensors) {
        let data =
            |bytes: &[u8], at: u64, length: u64| bytes[at as usize..][..length as usize].to_vec();
        assert_eq!((&old.name, &old.shape), (&new.name, &new.shape));
        assert!(data(&whole, old.offset, old.bytes) == data(&merged, new.offset, new.bytes));
    }
    assert_eq!(fixture.blobs(), 2, "the parts are not kept");
}

#[tokio::test]
async fn absent_repositories_and_closed_ones_are_told_apart() {
    let fixture = Fixture::new().await;
    let failed = fixture.pull("hf.co/Org/None").await;
    assert_eq!(failed, Err(PullError::NotFound("hf.co/Org/None".to_owned())));
    fixture.server.play(|_, _| Some(StatusCode::FORBIDDEN.into_response()));
    let failed = fixture.pull("hf.co/Org/Gated").await;
    assert!(matches!(failed, Err(PullError::Denied { .. })), "{failed:?}");
    // A commit that is no commit would become part of a path.
    let fixture = Fixture::new().await;
    put_repository(&fixture.server, "../../../etc", None, &[("a-F32.gguf", vec![1])]);
    let failed = fixture.pull("hf.co/Org/Repo").await;
    assert!(matches!(failed, Err(PullError::BadAnswer { .. })), "{failed:?}");
}
