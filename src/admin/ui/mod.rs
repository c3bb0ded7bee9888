//! The web page `/ui`: made on the server, brought up to date by htmx, with a little of Alpine for what only a browser can do.
//!
//! Every page is whole without scripts; forms are plain forms. All that is loaded stands in the binary, and the policy of
//! [`POLICY`] lets nothing else in: no inline script or style, nothing evaluated, no other host. Whatever comes from outside, names and
//! labels of targets before all, goes through maud, which escapes it.

mod assets;
mod dnssec;
mod events;
mod guard;
mod hidden;
mod insight;
mod layout;
mod login;
mod name;
mod overrides;
mod overview;
mod parts;
mod search;
mod session;
mod sources;
mod targets;
mod test_dns;
mod trouble;
mod zones;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{Redirect, Response};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;

use super::access::{Door, Rules};
use super::pages::Shared;
use guard::Visitor;
use session::{Note, Sessions};
use trouble::Trouble;

pub use insight::Insight;

/// What pages may load and do (Content Security Policy, level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What pages are made of, for one listener.
struct Ui {
    control: Shared,
    door: Door,
    rules: Arc<Rules>,
    sessions: Sessions,
    /// Places for those that are told of news.
    streams: Arc<Semaphore>,
}

type Page = Result<Response, Trouble>;
type Here = State<Arc<Ui>>;

/// The routes, behind rules of their own.
pub(super) fn routes(control: Shared, door: Door, rules: Arc<Rules>) -> Router {
    let streams = Arc::new(Semaphore::new(events::STREAMS));
    let ui = Arc::new(Ui { control, door, rules, sessions: Sessions::default(), streams });
    Router::new()
        .route("/", get(|| async { Redirect::to("/ui") }))
        .route("/ui", get(overview::page))
        .route("/ui/", get(|| async { Redirect::to("/ui") }))
        .route("/ui/zones", get(zones::list))
        .route("/ui/zone", get(zones::zone))
        .route("/ui/reload", post(zones::reload))
        .route("/ui/name", get(name::page))
        .route("/ui/targets", get(targets::list))
        .route("/ui/target", get(targets::target))
        .route("/ui/brake", post(targets::release_brake))
        .route("/ui/sources", get(sources::list).post(sources::change))
        .route("/ui/overrides", get(overrides::list).post(overrides::set))
        .route("/ui/overrides/clear", post(overrides::clear))
        .route("/ui/hide", post(hidden::hide))
        .route("/ui/unhide", post(hidden::unhide))
        .route("/ui/test", get(test_dns::page))
        .route("/ui/backup", post(overview::backup))
        .route("/ui/events", get(events::list))
        .route("/ui/events/stream", get(events::stream))
        .route("/ui/dnssec", get(dnssec::page))
        .route("/ui/search", get(search::page))
        .route("/ui/login", get(login::page).post(login::log_in))
        .route("/ui/logout", post(login::log_out))
        .route("/ui/assets/{name}", get(assets::asset))
        .route("/ui/{*rest}", any(|| async { Trouble::new(StatusCode::NOT_FOUND, "there is no such page") }))
        .method_not_allowed_fallback(|| async {
            Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take that method")
        })
        .layer(middleware::from_fn_with_state(ui.clone(), guard::guard))
        .layer(middleware::map_response(harden))
        .with_state(ui)
}

/// What every answer carries.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    // Assets say themselves how long they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The address of a page can hold a name, which is nobody else's business.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

impl Ui {
    /// Asks the server on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, Trouble> {
        let control = self.control.clone();
        Ok(super::pages::blocking(move || question(&control)).await?)
    }

    /// Goes back to a page with a word on what came of a change.
    fn back(&self, visitor: &Visitor, to: &str, note: Note) -> Response {
        use axum::response::IntoResponse;

        if let Some(session) = visitor.session {
            self.sessions.tell(session, note);
        }
        Redirect::to(own_page(to)).into_response()
    }
}

/// An address of this page, so that nobody is sent elsewhere by a link.
fn own_page(to: &str) -> &str {
    let is_own = to == "/ui" || ["/ui/", "/ui?"].iter().any(|start| to.starts_with(start));
    if is_own && to.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') { to } else { "/ui" }
}
