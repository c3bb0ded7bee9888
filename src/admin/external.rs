//! `/api/v1/external/{id}`: verdicts that others push for the checks with this id.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pages::{Segment, Shared, blocking, limited};
use super::problem::Refusal;
use super::route::Route;
use crate::model::target::Verdict;

/// Characters that a reason may have.
const LONGEST_REASON: usize = 300;
const EXAMPLE: &str = r#"{"verdict": "down", "reason": "disk full"}; the verdict is up, down or unknown"#;

/// The route; who may use it is decided before.
pub(super) fn routes() -> Vec<Route> {
    let push =
        Route::post("/api/v1/external/{id}", "Pushes a verdict for the external checks with an id", push);
    vec![push.takes::<Push>().answers::<Pushed>()]
}

/// A verdict that is pushed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Push {
    /// `unknown` takes back what was pushed before.
    verdict: Verdict,
    /// Why, in a line of at most 300 characters.
    reason: Option<String>,
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
struct Pushed {
    /// Checks that the verdict is for.
    targets: usize,
}

async fn push(
    State(control): State<Shared>,
    Segment(id): Segment,
    request: Request,
) -> Result<Response, Refusal> {
    let body = limited(request.into_body()).await?;
    let bad = |why: String| Refusal::new(StatusCode::BAD_REQUEST, why).hint(EXAMPLE);
    let pushed: Push = serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
    if let Some(reason) = &pushed.reason
        && (reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control))
    {
        return Err(bad(format!("a reason is one line of at most {LONGEST_REASON} characters")));
    }
    let unknown = format!("there is no external check with the id {id:?}");
    let push = move || control.push_external(&id, pushed.verdict, pushed.reason.as_deref());
    match blocking(push).await? {
        0 => Err(Refusal::new(StatusCode::NOT_FOUND, unknown)
            .hint("GET /api/v1/targets lists them as \"external ID\"")),
        targets => Ok(Json(Pushed { targets }).into_response()),
    }
}
