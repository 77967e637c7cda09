//! The plain address of a GGUF file: what may be asked for, what the model is called, and where the
//! parts are if the file is split.

use std::fmt;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::hugging_face::part;
use super::{PullError, PullResult};
use crate::digest::Digest;
use crate::name::ModelName;

/// Longest address, in bytes.
const MAX_BYTES: usize = 4096;
/// Most parts of one file.
const MAX_PARTS: usize = 512;
/// Longest name that is made of a file's, in bytes.
const MAX_NAME_BYTES: usize = 80;
/// How the digest is written behind the address.
const DIGEST_MARK: &str = "sha256=";

/// Where one GGUF file is, and what it must be if that is known. Written as
/// `https://host/path/model.gguf#sha256=<hex>`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Without a fragment.
    url: Url,
    digest: Option<Digest>,
}

impl Address {
    /// Reads an address; `sha256` is its digest, if it is told beside it.
    pub fn parse(text: &str, sha256: Option<&str>) -> PullResult<Address> {
        let bad = |problem: &str| PullError::BadName(format!("this address {problem}"));
        if text.len() > MAX_BYTES {
            return Err(bad("is longer than 4096 bytes"));
        }
        let mut url = Url::parse(text).map_err(|error| bad(&format!("cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("must begin with https:// and a host"));
        }
        // It would stand in the queue, and be shown to whoever the host redirects to.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("has a name or a password in it, which is not taken"));
        }
        let behind = url.fragment().map(|fragment| match fragment.strip_prefix(DIGEST_MARK) {
            Some(hex) => Ok(hex.to_owned()),
            None => Err(bad("may have nothing behind # but sha256=…")),
        });
        let behind = behind.transpose()?;
        url.set_fragment(None);
        let read = |text: &str| {
            let hex = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
            Digest::parse(&format!("sha256:{hex}"))
                .map_err(|_| PullError::BadName("a SHA-256 has 64 hexadecimal digits".to_owned()))
        };
        let behind = behind.as_deref().map(read).transpose()?;
        let beside = sha256.map(read).transpose()?;
        if behind.is_some() && beside.is_some() && behind != beside {
            return Err(PullError::BadName("two different digests are given".to_owned()));
        }
        let address = Address { url, digest: behind.or(beside) };
        address.parts().map(|_| address)
    }

    /// Host, with its port if it has one of its own.
    pub fn host(&self) -> String {
        super::http::host_of(&self.url)
    }

    /// Tells this address from others without saying what it is.
    pub(super) fn identity(&self) -> Digest {
        Digest::of(self.url.as_str().as_bytes())
    }

    /// What the file must be.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The file, or all its parts.
    pub(super) fn parts(&self) -> PullResult<Vec<Url>> {
        let path = self.url.path();
        let Some((number, parts)) = part(path) else { return Ok(vec![self.url.clone()]) };
        if number != 1 || !(1..=MAX_PARTS).contains(&parts) {
            let problem = format!("name the first part of a split file, of {MAX_PARTS} at most");
            return Err(PullError::BadName(problem));
        }
        if self.digest.is_some() && parts > 1 {
            let problem = "a split file has a digest for each part; none of the whole is known";
            return Err(PullError::BadName(problem.to_owned()));
        }
        let end = format!("-{:05}-of-{parts:05}.", 1);
        let (before, extension) = path
            .rsplit_once(&end)
            .ok_or_else(|| PullError::BadName("parts are numbered -00001-of-00003".to_owned()))?;
        let url = |number: usize| {
            let mut url = self.url.clone();
            url.set_path(&format!("{before}-{number:05}-of-{parts:05}.{extension}"));
            url
        };
        Ok((1..=parts).map(url).collect())
    }

    /// A name made of the file's.
    pub fn default_name(&self) -> PullResult<ModelName> {
        let file = self.url.path_segments().and_then(|mut all| all.next_back()).unwrap_or_default();
        let lower = file.to_ascii_lowercase();
        let stem = lower.strip_suffix(".gguf").unwrap_or(&lower);
        let stem = match part(&lower) {
            Some(_) => stem.rsplitn(4, '-').last().unwrap_or(stem),
            None => stem,
        };
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        // Of what an address writes as %20 only the sign stays.
        let letters = stem.bytes().map(|byte| if is_plain(byte) { char::from(byte) } else { '-' });
        let name: String = letters.take(MAX_NAME_BYTES).collect();
        let name = name.trim_matches(['-', '.']);
        name.parse().map_err(|_| {
            PullError::BadName(
                "say what the model is to be called: its file has no name".to_owned(),
            )
        })
    }
}

/// Without the query: it may carry a signature.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host(), self.url.path())
    }
}

impl TryFrom<String> for Address {
    type Error = PullError;
    fn try_from(text: String) -> PullResult<Address> {
        Address::parse(&text, None)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        match address.digest {
            Some(digest) => format!("{}#{DIGEST_MARK}{}", address.url, digest.hex()),
            None => address.url.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, None).unwrap()
    }

    #[test]
    fn a_model_is_called_as_its_file_is() {
        for (text, name) in [
            ("https://a.example/m/Qwen3-0.6B-Q8_0.gguf", "qwen3-0.6b-q8_0"),
            ("https://a.example/big-Q4-00001-of-00003.gguf?download=true", "big-q4"),
            ("https://a.example/my%20model.GGUF", "my-20model"),
            ("https://a.example/download", "download"),
        ] {
            assert_eq!(address(text).default_name().unwrap().to_string(), name, "{text}");
        }
        for text in ["https://a.example/", "https://a.example/.gguf", "https://a.example/x/"] {
            assert!(address(text).default_name().is_err(), "{text}");
        }
        let long = format!("https://a.example/{}.gguf", "a".repeat(200));
        assert_eq!(address(&long).default_name().unwrap().model().len(), 80);
    }

    #[test]
    fn what_is_no_address_of_a_file_is_refused() {
        let hex = "0a".repeat(32);
        for bad in [
            "",
            "model.gguf",
            "file:///etc/passwd",
            "ftp://a.example/m.gguf",
            "https://user:secret@a.example/m.gguf",
            "https://user@a.example/m.gguf",
            "https://a.example/m.gguf#main",
            "https://a.example/m.gguf#sha256=abc",
            "https://a.example/m-00002-of-00003.gguf",
            "https://a.example/m-00001-of-09999.gguf",
            &format!("https://a.example/m-00001-of-00003.gguf#sha256={hex}"),
            &format!("https://a.example/{}", "a".repeat(5000)),
        ] {
            let refused = Address::parse(bad, None).unwrap_err();
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        assert!(Address::parse("https://a.example/m.gguf", Some("zz")).is_err());
        let two = format!("https://a.example/m.gguf#sha256={hex}");
        assert!(Address::parse(&two, Some(&"0b".repeat(32))).is_err());
        assert!(Address::parse(&two, Some(&format!("sha256:{hex}"))).is_ok());
    }

    #[test]
    fn the_parts_of_a_split_file_lie_beside_the_first() {
        let parts = address("https://a.example/x/m-00001-of-00003.gguf?key=1").parts().unwrap();
        let parts: Vec<&str> = parts.iter().map(Url::as_str).collect();
        let expected = [1, 2, 3]
            .map(|number| format!("https://a.example/x/m-0000{number}-of-00003.gguf?key=1"));
        assert_eq!(parts, expected);
    }

    #[test]
    fn an_address_is_read_as_it_was_written_and_shown_without_its_query() {
        let hex = "0a".repeat(32);
        let text = format!("https://a.example:8443/m.gguf?signature=secret#sha256={hex}");
        let one = address(&text);
        assert_eq!(String::from(one.clone()), text);
        assert_eq!(format!("{one:?}"), "a.example:8443/m.gguf");
    }
}
