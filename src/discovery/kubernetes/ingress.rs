//! Ingress: the hosts of its rules, at the addresses of its load balancer.

use crate::discovery::claim::Route;
use crate::discovery::source::Seen;
use crate::model::name::Name;

use super::draft::Draft;
use super::objects::{Ingress, Metadata};
use super::options::Options;

/// The annotation that named the class before `spec.ingressClassName` came.
const CLASS: &str = "kubernetes.io/ingress.class";

/// What an Ingress publishes.
pub fn claims(ingress: &Ingress, options: &Options) -> Seen {
    let (metadata, spec) = (&ingress.metadata, &ingress.spec);
    let mut draft = Draft::default();
    let class = spec.ingress_class_name.as_deref().or_else(|| metadata.annotations.get(CLASS));
    if !options.admits(metadata) || !is_wanted(class, &options.ingress_classes) {
        return draft.finish(options, metadata);
    }
    let mut names = Vec::new();
    let source = options.annotation(metadata, "ingress-hostname-source");
    if source != Some("annotation-only") {
        for (at, rule) in spec.rules.iter().enumerate().filter(|(_, rule)| !rule.host.is_empty()) {
            names.extend(draft.name(&rule.host, &format!("spec.rules[{at}].host")));
        }
        if options.tls_hosts {
            let hosts = spec.tls.iter().flat_map(|tls| &tls.hosts);
            names.extend(hosts.filter_map(|host| draft.name(host, "spec.tls[].hosts")));
        }
    }
    if source != Some("defined-hosts-only") {
        names.extend(annotated_names(&mut draft, options, metadata));
    }
    let targets = match draft.annotated_targets(options, metadata) {
        Some(targets) => targets,
        None => draft.load_balancer(&ingress.status.load_balancer, "status.loadBalancer is empty"),
    };
    for name in names {
        let route = if has_certificate(ingress, &name) { Route::Https(None) } else { Route::Http(None) };
        draft.claim(name, targets.clone(), route);
    }
    draft.finish(options, metadata)
}

/// The names that annotations add: k8s_gateway's before external-dns'.
pub(super) fn annotated_names(draft: &mut Draft, options: &Options, metadata: &Metadata) -> Vec<Name> {
    let gateways = metadata.annotations.get("coredns.io/hostname").filter(|list| !list.trim().is_empty());
    match gateways.or_else(|| options.annotation(metadata, "hostname")) {
        Some(list) => draft.names(list, "annotation hostname"),
        None => Vec::new(),
    }
}

/// Whether an object of this class counts; one without a class does where all do.
pub(super) fn is_wanted(class: Option<&str>, wanted: &[Box<str>]) -> bool {
    wanted.is_empty() || class.is_some_and(|class| wanted.iter().any(|one| **one == *class))
}

/// Whether a certificate covers the host: one without hosts is for all, a wildcard for one label (RFC 9525 §6.3).
fn has_certificate(ingress: &Ingress, name: &Name) -> bool {
    ingress.spec.tls.iter().any(|tls| {
        tls.hosts.is_empty()
            || tls.hosts.iter().any(|host| {
                let Ok(host) = super::draft::host_name(host) else {
                    return false;
                };
                host == *name || (host.is_wildcard() && host.parent() == name.parent())
            })
    })
}

/// Whether the IngressRoute's class annotation, if it has one, is among the wanted ones. Traefik reads no class from an IngressRoute
/// that lacks it, so it counts as one of ours.
pub(super) fn class_allows(metadata: &Metadata, wanted: &[Box<str>]) -> bool {
    metadata.annotations.get(CLASS).is_none_or(|class| is_wanted(Some(class), wanted))
}
