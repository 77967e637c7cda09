//! Model names, `[host/][namespace/]model[:tag]`, with the defaults that Ollama uses.
//!
//! Every part is checked against a small alphabet before it can become a path.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// Longest host and longest other part, in bytes (Ollama's limits).
const MAX_HOST_BYTES: usize = 350;
const MAX_PART_BYTES: usize = 80;

/// A whole model name. It keeps its spelling, because registries ask for it, but two spellings of
/// one name are equal: case does not count.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl ModelName {
    /// The registry's host, with its port if it has one of its own.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The part before the model: a user, team or organisation.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The part that names the model alone.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The part after the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Spelled in lower case.
    pub(crate) fn to_lowercase(&self) -> ModelName {
        let [host, namespace, model, tag] = self.parts().map(str::to_ascii_lowercase);
        ModelName { host, namespace, model, tag }
    }

    fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }

    /// What equality and order go by.
    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        // No part contains a slash, so the parts cannot flow into each other.
        self.parts()
            .into_iter()
            .flat_map(|part| part.bytes().map(|byte| byte.to_ascii_lowercase()).chain([b'/']))
    }

    /// Where the manifest lies below `manifests/`.
    pub fn manifest_path(&self) -> PathBuf {
        [&self.host, &self.namespace, &self.model, &self.tag].iter().collect()
    }

    /// The inverse of [`ModelName::manifest_path`].
    pub(crate) fn from_parts(parts: [&str; 4]) -> Result<ModelName> {
        let [host, namespace, model, tag] = parts;
        format!("{host}/{namespace}/{model}:{tag}").parse()
    }
}

impl PartialEq for ModelName {
    fn eq(&self, other: &ModelName) -> bool {
        self.folded().eq(other.folded())
    }
}

impl Eq for ModelName {}

impl PartialOrd for ModelName {
    fn partial_cmp(&self, other: &ModelName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ModelName {
    fn cmp(&self, other: &ModelName) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for ModelName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|byte| state.write_u8(byte));
    }
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<ModelName> {
        let bad = |reason| Error::BadName {
            name: text.chars().take(80).flat_map(char::escape_debug).collect(),
            reason,
        };
        let (path, tag) = match text.rsplit_once(':') {
            // A colon before the last slash belongs to the host's port.
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, DEFAULT_TAG),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model) = match parts[..] {
            [model] => (DEFAULT_HOST, DEFAULT_NAMESPACE, model),
            [namespace, model] => (DEFAULT_HOST, namespace, model),
            [host, namespace, model] => (host, namespace, model),
            _ => return Err(bad("write [host/][namespace/]model[:tag]")),
        };
        check(host, MAX_HOST_BYTES, |b| b == b'.' || b == b':').map_err(bad)?;
        check(namespace, MAX_PART_BYTES, |_| false).map_err(bad)?;
        check(model, MAX_PART_BYTES, |b| b == b'.').map_err(bad)?;
        check(tag, MAX_PART_BYTES, |b| b == b'.').map_err(bad)?;
        let [host, namespace, model, tag] = [host, namespace, model, tag].map(str::to_owned);
        Ok(ModelName { host, namespace, model, tag })
    }
}

/// One part: not empty, not too long, starts with a letter, digit or `_`.
fn check(
    part: &str,
    most_bytes: usize,
    also: fn(u8) -> bool,
) -> std::result::Result<(), &'static str> {
    let Some(first) = part.bytes().next() else { return Err("a part of it is empty") };
    if part.len() > most_bytes {
        return Err("a part of it is longer than 80 characters (350 for a host)");
    }
    if !(first.is_ascii_alphanumeric() || first == b'_') {
        return Err("each part starts with a letter, a digit or `_`");
    }
    if part.bytes().any(|b| !(b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || also(b))) {
        return Err("only letters, digits, `_`, `-` and `.` are allowed");
    }
    Ok(())
}

/// The short form: default host, namespace and tag are left out.
impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host.eq_ignore_ascii_case(DEFAULT_HOST) {
            write!(f, "{}/{}/", self.host, self.namespace)?;
        } else if !self.namespace.eq_ignore_ascii_case(DEFAULT_NAMESPACE) {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.model)?;
        if !self.tag.eq_ignore_ascii_case(DEFAULT_TAG) {
            write!(f, ":{}", self.tag)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for ModelName {
    type Error = Error;
    fn try_from(text: String) -> Result<ModelName> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> String {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn defaults_are_filled_in_and_left_out_again() {
        for (written, shown) in [
            ("stories260k", "stories260k"),
            ("Stories260K:latest", "Stories260K"),
            ("library/qwen3:0.6b", "qwen3:0.6b"),
            ("me/qwen3", "me/qwen3"),
            ("hf.co/Qwen/Qwen3-GGUF:Q4_K_M", "hf.co/Qwen/Qwen3-GGUF:Q4_K_M"),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ] {
            let name: ModelName = written.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(shown.parse::<ModelName>().unwrap(), name);
            assert_eq!(written.to_uppercase().parse::<ModelName>().unwrap(), name);
            assert_eq!(name.to_lowercase(), name);
        }
    }

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        let long = "a".repeat(81);
        for bad in [
            "", ":", "/", "a/", "/a", "..", "../a", "a/../b", "a:..", "a b", "a\n", "a/b/c/d", "é",
            &long,
        ] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_manifest_path_has_four_plain_parts(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<ModelName>() {
                let path = name.manifest_path();
                prop_assert_eq!(path.components().count(), 4);
                prop_assert!(path.components().all(|c| matches!(c, std::path::Component::Normal(_))));
            }
        }
    }
}
