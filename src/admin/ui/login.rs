//! Logging in by the token, and out.

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
    form(&visitor, &query.next, ui.token.is_some(), None)
}

/// `POST /ui/login`.
pub(super) async fn log_in(
    State(ui): Here,
    Extension(visitor): Extension<Visitor>,
    Extension(fields): Extension<Fields>,
) -> Page {
    let now = Instant::now();
    let Some(token) = &ui.token else {
        return Err(Trouble::new(StatusCode::FORBIDDEN, "the server was given no token to log in with")
            .hint("set admin.token in hale.json"));
    };
    if !ui.sessions.may_try(now) {
        let page =
            form(&visitor, fields.get("next"), true, Some("Too many wrong tokens: wait a few seconds."));
        return Ok((StatusCode::TOO_MANY_REQUESTS, page).into_response());
    }
    let right = token.is(fields.get("token").as_bytes());
    ui.sessions.tried(right, now);
    if !right {
        tracing::warn!(by = visitor.owner, "a login with a wrong token");
        let page = form(&visitor, fields.get("next"), true, Some("That is not the token."));
        return Ok((StatusCode::UNAUTHORIZED, page).into_response());
    }
    tracing::info!(by = visitor.owner, "logged in");
    let number = ui.sessions.start(now)?;
    let cookie =
        format!("{COOKIE}={number}; Path=/ui; Max-Age={}; HttpOnly; SameSite=Strict", LIFETIME.as_secs());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(own_page(fields.get("next")))).into_response())
}

/// `POST /ui/logout`.
pub(super) async fn log_out(State(ui): Here, Extension(visitor): Extension<Visitor>) -> Response {
    if let Some(session) = visitor.session {
        ui.sessions.end(session);
    }
    let cookie = format!("{COOKIE}=; Path=/ui; Max-Age=0; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/ui")).into_response()
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
                p.muted { "The value of " code { "admin.token" } " in " code { "hale.json" } ". A login lasts twelve hours, or until the server stops." }
            } @else {
                p { "This server was given no token, so nobody can log in." }
                p.muted { "Set " code { "admin.token" } " in " code { "hale.json" } ", or use the command line." }
            }
        }
    };
    layout::bare("Log in", visitor.theme, &body)
}
