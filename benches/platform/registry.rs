//! A registry on loopback that serves one model file with ranges, straight from the disk.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use serde_json::json;

/// What is served, and where.
pub(crate) struct Registry {
    pub(crate) address: String,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

struct Content {
    model: PathBuf,
    digest: String,
    /// Small files by their paths.
    texts: Vec<(String, Vec<u8>)>,
}

impl Registry {
    /// Serves the file as `bench/model:latest`, until the process ends.
    pub(crate) fn start(model: &Path) -> Result<Registry> {
        let (digest, bytes) = (sha256(model)?, model.metadata()?.len());
        let config = br#"{"model_format":"gguf"}"#.to_vec();
        let path = std::env::temp_dir().join(format!("hearth-bench-{}.json", std::process::id()));
        std::fs::write(&path, &config)?;
        let config_digest = sha256(&path)?;
        std::fs::remove_file(&path)?;
        let layer = |kind: &str, digest: &str, bytes: u64| {
            let kind = format!("application/vnd.ollama.image.{kind}");
            json!({ "mediaType": kind, "digest": digest, "size": bytes })
        };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "m",
            "config": layer("config", &config_digest, config.len() as u64),
            "layers": [layer("model", &digest, bytes)],
        });
        let texts = vec![
            ("/v2/bench/model/manifests/latest".to_owned(), manifest.to_string().into_bytes()),
            (format!("/v2/bench/model/blobs/{config_digest}"), config),
        ];
        let content = Arc::new(Content { model: model.to_owned(), digest: digest.clone(), texts });
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let content = Arc::clone(&content);
                // A client that hangs up ends its thread.
                thread::spawn(move || content.serve(stream));
            }
        });
        Ok(Registry { address, digest, bytes })
    }

    /// The address of the model's file.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v2/bench/model/blobs/{}", self.address, self.digest)
    }
}

impl Content {
    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut requests = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let path = line.split(' ').nth(1).context("a path")?.to_owned();
            let mut range = None;
            loop {
                line.clear();
                requests.read_line(&mut line)?;
                let header = line.trim().to_ascii_lowercase();
                range = header.strip_prefix("range: bytes=").map(str::to_owned).or(range);
                if header.is_empty() {
                    break;
                }
            }
            match self.texts.iter().find(|(known, _)| *known == path) {
                Some((_, text)) => {
                    let length = text.len();
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")?;
                    stream.write_all(text)?;
                }
                None if path.ends_with(&self.digest) => self.send(&mut stream, range)?,
                None => write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?,
            }
        }
    }

    /// The file, or the part of it that is asked for: copied by the kernel.
    fn send(&self, stream: &mut TcpStream, range: Option<String>) -> Result<()> {
        let mut file = File::open(&self.model)?;
        let bytes = file.metadata()?.len();
        let Some(range) = range else {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n")?;
            std::io::copy(&mut file, stream)?;
            return Ok(());
        };
        let (first, last) = range.split_once('-').context("a range")?;
        let (first, last): (u64, u64) = (first.parse()?, last.parse()?);
        let length = last + 1 - first;
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\n\
             content-range: bytes {first}-{last}/{bytes}\r\n\r\n"
        )?;
        file.seek(SeekFrom::Start(first))?;
        std::io::copy(&mut file.take(length), stream)?;
        Ok(())
    }
}

/// By the program of that name.
fn sha256(path: &Path) -> Result<String> {
    let done = Command::new("sha256sum").arg(path).output().context("sha256sum")?;
    let text = String::from_utf8(done.stdout)?;
    Ok(format!("sha256:{}", text.split(' ').next().context("a digest")?))
}
