//! One object of a list or watch, out of its JSON: what cannot be read is that object's problem alone.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::discovery::claim::ObjectKind;

use super::draft::shorten;
use super::objects::{
    DnsEndpoint, EndpointSlice, Gateway, Ingress, IngressRoute, ListenerSet, Namespace, Node, Object, Route,
    Service,
};
use super::options::Options;
use super::resource::Resource;

/// An object of a resource.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // The kinds, by their names in the API.
pub enum Item {
    Ingress(Ingress),
    IngressRoute(IngressRoute),
    Route(Route),
    Service(Box<Service>),
    DnsEndpoint(DnsEndpoint),
    Gateway(Gateway),
    ListenerSet(ListenerSet),
    Namespace(Namespace),
    Node(Node),
    EndpointSlice(EndpointSlice),
}

/// An object as it was listed or watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// Its namespace; empty for nodes and namespaces.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its version, to go on watching from.
    pub version: Box<str>,
    /// The object, or why it could not be read.
    pub item: Result<Item, Box<str>>,
}

/// What names an object, however broken the rest of it is.
#[derive(Deserialize)]
struct Named {
    metadata: NamedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamedMetadata {
    name: Box<str>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    resource_version: Box<str>,
}

/// Reads one object, and cuts it down to what is needed.
///
/// # Errors
/// Only for what does not even have a name, with the reason.
pub fn decode(resource: Resource, json: &RawValue, options: &Options) -> Result<Decoded, String> {
    let named: Named = serde_json::from_str(json.get()).map_err(|error| error.to_string())?;
    let NamedMetadata { name, namespace, resource_version: version } = named.metadata;
    Ok(Decoded { namespace, name, version, item: item(resource, json, options) })
}

fn item(resource: Resource, json: &RawValue, options: &Options) -> Result<Item, Box<str>> {
    let text = json.get();
    Ok(match resource {
        Resource::Publishes(ObjectKind::Ingress) => Item::Ingress(read(text, options)?),
        Resource::Publishes(ObjectKind::HttpRoute | ObjectKind::GrpcRoute | ObjectKind::TlsRoute) => {
            Item::Route(read(text, options)?)
        }
        Resource::Publishes(ObjectKind::Service) | Resource::TraefikService => {
            Item::Service(Box::new(read(text, options)?))
        }
        Resource::Publishes(ObjectKind::DnsEndpoint) => Item::DnsEndpoint(read(text, options)?),
        // The remaining kinds that publish are Traefik's.
        Resource::Publishes(_) => Item::IngressRoute(read(text, options)?),
        Resource::Gateway => Item::Gateway(read(text, options)?),
        Resource::ListenerSet => Item::ListenerSet(read(text, options)?),
        Resource::Namespace => {
            // Listeners select by any label of a namespace.
            let mut namespace: Namespace = serde_json::from_str(text).map_err(|error| wrong(&error))?;
            namespace.metadata.resource_version = Box::default();
            namespace.metadata.annotations.retain(|_| false);
            Item::Namespace(namespace)
        }
        Resource::Node => Item::Node(read(text, options)?),
        Resource::EndpointSlice => Item::EndpointSlice(read(text, options)?),
    })
}

fn read<T: Object>(text: &str, options: &Options) -> Result<T, Box<str>> {
    let mut object: T = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    // Each change has a new version: without it, objects that say the same compare as equal.
    object.metadata_mut().resource_version = Box::default();
    options.cut(object.metadata_mut());
    Ok(object)
}

fn wrong(error: &serde_json::Error) -> Box<str> {
    format!("does not decode: {}", shorten(&error.to_string())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_still_named() {
        let decode = |text: &str| {
            let json = RawValue::from_string(text.to_owned()).unwrap();
            decode(Resource::Publishes(ObjectKind::Ingress), &json, &Options::default())
        };
        let good = decode(
            r#"{"metadata":{"name":"a","namespace":"n","resourceVersion":"7"},"spec":{"rules":[{"host":"a.test"}]}}"#,
        );
        let good = good.unwrap();
        assert_eq!((&*good.namespace, &*good.name, &*good.version), ("n", "a", "7"));
        assert!(matches!(good.item, Ok(Item::Ingress(ingress)) if &*ingress.spec.rules[0].host == "a.test"));
        let bad = decode(r#"{"metadata":{"name":"b","namespace":"n"},"spec":{"rules":"none"}}"#).unwrap();
        assert!(bad.item.unwrap_err().starts_with("does not decode: invalid type: string"));
        assert!(decode(r#"{"metadata":{"name":7}}"#).is_err());
    }
}
