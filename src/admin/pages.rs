//! The routes and what they answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Deserialize;

use super::access::{self, Door, Rules, Wish};
use super::control::{Control, ExportFormat, View};
use super::peer::Peer;
use super::problem::Refusal;
use super::route::{self, Route};
use super::serve::Stop;
use super::{events, explain, export, external, openapi, overrides, records, sources, ui};
use crate::model::name::Name;
use crate::model::report::{HistoryReport, ReloadReport, Status, TargetReport, ZoneReport};
use crate::telemetry::metrics::CONTENT_TYPE;

/// A request's body is at most so long; nothing here needs more.
const BODY_LIMIT: usize = 64 * 1024;
/// And it arrives within so long.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Shared = Arc<dyn Control>;

/// Every route of the API.
pub(super) fn api() -> Vec<Route> {
    let mut routes = vec![
        Route::get("/api/v1/status", "The server in a few figures", status).answers::<Status>(),
        Route::get("/api/v1/zones", "Every configured zone, broken ones and aliases among them", zones)
            .lists::<ZoneReport>("zones"),
        Route::get("/api/v1/zones/{zone}/export", "A whole zone, as a master file or as JSON lines", export)
            .query::<ExportQuery>()
            .streams("text/dns")
            .streams("application/x-ndjson"),
        Route::get("/api/v1/targets", "Everything that is probed or followed, with its verdict", targets)
            .lists::<TargetReport>("targets"),
        Route::get("/api/v1/targets/{id}/history", "The last changes of a target's verdict", history)
            .answers::<HistoryReport>(),
        Route::post(
            "/api/v1/reload",
            "Reads the zones again, and returns when what could be read is published",
            reload,
        )
        .may_take::<ReloadBody>()
        .answers::<ReloadReport>(),
    ];
    let parts = [
        explain::routes(),
        overrides::routes(),
        sources::routes(),
        external::routes(),
        events::routes(),
        records::routes(),
        openapi::routes(),
    ];
    routes.extend(parts.into_iter().flatten());
    routes
}

/// Everything, behind the rules of the door.
pub(super) fn everything(control: Shared, door: Door, rules: Arc<Rules>) -> Router {
    let guard_rules = Arc::clone(&rules);
    let guard = middleware::from_fn(move |request: Request, next: Next| {
        let rules = Arc::clone(&guard_rules);
        async move { guarded(door, &rules, request, next).await }
    });
    let pages = ui::routes(control.clone(), door, rules);
    let routes = with_fallbacks(route::router(api()).merge(probe_routes()).merge(metrics_route()), control);
    // What the guard refuses is hardened like everything else.
    routes.layer(guard).layer(middleware::map_response(harden)).merge(pages)
}

/// Lets a request pass or refuses it, and writes one line to the log for each change that is asked for: who, what, and what came of it.
async fn guarded(door: Door, rules: &Rules, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let wish = Wish::of(&method, &path);
    let peer = request.extensions().get::<Peer>().copied();
    let from = peer.and_then(|peer| peer.address());
    let counted = match from {
        Some(from) if wish != Wish::Page => rules.count(from),
        _ => Ok(()),
    };
    // Before the token is looked at, so that no change of it is missed.
    if door != Door::Unix
        && let Some(stop) = request.extensions_mut().get_mut::<Stop>()
    {
        stop.until_other_token(rules.watch_token());
    }
    let allowed = counted.and_then(|()| access::decide(door, wish, rules, from, request.headers()));
    let response = match allowed {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if wish == Wish::Change {
        let by = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let status = response.status();
        tracing::info!(%method, path, ?door, by, status = status.as_u16(), done = status.is_success(), "change asked for");
    }
    response
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
    with_fallbacks(routes, control).layer(middleware::map_response(harden))
}

fn with_fallbacks(routes: Router<Shared>, control: Shared) -> Router {
    routes
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is no such page") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not take that method")
        })
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

async fn history(State(control): State<Shared>, Segment(id): Segment) -> Result<Response, Refusal> {
    let unknown = Refusal::new(StatusCode::NOT_FOUND, format!("there is no target {id}"))
        .hint("GET /api/v1/targets lists them");
    let Ok(id) = id.parse() else { return Err(unknown) };
    let history = blocking(move || control.history(id)).await?;
    Ok(Json(history.ok_or(unknown)?).into_response())
}

/// The parameters of a query, with our own kind of error.
pub(super) struct Params<T>(pub(super) T);

impl<T: serde::de::DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

/// The one variable part of a path, with our own kind of error.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        segment
            .map(|Path(segment)| Self(segment))
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.body_text()))
    }
}

/// How a zone is exported.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExportQuery {
    /// Its form; text unless given.
    #[serde(default)]
    format: ExportFormat,
    /// With only what is answered, or with all that is configured; served unless given.
    #[serde(default)]
    view: View,
}

async fn export(
    State(control): State<Shared>,
    Segment(zone): Segment,
    Params(query): Params<ExportQuery>,
) -> Result<Response, Refusal> {
    let name = Name::parse_absolute(&zone).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("{zone:?} is not a domain name: {error}"))
    })?;
    let content_type = match query.format {
        // RFC 4027.
        ExportFormat::Text => "text/dns; charset=utf-8",
        // One RRset a line, so that neither end holds a zone as a tree.
        ExportFormat::Json => "application/x-ndjson",
    };
    let body = export::stream(control, name, query.view, query.format).await?;
    Ok(([(header::CONTENT_TYPE, content_type)], body).into_response())
}

/// How the zones are read again.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
struct ReloadBody {
    /// Whether zones are let go whose file has vanished.
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
