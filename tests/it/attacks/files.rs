//! Model files that were made to break their reader, and a disk that is too small.

use std::path::{Path, PathBuf};
use std::process::Command;

use axum::http::StatusCode;
use serde_json::json;

use super::{is_well, pull, refused};
use crate::registry::Registry;
use crate::story::{Story, models};

/// A GGUF file: its head, then pairs and tensors as they are given.
fn gguf(version: u32, tensors: u64, pairs: u64, rest: &[&[u8]]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(version.to_le_bytes());
    file.extend(tensors.to_le_bytes());
    file.extend(pairs.to_le_bytes());
    file.extend(rest.concat());
    file
}

fn text(bytes: &str) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes.as_bytes()].concat()
}

/// A pair: its key, its type, its value.
fn pair(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key)[..], &kind.to_le_bytes(), value].concat()
}

fn tensor(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut row = text(name);
    row.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|dim| row.extend(dim.to_le_bytes()));
    row.extend(kind.to_le_bytes());
    row.extend(offset.to_le_bytes());
    row
}

const U32: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The files by which readers of others were killed.
fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let architecture = pair("general.architecture", STRING, &text("llama"));
    let with = |rows: &[Vec<u8>]| {
        let rows = rows.concat();
        let padding = [0; 4096];
        gguf(3, 1, 1, &[&architecture, &rows, &padding])
    };
    let nested: Vec<u8> =
        (0..200).flat_map(|_| [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()).collect();
    let twice = [tensor("t", &[32], 0, 0), tensor("t", &[32], 0, 128)].concat();
    vec![
        ("alignment 0", gguf(3, 0, 1, &[&pair("general.alignment", U32, &0_u32.to_le_bytes())])),
        ("dims that wrap", with(&[tensor("t", &[32, (1 << 59) + 2], 2, 0)])),
        ("2^32 x 2^32", with(&[tensor("t", &[1 << 32, 1 << 32], 0, 0)])),
        ("two of one name", gguf(3, 2, 1, &[&architecture, &twice, &[0; 4096]])),
        ("a key of 2^64", gguf(3, 0, 1, &[&u64::MAX.to_le_bytes()])),
        (
            "a string of 2^63",
            gguf(3, 0, 1, &[&text("k"), &STRING.to_le_bytes(), &(1_u64 << 63).to_le_bytes()]),
        ),
        (
            "an array of 2^62",
            gguf(
                3,
                0,
                1,
                &[
                    &text("k"),
                    &ARRAY.to_le_bytes(),
                    &U32.to_le_bytes(),
                    &(1_u64 << 62).to_le_bytes(),
                ],
            ),
        ),
        ("2^64 pairs", gguf(3, 0, u64::MAX, &[])),
        ("2^64 tensors", gguf(3, u64::MAX, 0, &[])),
        ("an offset past the end", with(&[tensor("t", &[32], 0, 1 << 40)])),
        ("a tensor past the end", with(&[tensor("t", &[1 << 20], 0, 0)])),
        ("offset and size that wrap", with(&[tensor("t", &[32], 0, u64::MAX - 63)])),
        ("six dimensions", with(&[tensor("t", &[1; 6], 0, 0)])),
        ("version 1, an empty string", gguf(1, 0, 1, &[&text("")])),
        ("200 nested arrays", gguf(3, 0, 1, &[&text("k"), &ARRAY.to_le_bytes(), &nested])),
        (
            "block_count 0",
            gguf(3, 0, 2, &[&architecture, &pair("llama.block_count", U32, &0_u32.to_le_bytes())]),
        ),
        ("only a head", b"GGUF".to_vec()),
        ("nothing", Vec::new()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_kill_other_readers_are_refused_pulled_sent_and_imported() {
    let registry = Registry::start().await;
    let story = registry.story().await;
    for (what, file) in hostile() {
        registry.put_model("evil", &file);
        let error = refused(&story, &registry, "evil").await;
        let is_named = error.contains("his model cannot be used") || file.is_empty();
        assert!(is_named, "{what}: {error}");
        let path = story.folder.path().join("evil.gguf");
        std::fs::write(&path, &file).unwrap();
        let told = story.import(&path, "evil").await;
        assert!(told.contains("event: failed"), "{what}: {told}");
        let digest = hearth_hub::Digest::of(&file);
        let blob = format!("/api/blobs/{digest}");
        let (status, _) = story.send_bytes(axum::http::Method::POST, &blob, file).await;
        assert!(status.is_success(), "a file that nobody uses harms nobody");
        let body = json!({ "model": "evil", "files": { "a.gguf": digest }, "stream": false });
        let (status, answer) = story.call("/api/create", body).await;
        assert!(status.is_client_error(), "{what}: {status} {answer}");
    }
    let (status, _) = story.call("/api/show", json!({ "model": "evil" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    is_well(&story).await;
}

/// A file system of a few megabytes; gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the test may not mount one.
    fn mount(at: &Path, size: &str) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        let is_there = mount.output().is_ok_and(|done| done.status.success());
        is_there.then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what is still open goes with the process.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_becomes_full_in_the_middle_ends_the_pull_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_mounted) = SmallDisk::mount(&disk, "12m") else {
        eprintln!("SKIPPED: no right to mount a small file system");
        return;
    };
    let registry = Registry::start().await;
    let models_dir = disk.clone();
    let story = registry.story_with(move |config| config.data.models_dir = models_dir).await;
    // It would fit, but somebody else writes while it comes.
    let content: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();
    let digest = registry.put_model("big", &content);
    let (filler, name) = (disk.join("filler"), digest.to_string());
    registry.play(move |path| {
        if path.ends_with(&name) {
            std::fs::write(&filler, vec![0; 6 << 20]).unwrap();
        }
        None
    });
    let lines = pull(&story, &registry.name("me/big")).await;
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("disk became full"), "{error}");
    let left: u64 = std::fs::read_dir(disk.join("partial"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(left, 0, "what had come makes room for others");
    is_well(&story).await;
    // With room again the same pull goes through to the check, which finds no model in it.
    std::fs::remove_file(disk.join("filler")).unwrap();
    registry.play(|_| None);
    let lines = pull(&story, &registry.name("me/big")).await;
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("cannot be used"), "{error}");
    // What does not fit at all is refused before its first byte.
    registry.put_model("huge", &vec![7; 16 << 20]);
    let lines = pull(&story, &registry.name("me/huge")).await;
    let error = lines.last().unwrap()["error"].as_str().unwrap();
    assert!(error.contains("bytes are needed on the disk"), "{error}");
    assert!(registry.asked_for("/v2/me/huge/blobs/").is_empty());
    // Neither does what a client sends; the same file can be sent when there is room.
    let (sent, filler) = (vec![9; 4 << 20], disk.join("filler"));
    std::fs::write(&filler, vec![0; 9 << 20]).unwrap();
    let blob = format!("/api/blobs/{}", hearth_hub::Digest::of(&sent));
    let (status, answer) = story.send_bytes(axum::http::Method::POST, &blob, sent.clone()).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{answer}");
    assert!(answer["error"].as_str().unwrap().contains("disk is full"), "{answer}");
    std::fs::remove_file(&filler).unwrap();
    let (status, _) = story.send_bytes(axum::http::Method::POST, &blob, sent).await;
    assert_eq!(status, StatusCode::CREATED);
    let real = std::fs::read(models().join("stories260K-q8_0.gguf")).unwrap();
    registry.put_model("small", &real);
    let lines = pull(&story, &registry.name("me/small")).await;
    assert_eq!(lines.last().unwrap()["status"], "success", "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_for_the_result_quantising_is_refused_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_mounted) = SmallDisk::mount(&disk, "12m") else {
        eprintln!("SKIPPED: no right to mount a small file system");
        return;
    };
    let models_dir = disk.clone();
    let story = Story::begin_with(move |config| config.data.models_dir = models_dir).await;
    // All of the disk but 64 KiB.
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 12 << 20]).unwrap_err();
    let filled = std::fs::OpenOptions::new().write(true).open(&filler).unwrap();
    filled.set_len(filled.metadata().unwrap().len() - (64 << 10)).unwrap();
    let from = "stories260k";
    let made = json!({ "model": "small", "from": from, "quantize": "q8_0", "stream": false });
    let (status, answer) = story.call("/api/create", made.clone()).await;
    assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{answer}");
    let error = answer["error"].as_str().unwrap();
    assert!(error.contains("bytes of disk") && error.contains("are free"), "{error}");
    drop(filled);
    std::fs::remove_file(filler).unwrap();
    let (status, answer) = story.call("/api/create", made).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    is_well(&story).await;
}
