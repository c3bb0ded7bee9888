//! The resources that are read: groups, versions in the order in which they are preferred, and what is needed of them.

use crate::discovery::claim::ObjectKind;

/// A resource of the API: those that publish names, and those that they refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Publishes names.
    Publishes(ObjectKind),
    /// Parents of routes.
    Gateway,
    /// Parents of routes.
    ListenerSet,
    /// Labels that listeners select by.
    Namespace,
    /// Addresses of NodePort Services.
    Node,
    /// Pods of Services that lead to them.
    EndpointSlice,
    /// The one Service in front of Traefik.
    TraefikService,
}

/// Where a resource stands in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its group; empty for the core.
    pub group: &'static str,
    /// Versions that can be read, the preferred one first. All read the same fields.
    pub versions: &'static [&'static str],
    /// Its name in paths.
    pub plural: &'static str,
}

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 16] = [
        Self::Publishes(ObjectKind::Ingress),
        Self::Publishes(ObjectKind::IngressRoute),
        Self::Publishes(ObjectKind::IngressRouteTcp),
        Self::Publishes(ObjectKind::LegacyIngressRoute),
        Self::Publishes(ObjectKind::LegacyIngressRouteTcp),
        Self::Publishes(ObjectKind::HttpRoute),
        Self::Publishes(ObjectKind::GrpcRoute),
        Self::Publishes(ObjectKind::TlsRoute),
        Self::Publishes(ObjectKind::Service),
        Self::Publishes(ObjectKind::DnsEndpoint),
        Self::Gateway,
        Self::ListenerSet,
        Self::Namespace,
        Self::Node,
        Self::EndpointSlice,
        Self::TraefikService,
    ];

    /// Where it stands. Routers of Traefik's own API are no resource of a cluster: they have the place of nothing.
    pub fn place(self) -> Place {
        const TRAEFIK: &str = "traefik.io";
        const CONTAINOUS: &str = "traefik.containo.us";
        const GATEWAY: &str = super::gateway::GROUP;
        let (group, versions, plural): (_, &'static [&'static str], _) = match self {
            Self::Publishes(kind) => match kind {
                ObjectKind::Ingress => ("networking.k8s.io", &["v1"], "ingresses"),
                ObjectKind::IngressRoute => (TRAEFIK, &["v1alpha1"], "ingressroutes"),
                ObjectKind::IngressRouteTcp => (TRAEFIK, &["v1alpha1"], "ingressroutetcps"),
                ObjectKind::LegacyIngressRoute => (CONTAINOUS, &["v1alpha1"], "ingressroutes"),
                ObjectKind::LegacyIngressRouteTcp => (CONTAINOUS, &["v1alpha1"], "ingressroutetcps"),
                ObjectKind::HttpRoute => (GATEWAY, &["v1", "v1beta1", "v1alpha2"], "httproutes"),
                ObjectKind::GrpcRoute => (GATEWAY, &["v1", "v1alpha2"], "grpcroutes"),
                ObjectKind::TlsRoute => (GATEWAY, &["v1", "v1alpha3", "v1alpha2"], "tlsroutes"),
                ObjectKind::Service => ("", &["v1"], "services"),
                ObjectKind::DnsEndpoint => ("externaldns.k8s.io", &["v1alpha1"], "dnsendpoints"),
                ObjectKind::Router | ObjectKind::TcpRouter => ("", &[], ""),
            },
            Self::Gateway => (GATEWAY, &["v1", "v1beta1", "v1alpha2"], "gateways"),
            Self::ListenerSet => (GATEWAY, &["v1"], "listenersets"),
            Self::Namespace => ("", &["v1"], "namespaces"),
            Self::Node => ("", &["v1"], "nodes"),
            Self::EndpointSlice => ("discovery.k8s.io", &["v1"], "endpointslices"),
            Self::TraefikService => ("", &["v1"], "services"),
        };
        Place { group, versions, plural }
    }

    /// Whether every cluster has it: the others come with a CRD, and are looked for.
    pub fn is_built_in(self) -> bool {
        matches!(self.place().group, "" | "networking.k8s.io" | "discovery.k8s.io")
    }

    /// The kind whose names cannot be told without it: failures are reported there.
    pub fn reported_as(self) -> ObjectKind {
        match self {
            Self::Publishes(kind) => kind,
            Self::Gateway | Self::ListenerSet | Self::Namespace => ObjectKind::HttpRoute,
            Self::Node | Self::EndpointSlice => ObjectKind::Service,
            Self::TraefikService => ObjectKind::IngressRoute,
        }
    }
}

impl Place {
    /// The path of all objects of it, or of those in one namespace.
    pub fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace {
            Some(namespace) => format!("{root}/{version}/namespaces/{namespace}/{}", self.plural),
            None => format!("{root}/{version}/{}", self.plural),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api() {
        for (resource, namespace, expected) in [
            (Resource::Publishes(ObjectKind::Service), None, "/api/v1/services"),
            (
                Resource::Publishes(ObjectKind::Ingress),
                Some("a"),
                "/apis/networking.k8s.io/v1/namespaces/a/ingresses",
            ),
            (Resource::Node, None, "/api/v1/nodes"),
        ] {
            assert_eq!(resource.place().path("v1", namespace), expected);
        }
        assert_eq!(Resource::ALL.iter().filter(|resource| resource.is_built_in()).count(), 6);
        assert!(Resource::ALL.iter().all(|resource| !resource.place().plural.is_empty()));
    }
}
