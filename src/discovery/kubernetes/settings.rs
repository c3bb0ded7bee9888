//! From `hale.json` to what the driver works with.

use std::sync::Arc;

use crate::config::{KubernetesConfig, KubernetesResource, SourceConfig};
use crate::discovery::claim::ObjectKind;

use super::connection::{Access, ServiceAccount};
use super::driver::Settings;
use super::options::Options;
use super::watch::Pace;

/// What the driver works with.
pub fn settings(source: &SourceConfig, config: &KubernetesConfig) -> Settings {
    let options = Options {
        ingress_classes: config.ingress_classes.clone(),
        gateway_classes: config.gateway_classes.clone(),
        annotations: config.annotations.clone(),
        prefixes: Options::all_prefixes(&config.annotation_prefixes),
        traefik_service: config.traefik_service.clone(),
        service_zones: if config.service_names { source.zones.clone() } else { Vec::new() },
        tls_hosts: config.ingress_tls_hosts,
    };
    let access = match &config.kubeconfig {
        Some(file) => Access::Kubeconfig { file: file.clone(), context: config.context.clone() },
        None => Access::InCluster(ServiceAccount::of_this_pod()),
    };
    Settings {
        access,
        namespaces: config.namespaces.clone(),
        kinds: kinds(config.resources.as_deref()),
        labels: config.labels.clone(),
        options: Arc::new(options),
        pace: Pace::default(),
    }
}

/// The kinds of objects to read: all unless given. Traefik's stand in two groups.
fn kinds(resources: Option<&[KubernetesResource]>) -> Vec<ObjectKind> {
    let all = [
        (KubernetesResource::Ingress, &[ObjectKind::Ingress][..]),
        (KubernetesResource::IngressRoute, &[ObjectKind::IngressRoute, ObjectKind::LegacyIngressRoute]),
        (
            KubernetesResource::IngressRouteTcp,
            &[ObjectKind::IngressRouteTcp, ObjectKind::LegacyIngressRouteTcp],
        ),
        (KubernetesResource::HttpRoute, &[ObjectKind::HttpRoute]),
        (KubernetesResource::GrpcRoute, &[ObjectKind::GrpcRoute]),
        (KubernetesResource::TlsRoute, &[ObjectKind::TlsRoute]),
        (KubernetesResource::Service, &[ObjectKind::Service]),
        (KubernetesResource::DnsEndpoint, &[ObjectKind::DnsEndpoint]),
    ];
    let wanted = |resource: &KubernetesResource| resources.is_none_or(|given| given.contains(resource));
    all.iter().filter(|(resource, _)| wanted(resource)).flat_map(|(_, kinds)| kinds.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_kinds_and_traefiks_stand_in_two_groups() {
        assert_eq!(kinds(None).len(), 10);
        assert_eq!(
            kinds(Some(&[KubernetesResource::IngressRoute, KubernetesResource::DnsEndpoint])),
            [ObjectKind::IngressRoute, ObjectKind::LegacyIngressRoute, ObjectKind::DnsEndpoint]
        );
    }
}
