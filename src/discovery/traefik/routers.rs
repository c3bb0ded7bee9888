//! From routers to claims: filters, rules and parents. Pure.

use std::collections::HashMap;

use super::api::{Listed, Router};
use crate::config::{Pattern, SourceConfig, TraefikConfig, Visibility};
use crate::discovery::claim::{Claim, ObjectKey, ObjectKind, Route, Targets, router_names};
use crate::discovery::rule::{Grammar, Routers, RuleHosts, rule_hosts};
use crate::discovery::source::{Problem, ProblemKind, Seen};
use crate::model::name::Name;

/// Parents above one another; Traefik refuses circles, and so few levels make sense that more are taken for one.
const MAX_ANCESTORS: usize = 16;

/// What each router of a complete list claims.
pub(super) fn objects(
    list: &[Listed],
    kind: Routers,
    version: &str,
    source: &SourceConfig,
    config: &TraefikConfig,
) -> Vec<(ObjectKey, Seen)> {
    let by_name = list.iter().map(|listed| (listed.name(), listed)).collect();
    let reader = Reader { by_name, kind, version, source, config };
    list.iter().map(|listed| (key(listed.name(), kind), reader.seen(listed))).collect()
}

/// The key of a router. Its name was checked to have a provider.
fn key(name: &str, routers: Routers) -> ObjectKey {
    let (name, provider) = name.rsplit_once('@').unwrap_or((name, ""));
    let kind = match routers {
        Routers::Http => ObjectKind::Router,
        Routers::Tcp => ObjectKind::TcpRouter,
    };
    ObjectKey { kind, namespace: provider.into(), name: name.into() }
}

struct Reader<'a> {
    by_name: HashMap<&'a str, &'a Listed>,
    kind: Routers,
    version: &'a str,
    source: &'a SourceConfig,
    config: &'a TraefikConfig,
}

/// What a router has of itself or by its parents.
#[derive(Default)]
struct Listens<'a> {
    entry_points: Vec<&'a str>,
    has_tls: bool,
}

/// What a router's ancestors say about it.
enum Above<'a> {
    /// They route to it: where they listen, and the hosts that they let through, unless all.
    Routed(Listens<'a>, Option<Vec<Name>>),
    /// They do not, and the names go with them.
    Off(Problem),
    /// It cannot be said now.
    Unclear(Problem),
}

impl<'a> Reader<'a> {
    fn seen(&self, listed: &'a Listed) -> Seen {
        let router = match listed {
            Listed::Router(router) => router,
            Listed::Malformed { why, .. } => {
                return Seen::Stands(Problem::new(ProblemKind::Malformed, &**why));
            }
        };
        if router.status.eq_ignore_ascii_case("disabled") {
            let why = router.errors.iter().map(|error| &**error).collect::<Vec<_>>().join("; ");
            return off(Problem::new(ProblemKind::Rule, format!("disabled by Traefik: {why}")));
        }
        let (listens, allowed) = match self.above(router, MAX_ANCESTORS) {
            Above::Routed(listens, allowed) => (listens, allowed),
            Above::Off(problem) => return off(problem),
            Above::Unclear(problem) => return Seen::Stands(problem),
        };
        if !self.is_wanted(router, &listens.entry_points) {
            return Seen::Claims(Vec::new(), Vec::new());
        }
        match self.hosts(router) {
            Err(problem) => Seen::Stands(problem),
            Ok(hosts) => self.claims(router, hosts, &listens, allowed.as_deref()),
        }
    }

    /// The hosts of a router's rule. A child may have no rule at all.
    fn hosts(&self, router: &Router) -> Result<RuleHosts, Problem> {
        if router.rule.is_empty() && !router.parent_refs.is_empty() {
            return Ok(RuleHosts::default());
        }
        let grammar = Grammar::of(self.kind, self.version, &router.rule_syntax);
        rule_hosts(&router.rule, grammar)
            .map_err(|problem| Problem::new(ProblemKind::Rule, format!("rule: {problem}")))
    }

    /// Where a router is reached: for a child (`parentRefs`) all that its parents say together.
    fn above(&self, router: &'a Router, levels: usize) -> Above<'a> {
        if router.parent_refs.is_empty() {
            let entry_points = router.entry_points.iter().map(|name| &**name).collect();
            return Above::Routed(Listens { entry_points, has_tls: router.has_tls }, None);
        }
        if levels == 0 {
            let text = "its parents have too many parents, or are their own";
            return Above::Unclear(Problem::new(ProblemKind::Malformed, text));
        }
        let mut all = Listens::default();
        let mut allowed = Some(Vec::new());
        let (mut is_routed, mut off) = (false, None);
        for name in &router.parent_refs {
            match self.through(name, levels) {
                Above::Routed(listens, hosts) => {
                    is_routed = true;
                    all.entry_points.extend(listens.entry_points);
                    all.has_tls |= listens.has_tls;
                    match (&mut allowed, hosts) {
                        (Some(allowed), Some(hosts)) => allowed.extend(hosts),
                        (allowed, _) => *allowed = None,
                    }
                }
                Above::Off(problem) => off = Some(problem),
                Above::Unclear(problem) => return Above::Unclear(problem),
            }
        }
        match off {
            Some(problem) if !is_routed => Above::Off(problem),
            _ => Above::Routed(all, allowed),
        }
    }

    /// What a parent lets through to its children.
    fn through(&self, name: &str, levels: usize) -> Above<'a> {
        let parent = match self.by_name.get(name) {
            Some(Listed::Router(parent)) => parent,
            Some(Listed::Malformed { .. }) => {
                let text = format!("its parent {name} cannot be read");
                return Above::Unclear(Problem::new(ProblemKind::Stale, text));
            }
            None => {
                let text = format!("its parent {name} is not there");
                return Above::Unclear(Problem::new(ProblemKind::Stale, text));
            }
        };
        if parent.status.eq_ignore_ascii_case("disabled") {
            let text = format!("its parent {name} is disabled by Traefik");
            return Above::Off(Problem::new(ProblemKind::Rule, text));
        }
        let (listens, above) = match self.above(parent, levels - 1) {
            Above::Routed(listens, above) => (listens, above),
            other => return other,
        };
        let own = match self.hosts(parent) {
            Err(problem) => {
                return Above::Unclear(Problem::new(
                    ProblemKind::Rule,
                    format!("its parent {name}: {problem}"),
                ));
            }
            // A host that has no name may let any of its children's through.
            Ok(hosts) if hosts.names.is_empty() || !hosts.reported.is_empty() => None,
            Ok(hosts) => Some(hosts.names),
        };
        Above::Routed(listens, own.or(above))
    }

    /// Whether the filters of the source let a router through.
    fn is_wanted(&self, router: &Router, entry_points: &[&str]) -> bool {
        let Self { source, config, .. } = self;
        let (name, provider) = router.name.rsplit_once('@').unwrap_or((&router.name, ""));
        let any = |patterns: &[Pattern], texts: &[&str]| {
            patterns.iter().any(|pattern| texts.iter().any(|text| pattern.matches(text)))
        };
        let wanted = |only: &[Pattern], never: &[Pattern], texts: &[&str]| {
            (only.is_empty() || any(only, texts)) && !any(never, texts)
        };
        let names: Vec<&str> = router_names(&router.name, &router.entry_points).collect();
        // A middleware of the router's own provider may be written with it or without.
        let middlewares: Vec<&str> = router
            .middlewares
            .iter()
            .flat_map(|name| [&**name, name.rsplit_once('@').map_or(&**name, |(bare, _)| bare)])
            .collect();
        let hidden = match source.visibility {
            None => false,
            Some(Visibility::Internal) => name.ends_with("-external"),
            Some(Visibility::External) => name.ends_with("-internal"),
        };
        !hidden
            && wanted(&config.routers, &source.exclude_routers, &names)
            && wanted(&config.providers, &config.exclude_providers, &[provider])
            && wanted(&config.entry_points, &config.exclude_entry_points, entry_points)
            && wanted(&config.middlewares, &config.exclude_middlewares, &middlewares)
    }

    fn claims(
        &self,
        router: &Router,
        hosts: RuleHosts,
        listens: &Listens<'_>,
        allowed: Option<&[Name]>,
    ) -> Seen {
        let route = match (self.kind, listens.has_tls || router.has_tls) {
            (Routers::Http, true) => Route::Https(None),
            (Routers::Http, false) => Route::Http(None),
            // Only TLS tells the name that HostSNI asks for.
            (Routers::Tcp, _) => Route::Tls(None),
        };
        let report = |text: String| Problem::new(ProblemKind::Rule, text);
        let mut problems: Vec<Problem> =
            hosts.reported.iter().map(|problem| report(format!("rule: {problem}"))).collect();
        let mut claims = Vec::with_capacity(hosts.names.len());
        for name in hosts.names {
            if !allowed.is_none_or(|allowed| allowed.iter().any(|host| covers(host, &name))) {
                problems
                    .push(report(format!("{name} is none of the hosts of its parents, so it is not routed")));
                continue;
            }
            let mut claim = Claim::new(name, Targets::Default, route);
            claim.entry_points = listens.entry_points.iter().map(|name| Box::from(*name)).collect();
            claim.middlewares.clone_from(&router.middlewares);
            claims.push(claim);
        }
        Seen::Claims(claims, problems)
    }
}

/// Nothing is published, for this reason.
fn off(problem: Problem) -> Seen {
    Seen::Claims(Vec::new(), vec![problem])
}

/// Whether a host, perhaps a wildcard, has a name.
fn covers(host: &Name, name: &Name) -> bool {
    host == name || (host.is_wildcard() && host.parent().is_some_and(|parent| name.is_below(&parent)))
}
