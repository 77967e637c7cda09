//! Google's service accounts: a signed statement is exchanged for an access token, which serves
//! every request until shortly before it expires.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::unusable;
use crate::channels::exchange::{self, Trouble, TroubleKind};
use crate::channels::guard::Guard;
use crate::channels::live::Live;
use crate::wire::RefusalKind;

/// What a token is asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long a statement holds; Google takes no longer one.
const STATEMENT_S: i64 = 3600;
/// Longest answer to it, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// How long a token may take to come.
const LIMIT: Duration = Duration::from_secs(10);
/// So long before its end a token is not used any more.
const MARGIN: Duration = Duration::from_secs(60);
/// Longest time that a token is believed to last.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// How long a failure stands for those who ask next.
const FAILURE_LASTS: Duration = Duration::from_secs(2);

/// An account that gets access tokens.
pub(crate) struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    token_uri: String,
    key: RsaKeyPair,
    /// Held while a token is fetched: whoever needs one meanwhile waits for it.
    last: Mutex<Option<Last>>,
}

/// What came of the last fetch, and until when it counts.
struct Last {
    until: Instant,
    got: Result<HeaderValue, Trouble>,
}

/// The file of an account, as far as it counts.
#[derive(Deserialize)]
struct File {
    client_email: String,
    private_key: String,
    #[serde(default)]
    private_key_id: Option<String>,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl ServiceAccount {
    /// The account in a JSON file of Google's.
    pub(super) fn parse(text: &str) -> Result<ServiceAccount, &'static str> {
        let file: File = serde_json::from_str(text)
            .map_err(|_| "is no service account: it needs `client_email` and `private_key`")?;
        let key = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes())
            .ok()
            .and_then(|key| RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok())
            .ok_or("has a `private_key` that is no RSA key in PEM")?;
        Url::parse(&file.token_uri).map_err(|_| "has a `token_uri` that is no URL")?;
        Ok(ServiceAccount {
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
            last: Mutex::default(),
        })
    }

    /// A token that still holds, as a header; fetched once for all who need one.
    pub(super) async fn token(&self, live: &Live) -> Result<HeaderValue, Trouble> {
        let mut last = self.last.lock().await;
        if let Some(known) = last.as_ref().filter(|known| Instant::now() < known.until) {
            return known.got.clone();
        }
        let got = tokio::time::timeout(LIMIT, self.fetch(live)).await;
        let got = got.unwrap_or_else(|_| {
            Err(Trouble::new(TroubleKind::TimedOut, "the access token did not come in time"))
        });
        let (lasts, got) = match got {
            Ok((value, lasts)) => (lasts, Ok(value)),
            Err(trouble) => (FAILURE_LASTS, Err(trouble)),
        };
        *last = Some(Last { until: Instant::now() + lasts, got: got.clone() });
        got
    }

    async fn fetch(&self, live: &Live) -> Result<(HeaderValue, Duration), Trouble> {
        let url = Url::parse(&self.token_uri).map_err(|_| unusable("its token_uri is no URL"))?;
        // The address stands in the key, which nobody has checked by it.
        Guard::new(&live.settings.network.allow_private)
            .check(&url)
            .map_err(|reason| unusable(format!("its token_uri {reason}")))?;
        let statement = self.statement(jiff::Timestamp::now().as_second())?;
        // Neither has a letter that would have to be escaped.
        let body = format!("grant_type={}&assertion={statement}", GRANT.replace(':', "%3A"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let asked = live.client.post(url).header(CONTENT_TYPE, form).body(body).send();
        let response = asked.await.map_err(Trouble::of_network)?;
        let status = response.status();
        let until = tokio::time::Instant::now() + LIMIT;
        let body = exchange::read(response, MAX_ANSWER_BYTES, until).await?;
        if !status.is_success() {
            let refusal = crate::wire::refused(status.as_u16(), &body);
            let kind = match status.as_u16() {
                400..=403 => RefusalKind::Key,
                _ => refusal.kind,
            };
            let message = format!("no access token: {} ({status})", refusal.message);
            return Err(Trouble::new(TroubleKind::Refused(kind), message));
        }
        let broken = || {
            let kind = TroubleKind::Refused(RefusalKind::Broken);
            Trouble::new(kind, "the access token cannot be read")
        };
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| broken())?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", granted.access_token))
            .map_err(|_| broken())?;
        value.set_sensitive(true);
        let lasts = Duration::from_secs(granted.expires_in).min(LONGEST).saturating_sub(MARGIN);
        Ok((value, lasts))
    }

    /// Says who asks, signed.
    fn statement(&self, now_s: i64) -> Result<String, Trouble> {
        let mut head = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            head["kid"] = id.as_str().into();
        }
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now_s,
            "exp": now_s + STATEMENT_S,
        });
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (head, claims) = (head.to_string(), claims.to_string());
        let text = format!("{}.{}", encode(head.as_bytes()), encode(claims.as_bytes()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| unusable("its private key cannot sign"))?;
        Ok(format!("{text}.{}", encode(&signature)))
    }
}

/// The file of an account whose key is nobody's.
#[cfg(test)]
pub(crate) fn file(token_uri: &str) -> String {
    let mark = |word: &str| format!("-----{word} PRIVATE KEY-----");
    let key = include_str!("test_key.txt");
    let key = format!("{}\n{key}{}\n", mark("BEGIN"), mark("END"));
    let email = "hearth@p.iam.gserviceaccount.com";
    let file = json!({
        "client_email": email, "private_key": key, "private_key_id": "test", "token_uri": token_uri,
    });
    format!("{file:#}")
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_statement_is_signed_and_says_for_whom_and_how_long() {
        let account = ServiceAccount::parse(&file("https://oauth2.googleapis.com/token")).unwrap();
        let statement = account.statement(1_000_000).unwrap();
        let [head, claims, signature] =
            statement.split('.').collect::<Vec<_>>().try_into().unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let head: serde_json::Value = serde_json::from_slice(&decode(head)).unwrap();
        assert_eq!(head, json!({ "alg": "RS256", "typ": "JWT", "kid": "test" }));
        let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_000_000), &json!(1_003_600)));
        assert_eq!(
            (&claims["aud"], &claims["iss"]),
            (&json!(account.token_uri), &json!(account.email))
        );
        let (text, _) = statement.rsplit_once('.').unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, account.key.public());
        public.verify(text.as_bytes(), &decode(signature)).unwrap();
    }

    #[test]
    fn what_is_no_account_is_refused() {
        for text in [
            "{}",
            r#"{"client_email":"x","private_key":"y"}"#,
            r#"{"client_email":"x","private_key":"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}"#,
        ] {
            assert!(ServiceAccount::parse(text).is_err(), "{text}");
        }
    }
}
