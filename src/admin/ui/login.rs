//! Logging in by the token, and out.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use axum::extract::{Extension, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::guard::{COOKIE, Fields, Visitor};
use super::session::LIFETIME;
use super::trouble::Trouble;
use super::{Here, Page, layout, own_page};
use crate::admin::peer::Peer;

#[derive(Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    next: String,
}

/// `GET /ui/login`.
pub(super) async fn page(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<LoginQuery>,
) -> Response {
    if visitor.may_change() {
        return Redirect::to(own_page(&query.next)).into_response();
    }
    form(&visitor, &query.next, ui.rules.has_token(), None)
}

/// `POST /ui/login`.
pub(super) async fn log_in(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
    Extension(peer): Extension<Peer>,
) -> Page {
    if !ui.rules.has_token() {
        return Err(Trouble::new(StatusCode::FORBIDDEN, "the server was given no token to log in with")
            .hint("set admin.token in hale.json"));
    }
    // By the unix socket nobody has to log in, and whoever does anyway has no address.
    let from = peer.address().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let again = |status: StatusCode, why: &str| {
        Ok((status, form(&visitor, fields.get("next"), true, Some(why))).into_response())
    };
    // Before it is looked at: a login that meets a change of the token is one by the old one.
    let token = ui.rules.token_number();
    match ui.rules.try_token(from, fields.get("token").as_bytes()) {
        Ok(true) => {}
        Ok(false) => {
            tracing::warn!(by = %peer, "a login with a wrong token");
            return again(StatusCode::UNAUTHORIZED, "That is not the token.");
        }
        Err(refusal) => return again(refusal.status, "Too many wrong tokens: wait a while."),
    }
    tracing::info!(by = visitor.owner, "logged in");
    let number = ui.sessions.start(token, Instant::now())?;
    let cookie = cookie(ui.rules.has_tls, &number, LIFETIME.as_secs());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_page(fields.get("next")))).into_response())
}

/// `POST /ui/logout`.
pub(super) async fn log_out(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Response {
    if let Some(session) = visitor.session {
        ui.sessions.end(session);
    }
    let cookie = cookie(ui.rules.has_tls, "", 0);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/ui")).into_response()
}

/// Out of reach of scripts and of other sites, and never sent in the clear where there is TLS.
fn cookie(has_tls: bool, number: &str, seconds: u64) -> String {
    let secure = if has_tls { "; Secure" } else { "" };
    format!("{COOKIE}={number}; Path=/ui; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

fn form(visitor: &Visitor, next: &str, has_token: bool, wrong: Option<&str>) -> Response {
    let body = html! {
        section.card.narrow {
            h1 { "Log in" }
            @if has_token {
                form method="post" action="/ui/login" {
                    input type="hidden" name="next" value=(next);
                    // A password manager wants to know whose password it is.
                    input.hidden type="text" name="user" value="hale" autocomplete="username" tabindex="-1" aria-hidden="true" readonly;
                    label for="token" { "Token" }
                    input #token type="password" name="token" autocomplete="current-password" required autofocus
                        aria-describedby=[wrong.map(|_| "wrong")] aria-invalid=[wrong.map(|_| "true")];
                    @if let Some(wrong) = wrong { p #wrong .error role="alert" { (wrong) } }
                    p.actions { button.primary { "Log in" } }
                }
                p.muted { "The value of " code { "admin.token" } " in " code { "hale.json" } ". A login lasts twelve hours, or until the server stops or is given another token." }
            } @else {
                p { "This server was given no token, so nobody can log in." }
                p.muted { "Set " code { "admin.token" } " in " code { "hale.json" } ", or use the command line." }
            }
        }
    };
    layout::bare("Log in", visitor.theme, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_kept_to_tls_where_there_is_any() {
        let plain = "hale_session=n; Path=/ui; Max-Age=9; HttpOnly; SameSite=Strict";
        assert_eq!(cookie(false, "n", 9), plain);
        assert_eq!(cookie(true, "n", 9), format!("{plain}; Secure"));
    }
}
