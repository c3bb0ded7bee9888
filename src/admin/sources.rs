//! `/api/v1/sources` and `/api/v1/plan`: where names are discovered, and what comes of it.

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::control::ChangeError;
use super::pages::{Shared, blocking, listing};
use super::peer::Peer;
use super::problem::Refusal;
use super::route::Route;
use crate::model::discovery_report::{PlanReport, SourceChange, SourceReport};

/// The routes; who may use them is decided before.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/sources", "Where names are discovered, and how that goes", sources)
            .lists::<SourceReport>("sources"),
        Route::post(
            "/api/v1/sources/{source}/{action}",
            "Lists a source afresh, leaves it alone, goes on with it, or releases its brake",
            change,
        )
        .answers::<SourceChange>(),
        Route::get("/api/v1/plan", "What sources would have otherwise than it is, and why it is not", plan)
            .lists::<PlanReport>("plan"),
    ]
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
