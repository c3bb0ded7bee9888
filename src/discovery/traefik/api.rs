//! What Traefik's API tells, as far as it is needed.

use serde::Deserialize;
use serde_json::value::RawValue;

/// `GET /api/version`.
#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Version")]
    pub(super) version: String,
}

/// One element of `GET /api/http/routers` or `/api/tcp/routers`. Fields that Traefik leaves out when they are empty have defaults; those that
/// are not needed are skipped, whatever they hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Router {
    /// `name@provider`.
    pub(super) name: Box<str>,
    pub(super) provider: Box<str>,
    pub(super) rule: Box<str>,
    pub(super) rule_syntax: Box<str>,
    /// `enabled`, `warning` or `disabled`.
    pub(super) status: Box<str>,
    /// Why it is not enabled.
    #[serde(rename = "error")]
    pub(super) errors: Vec<Box<str>>,
    pub(super) entry_points: Vec<Box<str>>,
    pub(super) middlewares: Vec<Box<str>>,
    /// Routers that this one refines; such a router has no entry points of its own.
    pub(super) parent_refs: Vec<Box<str>>,
    /// Present if the router terminates or passes TLS.
    #[serde(rename = "tls", deserialize_with = "is_given")]
    pub(super) has_tls: bool,
}

/// A router of which no more than its name can be read.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: Box<str>,
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// It could be read.
    Router(Router),
    /// It could not, for this reason; its name could.
    Malformed {
        /// `name@provider`.
        name: Box<str>,
        /// Where and why.
        why: Box<str>,
    },
}

impl Listed {
    /// Reads an element.
    ///
    /// # Errors
    /// Not even the name can be read; why not.
    pub(super) fn read(raw: &RawValue) -> Result<Self, String> {
        let wrong = match serde_json::from_str::<Router>(raw.get()) {
            Ok(router) if is_name(&router.name) => return Ok(Self::Router(router)),
            Ok(_) => return Err("a router has no name of the form name@provider".to_owned()),
            Err(error) => error.to_string(),
        };
        match serde_json::from_str::<Named>(raw.get()) {
            Ok(named) if is_name(&named.name) => Ok(Self::Malformed { name: named.name, why: wrong.into() }),
            _ => Err(wrong),
        }
    }

    /// `name@provider`.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Router(router) => &router.name,
            Self::Malformed { name, .. } => name,
        }
    }
}

fn is_name(name: &str) -> bool {
    name.rsplit_once('@').is_some_and(|(name, provider)| !name.is_empty() && !provider.is_empty())
}

/// Whether there is anything but `null`.
fn is_given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<serde::de::IgnoredAny>::deserialize(deserializer)?.is_some())
}
