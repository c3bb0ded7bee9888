//! `/api/v1/sources` and `/api/v1/plan`: where names are discovered, and what comes of it.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::control::ChangeError;
use super::pages::{Shared, blocking, listing};
use super::peer::Peer;
use super::problem::Refusal;

/// The routes; who may use them is decided before.
pub(super) fn routes() -> axum::Router<Shared> {
    axum::Router::new()
        .route("/api/v1/sources", get(sources))
        .route("/api/v1/sources/{source}/{action}", post(change))
        .route("/api/v1/plan", get(plan))
}

async fn sources(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("sources", move || control.sources()).await
}

async fn plan(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("plan", move || control.plan()).await
}

async fn change(
    State(control): State<Shared>,
    Extension(peer): Extension<Peer>,
    Path((source, action)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let unknown = format!("there is no source {source}");
    let change = blocking(move || control.change_source(&source, &action, &peer.owner())).await?;
    match change {
        Ok(Some(change)) => Ok(Json(change).into_response()),
        Ok(None) => Err(Refusal::new(StatusCode::NOT_FOUND, unknown).hint("GET /api/v1/sources lists them")),
        Err(ChangeError::Bad(why) | ChangeError::Full(why)) => {
            Err(Refusal::new(StatusCode::BAD_REQUEST, why))
        }
        Err(ChangeError::Failed(why)) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}
