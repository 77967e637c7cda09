//! The smallest HTTP client that the measurements need: one connection, one answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Sends one request to `address`; returns the body, whose status must be 200.
pub(crate) fn call(
    address: &str,
    token: &str,
    request: (&str, &str),
    body: &Value,
) -> Result<Vec<u8>> {
    let (method, path) = request;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("no status")?.to_owned();
    let mut is_chunked = false;
    loop {
        line.clear();
        answer.read_line(&mut line)?;
        is_chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        if line.trim().is_empty() {
            break;
        }
    }
    let mut content = Vec::new();
    match is_chunked {
        true => read_chunks(&mut answer, &mut content)?,
        false => drop(answer.read_to_end(&mut content)?),
    }
    if status != "200" {
        bail!("{method} {path}: {status} {}", String::from_utf8_lossy(&content));
    }
    Ok(content)
}

fn read_chunks(answer: &mut impl BufRead, content: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).context("a chunk's length")?;
        answer.take(length).read_to_end(content)?;
        answer.read_line(&mut line)?;
        if length == 0 {
            return Ok(());
        }
    }
}
