//! IngressRoute and IngressRouteTCP of Traefik: the hosts of their rules, at Traefik's address.

use crate::discovery::claim::{Route, Targets};
use crate::discovery::rule::{Grammar, Routers, Syntax, rule_hosts};
use crate::discovery::source::{ProblemKind, Seen};

use super::draft::Draft;
use super::ingress::class_allows;
use super::objects::{IngressRoute, Metadata, Service};
use super::options::Options;

/// What an IngressRoute publishes; `service` is Traefik's own, if it is configured and there.
///
/// A rule that cannot be read says nothing about names: those of the other rules are published, and what the object published before stands.
pub fn claims(object: &IngressRoute, routers: Routers, options: &Options, service: Option<&Service>) -> Seen {
    let (metadata, spec) = (&object.metadata, &object.spec);
    let mut draft = Draft::default();
    if !options.admits(metadata) || !class_allows(metadata, &options.ingress_classes) {
        return draft.finish(options, metadata);
    }
    let targets = targets(&mut draft, options, metadata, service);
    let reached = match (routers, &spec.tls) {
        // Without TLS there is no SNI to route a name by, so a name means TLS.
        (Routers::Tcp, _) => Route::Tls(None),
        (Routers::Http, Some(_)) => Route::Https(None),
        (Routers::Http, None) => Route::Http(None),
    };
    let mut is_whole = true;
    for (at, route) in spec.routes.iter().enumerate() {
        let syntax = match &*route.syntax {
            "v2" => Syntax::V2,
            "v3" => Syntax::V3,
            _ => Syntax::Either,
        };
        let grammar = Grammar { syntax, ..Grammar::unknown(routers) };
        let hosts = match rule_hosts(&route.r#match, grammar) {
            Ok(hosts) => hosts,
            Err(problem) => {
                draft.problem(ProblemKind::Rule, format!("spec.routes[{at}].match: {problem}"));
                is_whole = false;
                continue;
            }
        };
        for problem in hosts.reported {
            draft.problem(ProblemKind::Rule, format!("spec.routes[{at}].match: {problem}"));
        }
        for name in hosts.names {
            draft.claim(name.clone(), targets.clone(), reached);
            if let Some(claim) = draft.claim_mut(&name) {
                claim.entry_points.clone_from(&spec.entry_points);
            }
        }
    }
    match draft.finish(options, metadata) {
        Seen::Claims(claims, problems) if !is_whole => Seen::Partial(claims, problems),
        seen => seen,
    }
}

/// Where it leads: to the `target` annotation, else to Traefik's Service, else to the source's own targets.
fn targets(draft: &mut Draft, options: &Options, metadata: &Metadata, service: Option<&Service>) -> Targets {
    if let Some(targets) = draft.annotated_targets(options, metadata) {
        return targets;
    }
    let Some((namespace, name)) = &options.traefik_service else {
        return Targets::Default;
    };
    match service {
        Some(service) => {
            let empty = format!("Traefik's Service {namespace}/{name} has no address");
            super::service::public_targets(draft, service, &empty)
        }
        None => Targets::Unknown(format!("Traefik's Service {namespace}/{name} is not there").into()),
    }
}
