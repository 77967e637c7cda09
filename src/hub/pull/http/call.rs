//! Requests that bring something to a registry: they go nowhere but to the registry itself.

use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use super::{Access, Failure, Http, MAX_HOPS, bad_answer, host_of, lock, redirect, show};
use crate::pull::PullError;

/// One such request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Call {
    /// Without headers of its own and without a body.
    pub(crate) fn new(method: Method, url: Url) -> Call {
        Call { method, url, headers: Vec::new(), body: Bytes::new() }
    }
}

impl Http {
    /// The answer, whatever it says, but for those that mean that another try may help.
    pub(crate) async fn call(&self, call: &Call, access: &Access) -> Result<Response, Failure> {
        let mut url = call.url.clone();
        let mut is_renewed = false;
        for _ in 0..=MAX_HOPS {
            self.guard.check(&url)?;
            let home = || host_of(&access.home);
            if !access.is_home(&url) {
                let (host, registry) = (host_of(&url), home());
                return Err(Failure::Final(PullError::ForeignUpload { host, registry }));
            }
            let mut request = self.client.request(call.method.clone(), url.clone());
            for (name, value) in &call.headers {
                request = request.header(name, value);
            }
            let request = show(request.body(call.body.clone()), access.shown_to(&url));
            let answer = self.answer(&url, request).await?;
            let status = answer.status();
            match status {
                StatusCode::UNAUTHORIZED if !is_renewed => {
                    is_renewed = true;
                    let token = self.new_token(answer.headers(), &url, access).await?;
                    *lock(&access.token) = Some(token);
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    let reason = format!("status {status}");
                    return Err(Failure::Final(PullError::Denied { host: home(), reason }));
                }
                StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                    return Err(Failure::Broken {
                        host: home(),
                        problem: format!("status {status}"),
                    });
                }
                _ if status.is_server_error() => {
                    return Err(Failure::Broken {
                        host: home(),
                        problem: format!("status {status}"),
                    });
                }
                // What is asked for is elsewhere, and that is all that was asked.
                _ if status.is_redirection() && call.method == Method::HEAD => return Ok(answer),
                _ => match redirect(&answer, &url)? {
                    Some(next) => url = next,
                    None => return Ok(answer),
                },
            }
        }
        Err(bad_answer(&url, "too many redirects"))
    }
}
