//! `/api/v1/explain`: why an answer is what it is.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use super::pages::{Params, Shared, blocking};
use super::problem::Refusal;
use super::route::Route;
use crate::model::explain::{Client, Explanation};
use crate::model::name::Name;
use crate::model::rrtype::RrType;

/// The routes; who may use them is decided before.
pub(super) fn routes() -> Vec<Route> {
    let explain = Route::get(
        "/api/v1/explain",
        "What a client would be answered for a name and type, and why",
        explain,
    );
    vec![explain.query::<ExplainQuery>().answers::<Explanation>()]
}

/// What is to be explained.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    /// The name that is asked for.
    name: String,
    /// The type that is asked for; A unless given.
    #[serde(default, rename = "type")]
    rtype: Option<String>,
    /// Who asks; this machine unless given.
    #[serde(default)]
    client: Option<IpAddr>,
    /// The network that the client, a resolver, asks for.
    #[serde(default)]
    ecs: Option<String>,
}

async fn explain(
    State(control): State<Shared>,
    Params(query): Params<ExplainQuery>,
) -> Result<Response, Refusal> {
    let bad = |why: String| {
        Refusal::new(StatusCode::BAD_REQUEST, why).hint("?name=www.example.test&type=A&client=192.0.2.1")
    };
    let name = Name::parse_absolute(&query.name)
        .map_err(|error| bad(format!("{:?} is not a domain name: {error}", query.name)))?;
    let rtype: RrType = match &query.rtype {
        None => RrType::A,
        Some(text) => text.parse().map_err(|_| bad(format!("{text:?} is not an RR type")))?,
    };
    // Where nobody is named, whoever would ask on this machine.
    let address = query.client.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let network = query.ecs.as_deref().map(str::parse).transpose().map_err(bad)?;
    let client = Client { address, network };
    let explanation = blocking(move || control.explain(&name, rtype, client)).await?;
    Ok(Json(explanation).into_response())
}
