//! Holds the house to its floor plan: who may import whom, who owns a heavy dependency, how long
//! a file may be, and where SQL may stand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Room → rooms that it may import.
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("kernels", &[]),
    ("formats", &[]),
    ("text", &["formats"]),
    ("engine", &["kernels", "formats", "text"]),
    ("reach", &[]),
    ("hub", &["formats", "reach"]),
    ("store", &[]),
    ("gateway", &["reach", "store"]),
    ("server", &["gateway", "hub", "store"]),
];

/// Heavy dependency → its one owner.
const OWNERS: [(&str, &str); 16] = [
    ("candle-core", "engine"),
    ("candle-nn", "engine"),
    ("nvml-wrapper", "engine"),
    ("sysinfo", "engine"),
    ("tokenizers", "text"),
    ("minijinja", "text"),
    ("gotmpl", "text"),
    ("llguidance", "text"),
    ("hf-hub", "hub"),
    ("rusqlite", "store"),
    ("argon2", "gateway"),
    ("openidconnect", "gateway"),
    ("ldap3", "gateway"),
    ("webauthn_rp", "gateway"),
    ("hyper", "server"),
    ("rust-embed", "server"),
];

/// Longest source file, in lines.
const MAX_FILE_LINES: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Names in `[dependencies]` of a room's manifest.
fn dependencies(room: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("src").join(room).join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let tables = ["dependencies", "build-dependencies"];
    tables
        .iter()
        .filter_map(|name| table.get(*name)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect()
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "models", "fuzz"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !["target", "node_modules", ".venv"].contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 50, "the walk found only {} files", files.len());
    files
}

fn room_of(path: &Path) -> String {
    let path = path.strip_prefix(root().join("src")).unwrap_or(Path::new(""));
    path.iter().next().unwrap_or_default().to_string_lossy().into_owned()
}

#[test]
fn rooms_import_only_what_the_floor_plan_allows() {
    let folders: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let plan: BTreeMap<_, _> = MAY_IMPORT.into();
    assert_eq!(folders.len(), plan.len(), "a room is missing in the plan: {folders:?}");
    for room in folders {
        for dependency in dependencies(&room) {
            if let Some(other) = dependency.strip_prefix("hearth-") {
                let allowed = plan[room.as_str()].contains(&other);
                assert!(allowed, "{room} must not import {other}");
            }
        }
    }
}

#[test]
fn a_heavy_dependency_has_one_owner() {
    for (room, _) in MAY_IMPORT {
        for dependency in dependencies(room) {
            let owner = OWNERS.iter().find(|(name, _)| *name == dependency);
            if let Some((_, owner)) = owner {
                assert_eq!(room, *owner, "{dependency} belongs to {owner}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_short_enough() {
    for path in rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        assert!(first.starts_with("//!"), "{} has no //! line", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn sql_stands_only_in_the_store() {
    let words = ["SELECT ", "INSERT INTO", "DELETE FROM", "UPDATE ", "CREATE TABLE", "PRAGMA "];
    for path in rust_files().into_iter().filter(|path| path.starts_with(root().join("src"))) {
        if room_of(&path) == "store" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.contains('"')) {
            let found = words.iter().find(|word| line.contains(&format!("\"{word}")));
            assert!(found.is_none(), "{}: {line}", path.display());
        }
    }
}

#[test]
fn the_map_names_only_files_that_exist() {
    for page in ["ARCHITECTURE.md", "README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = quoted.ends_with(".rs") || quoted.ends_with('/');
            if !is_path || quoted.contains(['<', ' ', '*']) || quoted.starts_with(['~', '.']) {
                continue;
            }
            let found = ["", "src", "src/engine", "src/server"]
                .iter()
                .any(|folder| root().join(folder).join(quoted).exists());
            assert!(found, "{page} names `{quoted}`, which is not there");
        }
    }
}
