//! What of a cluster a source reads, and how.

use crate::config::Selector;
use crate::model::name::Name;

use super::objects::Metadata;
use super::pairs::Pairs;

/// The prefixes of external-dns; where both stand, the first wins.
const EXTERNAL_DNS: [&str; 2] = ["external-dns.kubernetes.io/", "external-dns.alpha.kubernetes.io/"];
/// Labels that are looked at besides those that selectors name.
const LABELS: [&str; 3] = [IGNORE, GATEWAY_IGNORE, SERVICE_OF_SLICE];
/// Annotations that are looked at besides those of external-dns.
const ANNOTATIONS: [&str; 4] =
    ["hale.dev/", "coredns.io/", "k8s-gateway.dns/", "kubernetes.io/ingress.class"];
/// Our label that hides an object.
const IGNORE: &str = "hale.dev/ignore";
/// That of k8s_gateway.
const GATEWAY_IGNORE: &str = "k8s-gateway.dns/ignore";
/// The label of an EndpointSlice that names its Service.
pub(super) const SERVICE_OF_SLICE: &str = "kubernetes.io/service-name";

/// How objects become names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Classes of Ingresses that count; all if empty.
    pub ingress_classes: Vec<Box<str>>,
    /// Classes of Gateways that count; all if empty.
    pub gateway_classes: Vec<Box<str>>,
    /// What the annotations of an object have to fulfil.
    pub annotations: Selector,
    /// Prefixes of annotations, the user's own first, each with what stands between it and the key (usually `/`).
    pub prefixes: Vec<Box<str>>,
    /// The Service of Traefik, whose load balancer IngressRoutes lead to: namespace and name.
    pub traefik_service: Option<(Box<str>, Box<str>)>,
    /// Zones in which every Service gets `name.namespace`; none if that is not wanted.
    pub service_zones: Vec<Name>,
    /// Whether hosts of certificates (`spec.tls`) are published too.
    pub tls_hosts: bool,
}

impl Options {
    /// The prefixes to look for: `own` first, then those of external-dns.
    pub fn all_prefixes(own: &[Box<str>]) -> Vec<Box<str>> {
        let own = own.iter().map(|prefix| {
            let slash = if prefix.ends_with('/') { "" } else { "/" };
            format!("{prefix}{slash}").into_boxed_str()
        });
        own.chain(EXTERNAL_DNS.map(Box::from)).collect()
    }

    /// Drops the labels and annotations that nothing here reads: thousands of objects are kept in memory.
    pub fn cut(&self, metadata: &mut Metadata) {
        metadata.labels.retain(|key| LABELS.contains(&key));
        metadata.annotations.retain(|key| {
            ANNOTATIONS.iter().any(|wanted| key.starts_with(wanted))
                || self.prefixes.iter().any(|prefix| key.starts_with(&**prefix))
                || self.annotations.keys().any(|wanted| wanted == key)
        });
    }

    /// Whether an object is one of ours: not hidden by a label, not another controller's, and within the annotation filter.
    pub fn admits(&self, metadata: &Metadata) -> bool {
        let hidden = |labels: &Pairs| {
            [IGNORE, GATEWAY_IGNORE].into_iter().any(|label| labels.get(label) == Some("true"))
        };
        let controller = self.annotation(metadata, "controller");
        !hidden(&metadata.labels)
            && controller.is_none_or(|controller| controller == "dns-controller")
            && self.annotations.matches(|key| metadata.annotations.get(key))
    }

    /// The annotation of this key under the first prefix that has it; an empty value counts as none.
    pub fn annotation<'a>(&self, metadata: &'a Metadata, key: &str) -> Option<&'a str> {
        let mut values = self.prefixes.iter().filter_map(|prefix| {
            let found = metadata.annotations.get(&format!("{prefix}{key}"))?.trim();
            (!found.is_empty()).then_some(found)
        });
        values.next()
    }
}
