//! Errors as a page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout;
use super::session::NoRandomness;
use crate::admin::problem::Refusal;

/// An error answer of the web page.
#[derive(Debug)]
pub(super) struct Trouble {
    status: StatusCode,
    detail: String,
    hint: Option<String>,
}

impl Trouble {
    /// `detail` says what is wrong in this very request.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), hint: None }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self { status: refusal.status, detail: refusal.detail, hint: refusal.hint }
    }
}

impl From<NoRandomness> for Trouble {
    fn from(NoRandomness: NoRandomness) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the system gives no random numbers")
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = html! {
            section.card.narrow {
                h1 { (title) }
                p { (self.detail) "." }
                @if let Some(hint) = self.hint { p.muted { (hint) } }
                p.actions {
                    a.button href="/ui" { "Overview" }
                    @if self.status == StatusCode::UNAUTHORIZED { a.button.primary href="/ui/login" { "Log in" } }
                }
            }
        };
        (self.status, layout::bare(title, None, &body)).into_response()
    }
}
