//! `/api/v1/overrides`: a person's word over verdicts.

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::control::ChangeError;
use super::pages::{Segment, Shared, blocking, limited, listing};
use super::peer::Peer;
use super::problem::Refusal;
use super::route::Route;
use crate::model::report::{OverrideChange, OverrideReport, OverrideRequest};

/// The routes; who may use them is decided before.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/overrides", "The overrides in force, oldest first", list)
            .lists::<OverrideReport>("overrides"),
        Route::post(
            "/api/v1/overrides",
            "Sets an override; it is durable and answered when this returns",
            set,
        )
        .takes::<OverrideRequest>()
        .created::<OverrideChange>(),
        Route::delete("/api/v1/overrides/{id}", "Clears an override: probes count again", clear)
            .answers::<OverrideChange>(),
    ]
}

const EXAMPLE: &str = r#"{"subject": "address:192.0.2.1", "word": "drain", "for": "1h", "reason": "new disk"}, and "zone" if need be"#;

async fn list(State(control): State<Shared>) -> Result<Response, Refusal> {
    listing("overrides", move || control.overrides()).await
}

async fn set(
    State(control): State<Shared>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, Refusal> {
    let body = limited(request.into_body()).await?;
    let wanted: OverrideRequest = serde_json::from_slice(&body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()).hint(EXAMPLE))?;
    let change = blocking(move || control.set_override(&wanted, peer.owner())).await?;
    Ok((StatusCode::CREATED, Json(change.map_err(refusal)?)).into_response())
}

async fn clear(
    State(control): State<Shared>,
    Extension(peer): Extension<Peer>,
    Segment(id): Segment,
) -> Result<Response, Refusal> {
    let unknown = format!("there is no override {id}");
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, unknown).hint("GET /api/v1/overrides lists them");
    let Ok(id) = id.parse() else { return Err(unknown()) };
    let change = blocking(move || control.clear_override(id, &peer.owner())).await?;
    Ok(Json(change.map_err(refusal)?.ok_or_else(unknown)?).into_response())
}

fn refusal(error: ChangeError) -> Refusal {
    match error {
        ChangeError::Bad(why) => Refusal::new(StatusCode::BAD_REQUEST, why).hint(EXAMPLE),
        ChangeError::Full(why) => Refusal::new(StatusCode::CONFLICT, why),
        ChangeError::Failed(why) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}
