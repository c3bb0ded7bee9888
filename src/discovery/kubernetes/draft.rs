//! The claims of one object while they are collected: names and addresses as people write them become values, and what is wrong is
//! reported one by one.

use std::net::IpAddr;

use crate::discovery::claim::{Claim, HostTarget, Route, Targets, Wishes};
use crate::discovery::source::{Problem, ProblemKind, Seen};
use crate::model::name::Name;
use crate::model::ttl::MAX_TTL;

use super::objects::{LoadBalancer, Metadata};
use super::options::Options;

/// Claims and problems of one object.
#[derive(Debug, Default)]
pub struct Draft {
    claims: Vec<Claim>,
    problems: Vec<Problem>,
}

impl Draft {
    /// Notes what is wrong with a part of the object.
    pub fn problem(&mut self, kind: ProblemKind, text: impl Into<Box<str>>) {
        self.problems.push(Problem::new(kind, text));
    }

    /// The name in `text`, or a problem that says where it stands.
    pub fn name(&mut self, text: &str, place: &str) -> Option<Name> {
        match host_name(text) {
            Ok(name) => Some(name),
            Err(why) => {
                self.problem(ProblemKind::Malformed, format!("{place}: \"{}\" {why}", shorten(text)));
                None
            }
        }
    }

    /// The names of a comma list.
    pub fn names(&mut self, list: &str, place: &str) -> Vec<Name> {
        items(list).filter_map(|item| self.name(item, place)).collect()
    }

    /// The address or host in `text`, or a problem.
    pub fn target(&mut self, text: &str, place: &str) -> Option<HostTarget> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(HostTarget::Address(address));
        }
        let name = self.name(text, place)?;
        if name.is_wildcard() {
            self.problem(ProblemKind::Malformed, format!("{place}: {name} is a wildcard and leads nowhere"));
            return None;
        }
        Some(HostTarget::Host(name))
    }

    /// The targets in a list of texts.
    pub fn targets<'a>(&mut self, list: impl IntoIterator<Item = &'a str>, place: &str) -> Vec<HostTarget> {
        list.into_iter().filter_map(|item| self.target(item, place)).collect()
    }

    /// What the annotation `target` says, if it is there. One that holds nothing valid is no reason to publish something else.
    pub fn annotated_targets(&mut self, options: &Options, metadata: &Metadata) -> Option<Targets> {
        let list = options.annotation(metadata, "target")?;
        let found = self.targets(items(list), "annotation target");
        Some(known_or(found, || "the annotation target holds no address and no name".into()))
    }

    /// Where a load balancer's status leads.
    pub fn load_balancer(&mut self, balancer: &LoadBalancer, empty: &str) -> Targets {
        let texts =
            balancer.ingress.iter().map(|one| if one.ip.is_empty() { &*one.hostname } else { &*one.ip });
        let found = self.targets(texts.filter(|text| !text.is_empty()), "status.loadBalancer");
        known_or(found, || empty.into())
    }

    /// Claims `name`. If the object already does, targets are joined, and the safer route counts (HTTPS before HTTP).
    pub fn claim(&mut self, name: Name, targets: Targets, route: Route) {
        let Some(held) = self.claims.iter_mut().find(|held| held.name == name) else {
            return self.claims.push(Claim::new(name, targets, route));
        };
        if matches!((held.route, route), (Route::Http(_), Route::Https(_) | Route::Tls(_))) {
            held.route = route;
        }
        match (&mut held.targets, targets) {
            (Targets::Known(held), Targets::Known(more)) => {
                let new = more.into_iter().filter(|target| !held.contains(target)).collect::<Vec<_>>();
                held.extend(new);
            }
            (slot @ (Targets::Unknown(_) | Targets::Default), known @ Targets::Known(_)) => *slot = known,
            _ => {}
        }
    }

    /// The claim of this name, to add to it.
    pub fn claim_mut(&mut self, name: &Name) -> Option<&mut Claim> {
        self.claims.iter_mut().find(|held| held.name == *name)
    }

    /// Whether no claim was made yet.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Gives every claim what the object says of all: TTL, wishes, age.
    pub fn finish(mut self, options: &Options, metadata: &Metadata) -> Seen {
        let ttl = self.ttl(options, metadata);
        let wish = |key: &str| metadata.annotations.get(key).map(str::trim).filter(|wish| !wish.is_empty());
        let wishes = Wishes {
            check: wish("hale.dev/check").map(Box::from),
            policy: wish("hale.dev/policy").map(Box::from),
            weight: wish("hale.dev/weight").map(Box::from),
        };
        for claim in &mut self.claims {
            claim.ttl = claim.ttl.or(ttl);
            claim.wishes = wishes.clone();
            claim.created = metadata.created();
        }
        if options.annotation(metadata, "set-identifier").is_some() {
            let text = "the annotation set-identifier is not used: weights are hale.dev/weight, policies hale.dev/policy";
            self.problem(ProblemKind::Refused, text);
        }
        Seen::Claims(self.claims, self.problems)
    }

    /// The TTL in seconds: ours before external-dns'.
    fn ttl(&mut self, options: &Options, metadata: &Metadata) -> Option<u32> {
        let ours = metadata.annotations.get("hale.dev/ttl").map(str::trim).filter(|text| !text.is_empty());
        let text = ours.or_else(|| options.annotation(metadata, "ttl"))?;
        match seconds(text) {
            Some(0) => None,
            Some(ttl) => Some(ttl),
            None => {
                self.problem(
                    ProblemKind::Malformed,
                    format!("annotation ttl: \"{}\" is no TTL", shorten(text)),
                );
                None
            }
        }
    }
}

/// The targets, or the reason why there are none now.
pub fn known_or(found: Vec<HostTarget>, reason: impl FnOnce() -> Box<str>) -> Targets {
    let mut unique: Vec<HostTarget> = Vec::with_capacity(found.len());
    for target in found {
        if !unique.contains(&target) {
            unique.push(target);
        }
    }
    if unique.is_empty() { Targets::Unknown(reason()) } else { Targets::Known(unique) }
}

/// The parts of a comma list.
pub fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Seconds of an integer or of a duration as Go writes them (`1h30m`, `1.5h`, `1500ms`), rounded down.
fn seconds(text: &str) -> Option<u32> {
    if text.is_empty() || text.bytes().all(|octet| octet.is_ascii_digit()) {
        return text.parse().ok().filter(|seconds| *seconds <= MAX_TTL);
    }
    let (mut total, mut rest) = (0.0_f64, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let factor = match &tail[..unit] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = &tail[unit..];
    }
    // Within 0 and 2^31 by the condition.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (total <= f64::from(MAX_TTL)).then_some(total as u32)
}

/// A host name, possibly a wildcard: spaces around it and trailing dots do not count. Underscores are taken, as DNS takes them.
///
/// # Errors
/// What is wrong, to be put behind the text.
pub fn host_name(text: &str) -> Result<Name, String> {
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() {
        return Err("is not a name".into());
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err("is an address, not a name".into());
    }
    if !text.is_ascii() {
        return Err("is not ASCII: write the A-label (xn--…)".into());
    }
    let rest = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_' | b'.');
    if rest == "*" || !rest.bytes().all(allowed) {
        return Err("is not a name".into());
    }
    Name::parse_absolute(text).map_err(|error| format!("is not a name: {error}"))
}

/// A text of an object for a line that people read: long ones are cut.
pub fn shorten(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return text.escape_debug().to_string();
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{}…", start.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_from_other_texts() {
        for (text, expected) in [
            ("a.example.test", Ok("a.example.test.")),
            (" A.Example.TEST.. ", Ok("a.example.test.")),
            ("*.x.test", Ok("*.x.test.")),
            ("_a._tcp.x.test", Ok("_a._tcp.x.test.")),
            ("", Err("is not a name")),
            (".", Err("is not a name")),
            ("*", Err("is not a name")),
            ("a.*.test", Err("is not a name")),
            ("a b.test", Err("is not a name")),
            ("a\\046b.test", Err("is not a name")),
            ("192.0.2.1", Err("is an address, not a name")),
            ("2001:db8::1", Err("is an address, not a name")),
            ("münchen.test", Err("is not ASCII: write the A-label (xn--…)")),
        ] {
            let found = host_name(text).map(|name| name.to_string());
            assert_eq!(found.as_deref().map_err(|why| &**why), expected, "{text}");
        }
        assert!(host_name("a..test").is_err() && host_name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn ttls_are_integers_or_go_durations() {
        for (text, expected) in [
            ("60", Some(60)),
            ("1h30m", Some(5400)),
            ("1500ms", Some(1)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1d", None),
            ("-1", None),
            ("1.5h", Some(5400)),
            ("1h30", None),
            ("", None),
            ("x", None),
            ("99999999999", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
