//! Amazon's signatures, version 4: proves the key without sending it, for one request and a few
//! minutes. Amazon's own crate for it brings two dozen others; what is needed is this.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::{Outgoing, unusable};
use crate::channels::exchange::Trouble;

/// The service that is signed for.
const SERVICE: &str = "bedrock";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION: HeaderName = HeaderName::from_static("x-amz-security-token");
/// What stands for all these in every signature.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A key, and the region for which it signs.
pub(crate) struct AwsKey {
    id: String,
    secret: String,
    region: String,
    session: Option<String>,
}

impl AwsKey {
    /// `ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION`, and perhaps `|SESSION_TOKEN`.
    pub(super) fn parse(text: &str) -> Result<AwsKey, &'static str> {
        let what = "must be ACCESS_KEY_ID|SECRET_ACCESS_KEY|REGION, and |SESSION_TOKEN if there is \
                    one";
        let parts: Vec<&str> = text.split('|').collect();
        if parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            return Err(what);
        }
        let (id, secret, region, session) = match parts.as_slice() {
            [id, secret, region] => (id, secret, region, None),
            [id, secret, region, session] => (id, secret, region, Some((*session).to_owned())),
            _ => return Err(what),
        };
        let is_plain =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_plain(id) || !is_plain(region) {
            return Err(what);
        }
        let [id, secret, region] = [id, secret, region].map(|part| (*part).to_owned());
        Ok(AwsKey { id, secret, region, session })
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// Signs a request: `headers` gets its date, its host and the signature over these.
    pub(super) fn sign(
        &self,
        outgoing: &Outgoing<'_>,
        now: Timestamp,
        headers: &mut HeaderMap,
    ) -> Result<(), Trouble> {
        let host = outgoing.url.host_str().unwrap_or_default();
        let host = match outgoing.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let date = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let mut signed = HeaderMap::new();
        signed.insert(HOST, value(&host)?);
        signed.insert(DATE, value(&date)?);
        if let Some(session) = &self.session {
            let mut session = value(session)?;
            session.set_sensitive(true);
            signed.insert(SESSION, session);
        }
        let proof = self.authorization((SERVICE, &date), outgoing, &signed);
        headers.extend(signed);
        headers.insert(AUTHORIZATION, value(&proof)?);
        Ok(())
    }

    fn authorization(
        &self,
        (service, date): (&str, &str),
        outgoing: &Outgoing<'_>,
        signed: &HeaderMap,
    ) -> String {
        let mut lines: Vec<(&str, String)> =
            signed.iter().map(|(name, value)| (name.as_str(), trimmed(value))).collect();
        lines.sort();
        let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = lines.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            outgoing.method,
            path(outgoing.url.path()),
            query(outgoing.url.query().unwrap_or_default()),
            hex::encode(Sha256::digest(outgoing.body))
        );
        let day = date.get(..8).unwrap_or(date);
        let scope = format!("{day}/{}/{service}/aws4_request", self.region);
        let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
        let text = format!("{ALGORITHM}\n{date}\n{scope}\n{digest}");
        let first = format!("AWS4{}", self.secret);
        let steps = [day, &self.region, service, "aws4_request"];
        let key = steps.iter().fold(first.into_bytes(), |key, step| mac(&key, step));
        let signature = hex::encode(mac(&key, &text));
        format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.id
        )
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn value(text: &str) -> Result<HeaderValue, Trouble> {
    HeaderValue::from_str(text).map_err(|_| unusable("the key cannot stand in a header"))
}

/// Without spaces around it, and with single ones inside.
fn trimmed(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The path, escaped once more: what is sent is signed as if its `%` were letters.
fn path(path: &str) -> String {
    path.bytes().map(|byte| if byte == b'/' { "/".to_owned() } else { escaped(byte) }).collect()
}

/// Parameters in their order, escaped.
fn query(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> =
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn key() -> AwsKey {
        AwsKey::parse(&format!("AKIDEXAMPLE|{SECRET}|us-east-1")).unwrap()
    }

    fn signature(
        service: &str,
        call: (Method, &str, &str),
        more: &[(&'static str, &str)],
    ) -> String {
        let (method, url, body) = call;
        let url = Url::parse(url).unwrap();
        let outgoing = Outgoing { method: &method, url: &url, body: body.as_bytes() };
        let mut signed = HeaderMap::new();
        signed.insert(HOST, value(url.host_str().unwrap()).unwrap());
        signed.insert(DATE, value("20150830T123600Z").unwrap());
        for (name, text) in more {
            signed.insert(HeaderName::from_static(name), value(text).unwrap());
        }
        let proof = key().authorization((service, "20150830T123600Z"), &outgoing, &signed);
        proof.rsplit('=').next().unwrap().to_owned()
    }

    /// Of Amazon's published test suite (`aws-sig-v4-test-suite`), by their names there.
    #[test]
    fn signatures_are_those_of_amazons_test_suite() {
        let form = ("content-type", "application/x-www-form-urlencoded");
        for (name, method, url, body, more, wanted) in [
            (
                "get-vanilla",
                Method::GET,
                "https://example.amazonaws.com/",
                "",
                &[][..],
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                Method::GET,
                "https://example.amazonaws.com/?Param2=value2&Param1=value1",
                "",
                &[],
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-vanilla",
                Method::POST,
                "https://example.amazonaws.com/",
                "",
                &[],
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-x-www-form-urlencoded",
                Method::POST,
                "https://example.amazonaws.com/",
                "Param1=value1",
                &[form],
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            assert_eq!(signature("service", (method, url, body), more), wanted, "{name}");
        }
        // The example of Amazon's guide to signatures.
        let url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let wanted = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        assert_eq!(signature("iam", (Method::GET, url, ""), &[form]), wanted);
    }

    #[test]
    fn a_path_is_escaped_twice_and_a_session_is_signed() {
        assert_eq!(path("/model/a.b-v2%3A0/converse"), "/model/a.b-v2%253A0/converse");
        let key = AwsKey::parse("AKID|secret|eu-west-1|session+token").unwrap();
        let url = Url::parse("http://127.0.0.1:81/model/m/converse").unwrap();
        let outgoing = Outgoing { method: &Method::POST, url: &url, body: b"{}" };
        let mut headers = HeaderMap::new();
        key.sign(&outgoing, Timestamp::UNIX_EPOCH, &mut headers).unwrap();
        assert_eq!(headers["x-amz-date"], "19700101T000000Z");
        assert_eq!(headers["host"], "127.0.0.1:81");
        assert_eq!(headers["x-amz-security-token"], "session+token");
        let proof = headers["authorization"].to_str().unwrap();
        let begin = "AWS4-HMAC-SHA256 Credential=AKID/19700101/eu-west-1/bedrock/aws4_request, \
                     SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=";
        assert!(proof.starts_with(begin), "{proof}");
    }

    #[test]
    fn keys_of_another_form_are_refused() {
        for text in ["a|b", "a|b|", "a|b|c|d|e", "a b|c|d", "a/x|b|c", "a|b|eu west"] {
            assert!(AwsKey::parse(text).is_err(), "{text}");
        }
    }
}
