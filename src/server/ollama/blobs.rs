//! `/api/blobs/{digest}`: files that are sent before a model is made of them.

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use futures_util::StreamExt;
use hearth_hub::Digest;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::error::{Failure, Result};
use crate::models::on_library;
use crate::state::AppState;

/// Largest file that is taken.
const MAX_BLOB_BYTES: u64 = 1 << 40;

pub(crate) async fn has_blob(
    State(state): State<AppState>,
    Path(digest): Path<String>,
) -> Result<StatusCode> {
    let digest = parse(&digest)?;
    match on_library(&state, move |library| Ok(library.has_blob(&digest))).await? {
        true => Ok(StatusCode::OK),
        false => Err(Failure::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("blob \"{digest}\" not found"),
        )),
    }
}

pub(crate) async fn send_blob(
    State(state): State<AppState>,
    Path(digest): Path<String>,
    request: Request,
) -> Result<StatusCode> {
    let digest = parse(&digest)?;
    if on_library(&state, move |library| Ok(library.has_blob(&digest))).await? {
        return Ok(StatusCode::OK);
    }
    let file = on_library(&state, |library| library.new_blob()).await?;
    let stall = Duration::from_secs(state.config().body_timeout_s.into());
    let (file, found) = receive(request.into_body(), file, stall).await?;
    if found != digest {
        let message = format!("digest mismatch, expected \"{digest}\", got \"{found}\"");
        return Err(Failure::invalid(message));
    }
    on_library(&state, move |library| library.keep_blob(&digest, file)).await?;
    Ok(StatusCode::CREATED)
}

/// Writes the body to the file and hashes it; each piece must come within `stall`.
async fn receive(
    body: Body,
    mut file: NamedTempFile,
    stall: Duration,
) -> Result<(NamedTempFile, Digest)> {
    let mut pieces = body.into_data_stream();
    let (mut hasher, mut bytes) = (Sha256::new(), 0u64);
    loop {
        let piece = match tokio::time::timeout(stall, pieces.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(_))) => {
                return Err(Failure::invalid("the body broke off before its end"));
            }
            Err(_) => {
                let message = format!("no more of the body arrived within {} s", stall.as_secs());
                return Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message));
            }
        };
        bytes = bytes.saturating_add(piece.len() as u64);
        if bytes > MAX_BLOB_BYTES {
            let message = format!("a file may have at most {MAX_BLOB_BYTES} bytes");
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message));
        }
        let written = tokio::task::spawn_blocking(move || {
            hasher.update(&piece);
            file.write_all(&piece).map(|()| (file, hasher))
        });
        let written = written.await.map_err(|_| Failure::internal("writing a blob broke off"))?;
        let doing = || "write a blob".to_owned();
        (file, hasher) =
            written.map_err(|source| hearth_hub::Error::Io { doing: doing(), source })?;
    }
    let digest = format!("sha256:{}", hex::encode(hasher.finalize()));
    Ok((file, Digest::parse(&digest)?))
}

fn parse(digest: &str) -> Result<Digest> {
    // A file's name has a dash where a digest has a colon; clients send both.
    Digest::parse(&digest.replacen('-', ":", 1))
        .map_err(|_| Failure::invalid("invalid digest format"))
}
