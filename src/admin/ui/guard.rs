//! Who may see and change what on the web page. Reading follows the rules of the API; a change always takes a login, unless it comes by
//! the unix socket, and is proved to come from a page of this server.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use tracing::info;

use super::Ui;
use super::session::{Note, SessionId, same};
use super::trouble::Trouble;
use crate::admin::access::{self, Door};
use crate::admin::pages::limited;
use crate::admin::peer::Peer;
use crate::admin::serve::Stop;

/// Name of the cookie with the session's number.
pub(super) const COOKIE: &str = "hale_session";
/// Name of the cookie with the colours that somebody chose; the page itself sets it.
const THEME_COOKIE: &str = "hale_theme";

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Its session; without one nothing can be changed.
    pub(super) session: Option<SessionId>,
    /// What its forms bring along.
    pub(super) csrf: String,
    /// Whether a login would allow changes.
    pub(super) can_log_in: bool,
    /// Whether there is a login to end.
    pub(super) can_log_out: bool,
    /// `dark` or `light`, where somebody has chosen.
    pub(super) theme: Option<&'static str>,
    /// Whom a change is put down to.
    pub(super) owner: String,
    /// What came of the last change.
    pub(super) note: Option<Note>,
}

impl Visitor {
    /// Whether it may change anything.
    pub(super) fn may_change(&self) -> bool {
        self.session.is_some()
    }
}

/// The fields of a form that was let through.
#[derive(Clone, Debug)]
pub(super) struct Fields(Arc<Vec<(String, String)>>);

impl Fields {
    /// The first field with this name, without white space around it; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
    }
}

/// Lets a request through, with its [`Visitor`] and the [`Fields`] of its form, or answers it.
pub(super) async fn guard(State(ui): State<Arc<Ui>>, mut request: Request, next: Next) -> Response {
    // By the unix socket comes whoever forwards a port of theirs to it, under that port's name.
    if ui.door != Door::Open
        && let Err(refusal) = access::local_host(request.headers(), &ui.rules.hosts())
    {
        return Trouble::from(refusal).into_response();
    }
    let from = request.extensions().get::<Peer>().and_then(Peer::address);
    if let Some(Err(refusal)) = from.map(|from| ui.rules.count(from)) {
        return Trouble::from(refusal).into_response();
    }
    let path = request.uri().path().to_owned();
    if path.starts_with("/ui/assets/") {
        return next.run(request).await;
    }
    // Before the session is looked for, so that no change of the token is missed.
    if ui.door != Door::Unix
        && let Some(stop) = request.extensions_mut().get_mut::<Stop>()
    {
        stop.until_other_token(ui.rules.watch_token());
    }
    let mut visitor = match visitor(&ui, &request) {
        Ok(visitor) => visitor,
        Err(trouble) => return trouble.into_response(),
    };
    let is_login = path == "/ui/login";
    if request.method() == Method::POST {
        request = match change(&ui, &visitor, is_login, request).await {
            Ok(request) => request,
            Err(trouble) => return trouble.into_response(),
        };
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take that method")
            .into_response();
    } else if ui.door == Door::Open && visitor.session.is_none() && !is_login {
        return to_login(&request);
    } else if !is_partial(request.headers()) {
        visitor.note = visitor.session.and_then(|id| ui.sessions.told(id));
    }
    request.extensions_mut().insert(visitor);
    next.run(request).await
}

/// Whether htmx asks for a part of a page that is there already.
fn is_partial(headers: &HeaderMap) -> bool {
    headers.contains_key("hx-request")
}

/// Where a token helps: the whole page goes there, also when htmx asked for a part of one.
fn to_login(request: &Request) -> Response {
    let wanted = request.uri().path_and_query().map_or("/ui", |path| path.as_str());
    if is_partial(request.headers()) {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", "/ui/login")]).into_response();
    }
    Redirect::to(&format!("/ui/login?{}", super::parts::query(&[("next", wanted)]))).into_response()
}

fn visitor(ui: &Ui, request: &Request) -> Result<Visitor, Trouble> {
    let now = Instant::now();
    let headers = request.headers();
    let session = match ui.door {
        Door::Unix => Some(ui.sessions.local(now)?),
        _ => {
            let token = ui.rules.token_number();
            cookie(headers, COOKIE).and_then(|number| ui.sessions.find(number, token, now))
        }
    };
    let peer = request.extensions().get::<Peer>().map(Peer::owner).unwrap_or_default();
    Ok(Visitor {
        csrf: session.and_then(|id| ui.sessions.csrf(id, now)).unwrap_or_default(),
        session,
        can_log_in: session.is_none() && ui.rules.has_token(),
        can_log_out: session.is_some() && ui.door != Door::Unix,
        theme: match cookie(headers, THEME_COOKIE) {
            Some("dark") => Some("dark"),
            Some("light") => Some("light"),
            _ => None,
        },
        owner: format!("{peer}, web page"),
        note: None,
    })
}

/// Whether a form may be sent, and the request with its fields. A login has no session yet: there it is the origin alone that counts.
async fn change(ui: &Ui, visitor: &Visitor, is_login: bool, request: Request) -> Result<Request, Trouble> {
    let allowed = same_origin(request.headers()) && (is_login || visitor.may_change());
    info!(
        method = "POST", path = request.uri().path(), door = ?ui.door, by = visitor.owner, allowed,
        "change asked for"
    );
    if !same_origin(request.headers()) {
        return Err(Trouble::new(StatusCode::FORBIDDEN, "the form does not come from this server's pages"));
    }
    if !is_login && !visitor.may_change() {
        return Err(if visitor.can_log_in {
            Trouble::new(StatusCode::UNAUTHORIZED, "a change needs a login").hint("log in, then try again")
        } else {
            Trouble::new(StatusCode::FORBIDDEN, "a change needs a token, and the server was given none")
                .hint("set admin.token, or use the command line")
        });
    }
    let (parts, body) = request.into_parts();
    let body = limited(body).await?;
    let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&body)
        .map_err(|error| Trouble::new(StatusCode::BAD_REQUEST, format!("the form is unreadable: {error}")))?;
    let fields = Fields(Arc::new(fields));
    if !is_login && !same(fields.get("csrf"), &visitor.csrf) {
        return Err(Trouble::new(StatusCode::FORBIDDEN, "the form is of another login")
            .hint("load the page again, then try again"));
    }
    let mut request = Request::from_parts(parts, axum::body::Body::empty());
    request.extensions_mut().insert(fields);
    Ok(request)
}

/// Whether a form was sent by a page of this very server. Every browser of the last years says so by `Sec-Fetch-Site`; `Origin` is for
/// those before.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match (text("origin").and_then(|origin| origin.split_once("://")), text("host")) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// The value of a cookie (RFC 6265 §4.2).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_form_comes_from() {
        // Sec-Fetch-Site, Origin, Host, and whether it may be sent.
        let cases = [
            ("same-origin", "", "127.0.0.1:8053", true),
            ("same-origin", "https://a.test", "b.test", true),
            ("same-site", "http://127.0.0.1:8053", "127.0.0.1:8053", false),
            ("cross-site", "http://127.0.0.1:8053", "127.0.0.1:8053", false),
            ("none", "", "127.0.0.1:8053", false),
            ("", "http://127.0.0.1:8053", "127.0.0.1:8053", true),
            ("", "https://Hale.test", "hale.test", true),
            ("", "http://127.0.0.1:8054", "127.0.0.1:8053", false),
            ("", "null", "127.0.0.1:8053", false),
            ("", "", "127.0.0.1:8053", false),
        ];
        for (site, origin, host, want) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [("sec-fetch-site", site), ("origin", origin), ("host", host)] {
                if !value.is_empty() {
                    headers.insert(name, value.parse().unwrap());
                }
            }
            assert_eq!(same_origin(&headers), want, "{site:?} {origin:?} {host:?}");
        }
    }

    #[test]
    fn cookies() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=1; hale_session=xyz".parse().unwrap());
        headers.append("cookie", "hale_theme=dark".parse().unwrap());
        assert_eq!(cookie(&headers, COOKIE), Some("xyz"));
        assert_eq!(cookie(&headers, THEME_COOKIE), Some("dark"));
        assert_eq!(cookie(&headers, "hale"), None);
    }
}
