//! `/api/v1/openapi.json`: the OpenAPI 3.1 document of the API, made from its routes and the types that they take and answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::pages;
use super::route::Route;
use crate::model::report::Problem;

/// Where types stand in the document, and what they are called there.
const DEFINITIONS: &str = "/components/schemas";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| document(&pages::api()).to_string());

/// The route of the document itself.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get("/api/v1/openapi.json", "This document", serve).answers::<Map<String, Value>>()]
}

async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The document of some routes.
pub(super) fn document(routes: &[Route]) -> Value {
    let settings = || {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = DEFINITIONS.into();
        settings.meta_schema = None;
        settings
    };
    // What is left out of an answer may be absent from it; what is left out of a question has a default.
    let mut answers = settings().for_serialize().into_generator();
    let mut questions = settings().for_deserialize().into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let problem = answers.subschema_for::<Problem>();
    for route in routes {
        let operation = operation(route, &mut answers, &mut questions, &problem.clone().to_value());
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    let mut schemas = answers.take_definitions(true);
    // Types of questions have names of their own, but for a few words that both use.
    for (name, schema) in questions.take_definitions(true) {
        schemas.entry(name).or_insert(schema);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hale",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The admin API. Reading needs no token on loopback and on the unix socket, and one elsewhere; every change \
                needs the token or the unix socket. Errors are problem details (RFC 9457). Times are Unix seconds unless a name says \
                otherwise; fields that do not apply are left out.",
            "license": { "name": "Apache-2.0 OR MIT" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, {}],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn operation(
    route: &Route,
    answers: &mut SchemaGenerator,
    questions: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let content: Map<String, Value> = route
        .content
        .iter()
        .map(|(kind, describe)| ((*kind).to_owned(), json!({ "schema": describe(answers) })))
        .collect();
    let mut parameters: Vec<Value> = path_parameters(route.path).map(path_parameter).collect();
    if let Some(query) = &route.query {
        parameters.extend(query_parameters(&query(questions).to_value()));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "responses": {
            route.status.to_string(): { "description": "It is done.", "content": content },
            "default": {
                "description": "It is not, and why.",
                "content": { "application/problem+json": { "schema": problem } },
            },
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = &route.body {
        operation["requestBody"] = json!({
            "required": !route.body_is_optional,
            "content": { "application/json": { "schema": body(questions) } },
        });
    }
    if route.method != Method::GET {
        operation["security"] = json!([{ "token": [] }]);
    }
    operation
}

/// `get_zones_zone_records`.
fn operation_id(route: &Route) -> String {
    let path = route.path.strip_prefix("/api/v1/").unwrap_or(route.path);
    let words = path.split(['/', '{', '}', '-', '.']).filter(|word| !word.is_empty());
    let all: Vec<String> =
        std::iter::once(route.method.as_str().to_lowercase()).chain(words.map(str::to_owned)).collect();
    all.join("_")
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

fn path_parameter(name: &str) -> Value {
    let (what, schema) = match name {
        "zone" => ("Apex of the zone; the trailing dot may be left out.", json!({ "type": "string" })),
        "source" => ("Name of the source in `hale.json`.", json!({ "type": "string" })),
        "action" => (
            "What to do with it.",
            json!({ "type": "string", "enum": ["resync", "pause", "resume", "release"] }),
        ),
        "name" => ("An owner name; the trailing dot may be left out.", json!({ "type": "string" })),
        _ if name == "id" => ("Its number, or the id of an external check.", json!({ "type": "string" })),
        _ => ("", json!({})),
    };
    json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema })
}

/// Each property of a query's type as a parameter.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        json!({
            "name": name,
            "in": "query",
            "required": is_required(name),
            "description": schema["description"],
            "schema": schema,
        })
    };
    properties.iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_documented_whole() {
        let routes = pages::api();
        let document = document(&routes);
        let mut ids = std::collections::BTreeSet::new();
        for route in &routes {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert!(operation.is_object(), "{route:?}");
            assert!(ids.insert(operation["operationId"].to_string()), "{route:?}");
            assert!(!route.content.is_empty(), "{route:?} says what it answers");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                assert!(
                    parameter["description"].as_str().is_some_and(|d| !d.is_empty()),
                    "{route:?}: {parameter}"
                );
            }
        }
        let documented = document["paths"].as_object().unwrap().values();
        assert_eq!(documented.map(|path| path.as_object().unwrap().len()).sum::<usize>(), routes.len());
        // Every reference leads somewhere.
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
