//! `/api/v1/zones/{zone}/records`, `/api/v1/test-dns` and `/api/v1/hidden`: what is published, and what is kept from it.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::control::{ChangeError, ExportError, RecordsQuery, View};
use super::export;
use super::pages::{Params, Segment, Shared, blocking, limited, listing};
use super::peer::Peer;
use super::problem::Refusal;
use super::route::Route;
use crate::model::name::Name;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest, RecordsPage, TestDns};
use crate::model::rrtype::RrType;

/// RRsets of a page unless another number is asked for, and at most.
const PAGE: u16 = 500;
const LARGEST_PAGE: u16 = 5000;
const EXAMPLE: &str = r#"{"name": "shop.example.test", "for": "2h", "reason": "moves to another cluster"}"#;

/// The routes; who may use them is decided before.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(
            "/api/v1/zones/{zone}/records",
            "The RRsets of a zone, page by page, with source, TTL and health",
            records,
        )
        .query::<Query>()
        .answers::<RecordsPage>(),
        Route::get(
            "/api/v1/test-dns",
            "What DNS answers now for a host name, where it comes from, and how it fares",
            test,
        )
        .query::<TestQuery>()
        .answers::<TestDns>(),
        // No reading: keys are in it.
        Route::post("/api/v1/state/backup", "The state directory as a tar archive, keys included", backup)
            .streams("application/x-tar"),
        Route::get("/api/v1/hidden", "The discovered names that somebody has hidden", hidden)
            .lists::<HiddenReport>("hidden"),
        Route::post("/api/v1/hidden", "Keeps a discovered name from being published, for a time", hide)
            .takes::<HideRequest>()
            .created::<HiddenChange>(),
        Route::delete("/api/v1/hidden/{name}", "Publishes a hidden name again", unhide)
            .answers::<HiddenChange>(),
    ]
}

/// Which records are shown.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// What is answered, or all that is configured; served unless given.
    #[serde(default)]
    view: View,
    /// Only this owner name.
    #[serde(default)]
    name: Option<String>,
    /// Only owner names with this in them. For a page 50,000 names are looked at at most, so that one may be empty and have a `next`.
    #[serde(default)]
    search: Option<String>,
    /// Only RRsets of this type.
    #[serde(default, rename = "type")]
    rtype: Option<String>,
    /// Only what comes behind this name: the `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    /// RRsets of a page, of which the last owner may make it some more; 500 unless given, 5000 at most.
    #[serde(default)]
    limit: Option<u16>,
}

/// What is tested.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TestQuery {
    /// The host name.
    hostname: String,
}

fn bad(why: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, why)
}

fn parse(text: &str) -> Result<Name, Refusal> {
    Name::parse_absolute(text).map_err(|error| bad(format!("{text:?} is not a domain name: {error}")))
}

async fn records(
    State(control): State<Shared>,
    Segment(zone): Segment,
    Params(query): Params<Query>,
) -> Result<Response, Refusal> {
    let zone = parse(&zone)?;
    let rtype = query
        .rtype
        .as_deref()
        .map(|text| text.parse::<RrType>().map_err(|_| bad(format!("{text:?} is not an RR type"))));
    let limit = query.limit.unwrap_or(PAGE);
    if limit == 0 || limit > LARGEST_PAGE {
        return Err(bad(format!("a page has 1 to {LARGEST_PAGE} RRsets")));
    }
    let wanted = RecordsQuery {
        view: query.view,
        name: query.name.as_deref().map(parse).transpose()?,
        search: query.search.map(|part| part.to_ascii_lowercase()),
        rtype: rtype.transpose()?,
        after: query.after.as_deref().map(parse).transpose()?,
        limit: limit.into(),
    };
    let name = zone.to_string();
    let page =
        blocking(move || control.records(&zone, &wanted).map(|page| serde_json::to_vec(&page))).await?;
    let page = page.map_err(|error| export::refusal(&name, error))?;
    let page = page.map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], page).into_response())
}

async fn test(State(control): State<Shared>, Params(query): Params<TestQuery>) -> Result<Response, Refusal> {
    let hostname = parse(&query.hostname)?;
    Ok(Json(blocking(move || control.test_dns(&hostname)).await?).into_response())
}

async fn backup(State(control): State<Shared>) -> Result<Response, Refusal> {
    let body = export::written(move |out| control.backup(out)).await.map_err(|error| match error {
        ExportError::Write(error) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        ExportError::Broken(why) => Refusal::new(StatusCode::CONFLICT, why),
        ExportError::UnknownZone => Refusal::new(StatusCode::NOT_FOUND, "there is nothing to back up"),
    })?;
    Ok(([(axum::http::header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

async fn hidden(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("hidden", move || control.hidden()).await
}

async fn hide(
    State(control): State<Shared>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = limited(request.into_body()).await?;
    let wanted: HideRequest =
        serde_json::from_slice(&body).map_err(|error| bad(error.to_string()).hint(EXAMPLE))?;
    let change = blocking(move || control.hide(&wanted, peer.owner())).await?;
    Ok((StatusCode::CREATED, Json(change.map_err(refusal)?)).into_response())
}

async fn unhide(
    State(control): State<Shared>,
    Extension(peer): Extension<Peer>,
    Segment(name): Segment,
) -> Result<Response, Refusal> {
    let unknown = Refusal::new(StatusCode::NOT_FOUND, format!("{name} is not hidden"));
    let name = parse(&name)?;
    let change = blocking(move || control.unhide(&name, &peer.owner())).await?;
    Ok(Json(change.map_err(refusal)?.ok_or(unknown)?).into_response())
}

fn refusal(error: ChangeError) -> Refusal {
    match error {
        ChangeError::Bad(why) => bad(why).hint(EXAMPLE),
        ChangeError::Full(why) => Refusal::new(StatusCode::CONFLICT, why),
        ChangeError::Failed(why) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}
