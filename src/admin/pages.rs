//! The routes and what they answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::access::{self, Door, Token, Wish};
use super::control::{Control, ExportFormat};
use super::peer::Peer;
use super::problem::Refusal;
use super::{explain, export, external, overrides, sources, ui};
use crate::model::name::Name;
use crate::telemetry::metrics::CONTENT_TYPE;

/// A request's body is at most so long; nothing here needs more.
const BODY_LIMIT: usize = 64 * 1024;
/// And it arrives within so long.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Shared = Arc<dyn Control>;

/// Everything, behind the rules of the door.
pub(super) fn everything(control: Shared, door: Door, token: Option<Arc<Token>>) -> Router {
    let api = Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/zones", get(zones))
        .route("/api/v1/zones/{zone}/export", get(export))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/targets/{id}/history", get(history))
        .route("/api/v1/explain", get(explain::explain))
        .route("/api/v1/reload", post(reload))
        .merge(overrides::routes())
        .merge(sources::routes())
        .merge(external::routes());
    let page_token = token.clone();
    let guard = middleware::from_fn(move |request: Request, next: Next| {
        let wish = Wish::of(request.method(), request.uri().path());
        let verdict = access::decide(door, wish, token.as_deref(), request.headers());
        if wish == Wish::Change {
            // The audit line: one for each change that is asked for, whether it is allowed or not.
            let by = request.extensions().get::<Peer>().map(Peer::to_string).unwrap_or_default();
            tracing::info!(method = %request.method(), path = %request.uri().path(), ?door, by, allowed = verdict.is_ok(), "change asked for");
        }
        async move {
            match verdict {
                Ok(()) => next.run(request).await,
                Err(refusal) => refusal.into_response(),
            }
        }
    });
    let pages = ui::routes(control.clone(), door, page_token);
    finish(api.merge(probe_routes()).merge(metrics_route()), control).layer(guard).merge(pages)
}

/// `/healthz` and `/readyz` alone.
pub(super) fn probes(control: Shared) -> Router {
    finish(probe_routes(), control)
}

/// `/metrics` alone.
pub(super) fn metrics_only(control: Shared) -> Router {
    finish(metrics_route(), control)
}

fn probe_routes() -> Router<Shared> {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

fn metrics_route() -> Router<Shared> {
    Router::new().route("/metrics", get(metrics))
}

fn finish(routes: Router<Shared>, control: Shared) -> Router {
    routes
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is no such page") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take that method")
        })
        .layer(middleware::map_response(harden))
        .with_state(control)
}

/// Nothing here is to be cached, or taken for another type than it says.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Runs what may take its time where it holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made").hint("see the log")
    })
}

async fn ready(State(control): State<Shared>) -> Response {
    let readiness = control.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(control): State<Shared>) -> Result<Response, Refusal> {
    let page = blocking(move || control.metrics()).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], page).into_response())
}

async fn status(State(control): State<Shared>) -> Result<Response, Refusal> {
    Ok(Json(blocking(move || control.status()).await?).into_response())
}

/// Serialised on the same thread: a list of 100,000 targets takes a while.
pub(super) async fn listing<T: serde::Serialize>(
    key: &'static str,
    list: impl FnOnce() -> Vec<T> + Send + 'static,
) -> Result<Response, Refusal> {
    let page =
        blocking(move || serde_json::to_vec(&std::collections::BTreeMap::from([(key, list())]))).await?;
    let page = page.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], page).into_response())
}

async fn zones(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("zones", move || control.zones()).await
}

async fn targets(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("targets", move || control.targets()).await
}

async fn history(State(control): State<Shared>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let unknown = Refusal::new(StatusCode::NOT_FOUND, format!("there is no target {id}"))
        .hint("GET /api/v1/targets lists them");
    let Ok(id) = id.parse() else { return Err(unknown) };
    let history = blocking(move || control.history(id)).await?;
    Ok(Json(history.ok_or(unknown)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    #[serde(default)]
    format: ExportFormat,
    #[serde(default)]
    view: View,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
enum View {
    #[default]
    Served,
    Configured,
}

async fn export(
    State(control): State<Shared>,
    Path(zone): Path<String>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.body_text()))?;
    if query.view == View::Configured {
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "the configured view is not in this version"));
    }
    let name = Name::parse_absolute(&zone).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("{zone:?} is not a domain name: {error}"))
    })?;
    let content_type = match query.format {
        // RFC 4027.
        ExportFormat::Text => "text/dns; charset=utf-8",
        // One RRset a line, so that neither end holds a zone as a tree.
        ExportFormat::Json => "application/x-ndjson",
    };
    let body = export::stream(control, name, query.format).await?;
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ReloadBody {
    #[serde(default)]
    remove_missing: bool,
}

async fn reload(State(control): State<Shared>, request: Request) -> Result<Response, Refusal> {
    let body = limited(request.into_body()).await?;
    let wanted = match body.is_empty() {
        true => ReloadBody::default(),
        false => serde_json::from_slice(&body).map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, error.to_string()).hint("{\"remove_missing\": true}")
        })?,
    };
    let report = blocking(move || control.reload(wanted.remove_missing)).await?;
    let report = report.map_err(|why| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    Ok(Json(report).into_response())
}

/// The whole body, within its limits of size and time.
pub(super) async fn limited(body: Body) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body exceeds {BODY_LIMIT} bytes or broke off"),
        )),
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")),
    }
}
