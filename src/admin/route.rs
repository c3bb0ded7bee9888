//! A route of the API with all that is documented of it: the router and the OpenAPI document are made of one list, so that neither
//! can know a page that the other does not.

use std::fmt;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::pages::Shared;

/// Makes the schema of a type, and notes those it consists of.
type Describe = Box<dyn Fn(&mut SchemaGenerator) -> Schema + Send + Sync>;

/// See the module's documentation.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// What it is for, in a line.
    pub(super) summary: &'static str,
    pub(super) query: Option<Describe>,
    pub(super) body: Option<Describe>,
    /// Whether it may be left out.
    pub(super) body_is_optional: bool,
    pub(super) status: u16,
    pub(super) content: Vec<(&'static str, Describe)>,
    handler: MethodRouter<Shared>,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Route {
    fn new<H, T>(method: Method, path: &'static str, summary: &'static str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = match method {
            Method::POST => MethodFilter::POST,
            Method::DELETE => MethodFilter::DELETE,
            // HEAD is answered by what answers GET.
            _ => MethodFilter::GET,
        };
        Self {
            method,
            path,
            summary,
            query: None,
            body: None,
            body_is_optional: false,
            status: 200,
            content: Vec::new(),
            handler: on(filter, handler),
        }
    }

    /// A route that shows something.
    pub(super) fn get<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        what: &'static str,
        h: H,
    ) -> Self {
        Self::new(Method::GET, path, what, h)
    }

    /// A route that changes something.
    pub(super) fn post<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        what: &'static str,
        h: H,
    ) -> Self {
        Self::new(Method::POST, path, what, h)
    }

    /// A route that takes something away.
    pub(super) fn delete<H: Handler<T, Shared>, T: 'static>(
        path: &'static str,
        what: &'static str,
        h: H,
    ) -> Self {
        Self::new(Method::DELETE, path, what, h)
    }

    /// The parameters of its query.
    pub(super) fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(Box::new(|types| T::json_schema(types)));
        self
    }

    /// What is sent to it.
    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Box::new(|types| types.subschema_for::<T>()));
        self
    }

    /// What may be sent to it.
    pub(super) fn may_take<T: JsonSchema>(mut self) -> Self {
        self.body_is_optional = true;
        self.takes::<T>()
    }

    /// What it answers.
    pub(super) fn answers<T: JsonSchema>(mut self) -> Self {
        self.content.push(("application/json", Box::new(|types| types.subschema_for::<T>())));
        self
    }

    /// That it answers what it has made.
    pub(super) fn created<T: JsonSchema>(mut self) -> Self {
        self.status = 201;
        self.answers::<T>()
    }

    /// That it answers an object with a list under one key.
    pub(super) fn lists<T: JsonSchema>(mut self, key: &'static str) -> Self {
        let describe = move |types: &mut SchemaGenerator| {
            let items = types.subschema_for::<T>();
            json_schema!({
                "type": "object",
                "properties": { key: { "type": "array", "items": items } },
                "required": [key],
            })
        };
        self.content.push(("application/json", Box::new(describe)));
        self
    }

    /// That it answers something that is no JSON document.
    pub(super) fn streams(mut self, content_type: &'static str) -> Self {
        self.content.push((content_type, Box::new(|_| json_schema!({ "type": "string" }))));
        self
    }
}

/// The router of some routes.
pub(super) fn router(routes: Vec<Route>) -> Router<Shared> {
    routes.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}
