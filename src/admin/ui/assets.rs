//! Files that pages load, within the binary.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Write as _;
use std::sync::LazyLock;

use ring::digest::{SHA256, digest};

use super::trouble::Trouble;

/// Name in the address, type, and what is in it.
const ASSETS: [(&str, &str, &[u8]); 5] = [
    ("hale.css", "text/css; charset=utf-8", include_bytes!("assets/hale.css")),
    ("hale.js", "text/javascript; charset=utf-8", include_bytes!("assets/hale.js")),
    ("hale.svg", "image/svg+xml", include_bytes!("assets/hale.svg")),
    ("htmx.js", "text/javascript; charset=utf-8", include_bytes!("assets/htmx-2.0.11.min.js")),
    ("alpine.js", "text/javascript; charset=utf-8", include_bytes!("assets/alpine-csp-3.17.4.min.js")),
];

/// Digests of the assets, in their order. A new version has another address, so that browsers may keep each for ever.
static VERSIONS: LazyLock<[String; ASSETS.len()]> = LazyLock::new(|| {
    ASSETS.map(|(_, _, bytes)| {
        digest(&SHA256, bytes).as_ref().iter().take(6).fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    })
});

/// The address of an asset.
pub(super) fn link(name: &str) -> String {
    let version = ASSETS.iter().position(|(known, ..)| *known == name).map_or("", |i| &VERSIONS[i]);
    format!("/ui/assets/{name}?v={version}")
}

/// `/ui/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let Some((_, kind, bytes)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        return Trouble::new(StatusCode::NOT_FOUND, "there is no such file").into_response();
    };
    let headers =
        [(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, *bytes).into_response()
}
