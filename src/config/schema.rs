//! JSON Schema (draft 2020-12) of zone files and of `hale.json`, made from the same key lists that parse them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::json::{Object, object_schema};
use super::server::ServerKeys;
use super::zone_file::ZoneKeys;

/// JSON Schema of a zone file.
pub fn zone() -> String {
    document::<ZoneKeys>("Hale zone")
}

/// JSON Schema of `hale.json`.
pub fn config() -> String {
    document::<ServerKeys>("Hale server configuration")
}

fn document<T: Object>(title: &str) -> String {
    let mut definitions = Definitions::default();
    let mut schema = object_schema::<T>(&mut definitions);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema["properties"]["$schema"] =
        json!({ "type": "string", "description": "Where this schema is, for editors; not read." });
    schema["$defs"] = json!(definitions.0);
    format!("{schema:#}\n")
}

/// Objects of a schema by name, each defined once.
#[derive(Default)]
pub(crate) struct Definitions(BTreeMap<&'static str, Json>);

impl Definitions {
    /// A reference to an object's definition, which is made at first use.
    pub(crate) fn object<T: Object>(&mut self) -> Json {
        if !self.0.contains_key(T::NAME) {
            // Holds the place, should the object contain itself.
            self.0.insert(T::NAME, Json::Null);
            let schema = object_schema::<T>(self);
            self.0.insert(T::NAME, schema);
        }
        json!({ "$ref": format!("#/$defs/{}", T::NAME) })
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
