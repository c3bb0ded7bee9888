//! `/api/v1/explain`: why an answer is what it is.

use std::net::{IpAddr, Ipv4Addr};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::pages::{Shared, blocking};
use super::problem::Refusal;
use crate::model::explain::Client;
use crate::model::name::Name;
use crate::model::rrtype::RrType;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    name: String,
    #[serde(default, rename = "type")]
    rtype: Option<String>,
    #[serde(default)]
    client: Option<IpAddr>,
    /// The network that the client, a resolver, asks for.
    #[serde(default)]
    ecs: Option<String>,
}

pub(super) async fn explain(
    State(control): State<Shared>,
    query: Result<Query<ExplainQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let bad = |why: String| {
        Refusal::new(StatusCode::BAD_REQUEST, why).hint("?name=www.example.test&type=A&client=192.0.2.1")
    };
    let Query(query) = query.map_err(|error| bad(error.body_text()))?;
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
