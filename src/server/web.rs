//! The web app: files that Vite built, embedded in the binary.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Files;

/// What a server without the app shows.
const UNBUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Hearth</title>\
<p>This Hearth was built without its web app. Run <code>make web</code>, then build again. \
The API works: see <code>/v1/models</code>.</p></html>\n";

/// The file at this path, or the page for every path that can be one of the app's own; `None` for
/// a file that is not there and for methods that do not read.
pub(crate) fn serve(request: &Request) -> Option<Response> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let path = request.uri().path().trim_start_matches('/');
    let has_file = !is_sibling(path) && Files::get(path).is_some();
    if !path.is_empty() && has_file {
        return Some(file(path, request.headers()));
    }
    // A path with a dot in its last part, or among the hashed files, names a file: a page in its
    // place would be run as a script.
    let last = path.rsplit('/').next().unwrap_or_default();
    if last.contains('.') || path.starts_with("assets/") {
        return None;
    }
    if Files::get("index.html").is_none() {
        let body = Body::from(UNBUILT);
        return Some(respond(body, "text/html; charset=utf-8", "no-cache", None));
    }
    Some(file("index.html", request.headers()))
}

/// The compressed forms are sent in place of their file, never by name.
fn is_sibling(path: &str) -> bool {
    path.ends_with(".br") || path.ends_with(".gz")
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let kind = kind_of(path);
    // Names under assets/ carry a hash of their content.
    let caching = if path.starts_with("assets/") {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let found = [("br", "br"), ("gzip", "gz")].into_iter().find_map(|(encoding, ending)| {
        if !accepts(accepted.unwrap_or_default(), encoding) {
            return None;
        }
        Files::get(&format!("{path}.{ending}")).map(|file| (file, Some(encoding)))
    });
    let found = found.or_else(|| Files::get(path).map(|file| (file, None)));
    let Some((file, encoding)) = found else {
        // Only a debug build reads the folder anew each time and can find the file gone.
        return respond(Body::empty(), kind, "no-store", None);
    };
    respond(Body::from(bytes(file)), kind, caching, encoding)
}

fn respond(
    body: Body,
    kind: &'static str,
    caching: &'static str,
    encoding: Option<&'static str>,
) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

fn bytes(file: EmbeddedFile) -> Bytes {
    match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    }
}

/// Whether `Accept-Encoding` names this encoding and does not give it the weight 0.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let is_refused = parts.any(|part| {
            part.strip_prefix("q=").is_some_and(|weight| weight.parse::<f32>() == Ok(0.0))
        });
        is_named && !is_refused
    })
}

/// The content types that the app consists of.
fn kind_of(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<Response> {
        serve(&Request::builder().uri(path).body(Body::empty()).unwrap())
    }

    #[test]
    fn pages_fall_back_to_the_app_and_files_do_not() {
        for path in ["/", "/c/0198c0de", "/settings/tokens"] {
            let response = get(path).unwrap();
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-cache", "{path}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        }
        for path in ["/assets/none.js", "/robots.txt", "/assets/none", "/../Cargo.toml"] {
            assert!(get(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_built_app_is_the_one_that_is_served() {
        let dist = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist");
        let is_built = dist.join("index.html").exists();
        assert_eq!(Files::get("index.html").is_some(), is_built, "{}", dist.display());
        for path in Files::iter().filter(|path| path.ends_with(".js")) {
            let request = Request::builder()
                .uri(format!("/{path}"))
                .header(header::ACCEPT_ENCODING, "gzip, br")
                .body(Body::empty())
                .unwrap();
            let response = serve(&request).unwrap();
            let headers = response.headers();
            assert_eq!(headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8", "{path}");
            assert_eq!(headers[header::CONTENT_ENCODING], "br", "{path}");
            let is_hashed = path.starts_with("assets/");
            let caching = headers[header::CACHE_CONTROL].to_str().unwrap();
            assert_eq!(caching.contains("immutable"), is_hashed, "{path}");
            assert!(get(&format!("/{path}.br")).is_none(), "{path}");
        }
    }

    #[test]
    fn compressed_forms_go_to_clients_that_take_them() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(!accepts("gzip, br;q=0", "br"));
        assert!(!accepts("", "gzip"));
    }
}
