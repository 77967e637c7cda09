//! Fetches pictures and files that a request names by URL, for providers that do not fetch them
//! themselves: from the open internet alone, within bounds.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Url, redirect};
use tokio::time::Instant;

use super::exchange::{self, Trouble};
use super::guard::Guard;
use crate::error::{Error, Result};
use crate::request::GenerateRequest;

/// Most URLs of one request.
const MAX_URLS: usize = 16;
/// Largest file, in bytes.
const MAX_FILE_BYTES: usize = 20 << 20;
/// How long all files of a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Fetches what requests name.
#[derive(Default)]
pub(crate) struct Fetcher {
    client: OnceLock<reqwest::Client>,
}

impl Fetcher {
    /// Puts the bytes of everything that the request names by URL into it.
    pub(crate) async fn inline(&self, request: &mut GenerateRequest) -> Result<()> {
        let mut urls: Vec<String> = request.urls().map(str::to_owned).collect();
        urls.sort();
        urls.dedup();
        if urls.len() > MAX_URLS {
            let message = format!("At most {MAX_URLS} pictures or files can be fetched.");
            return Err(Error::Invalid { param: None, message });
        }
        let until = Instant::now() + LIMIT;
        for url in urls {
            let (mime, bytes) = self.fetch(&url, until).await.map_err(|reason| {
                let message = format!("The file at {url} cannot be fetched: {reason}.");
                Error::Invalid { param: None, message }
            })?;
            request.inline(&url, &mime, &STANDARD.encode(bytes));
        }
        Ok(())
    }

    async fn fetch(
        &self,
        url: &str,
        until: Instant,
    ) -> std::result::Result<(String, Vec<u8>), String> {
        let parsed = Url::parse(url).map_err(|_| "it is no URL".to_owned())?;
        Guard::new(&[]).check(&parsed).map_err(|reason| format!("it {reason}"))?;
        let client = self.client()?;
        let response = tokio::time::timeout_at(until, client.get(parsed).send())
            .await
            .map_err(|_| "it took too long".to_owned())?
            .map_err(|error| Trouble::of_network(error).message)?;
        if !response.status().is_success() {
            return Err(format!("its server answered {}", response.status()));
        }
        let mime = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let mime = mime.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        if mime.is_empty() {
            return Err("its server does not say of what kind it is".to_owned());
        }
        let bytes = exchange::read(response, MAX_FILE_BYTES, until).await;
        Ok((mime, bytes.map_err(|trouble| trouble.message)?))
    }

    fn client(&self) -> std::result::Result<&reqwest::Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder()
            .user_agent(concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            // Each hop would have to be checked, and few pictures need one.
            .redirect(redirect::Policy::none())
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .no_proxy()
            .dns_resolver(Guard::new(&[]).resolver())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_open_internet_is_fetched_from() {
        let fetcher = Fetcher::default();
        let until = Instant::now() + LIMIT;
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "https://127.0.0.1/x.png",
            "https://localhost/x.png",
            "https://[::ffff:10.0.0.1]/x.png",
            "https://2130706433/x.png",
            "http://example.com/x.png",
            "file:///etc/passwd",
            "ftp://example.com/x",
            "x",
        ] {
            let refused = fetcher.fetch(url, until).await.unwrap_err();
            assert!(refused.starts_with("it "), "{url}: {refused}");
        }
    }
}
