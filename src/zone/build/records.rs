//! RRsets of other types than addresses whose records have checks: what is probed for them is settled once the whole zone is known.

use super::Builder;
use super::owner::{Parts, mark};
use crate::config::{RdataText, RecordCheck, RrsetConfig};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;
use crate::model::target::{Endpoint, EndpointData};
use crate::zone::check::{Held, Mark, Scope, below_root, relative};
use crate::zone::desired::auto_ttl;
use crate::zone::owners::Owners;

/// A checked record that waits for the addresses of the host that it leads to.
#[derive(Debug)]
pub(super) struct Waiting {
    owner: Name,
    /// The place among the owner's endpoints.
    place: usize,
    /// The host, as the zone's primary holds it.
    host: Name,
    check: Box<RecordCheck>,
    mark: Mark,
}

impl Builder<'_> {
    /// An RRset of which health or a policy decides. `is_variants`: each record is an answer by itself.
    pub(super) fn checked_rrset(
        &mut self,
        name: &Name,
        given: &RrsetConfig,
        is_variants: bool,
        parts: &mut Parts,
    ) {
        let rtype = given.rtype;
        let (mut octets, mut count, before) = (0, 0, parts.endpoints.len());
        for text in &given.data {
            let Some(wire) = self.parse(name, rtype, text) else { continue };
            let data = EndpointData::Record { rtype, rdata: wire.as_slice().into() };
            if !is_variants && parts.endpoints[before..].iter().any(|other| other.data == data) {
                let hint = "keep the one whose check is meant".to_owned();
                self.error(&mark(text), "the same record stands twice in a checked RRset".to_owned(), hint);
                continue;
            }
            (octets, count) = (octets + wire.len(), count + 1);
            let place = parts.endpoints.len();
            let condition = text.check.as_ref().and_then(|check| {
                if check.needs_addresses() {
                    self.wait(name, place, (&data, text), check.clone());
                    return None;
                }
                check.condition(&[])
            });
            parts.endpoints.push(Endpoint { data, weight: 1, condition });
        }
        let checked = given.data.iter().find(|data| data.check.is_some());
        let auto =
            auto_ttl(given.data.iter().filter_map(|data| data.check.as_ref()).flat_map(|c| c.checks()));
        let Some(first) = checked.or(given.data.first()).map(mark) else { return };
        parts.ttls.push((rtype, self.ttl(given.ttl, auto)));
        // One answer holds one of the variants.
        let count = if is_variants { 1 } else { count.max(1) };
        parts.held.push(Held { rtype, count, octets, mark: first.clone() });
        parts.first_checked.get_or_insert(first);
    }

    fn wait(
        &mut self,
        owner: &Name,
        place: usize,
        (data, text): (&EndpointData, &RdataText),
        check: Box<RecordCheck>,
    ) {
        // Only types whose records lead to a host may have a check.
        let Some(host) = data.host() else { return };
        self.waiting.push(Waiting { owner: owner.clone(), place, host, check, mark: mark(text) });
    }

    /// Records that are answered when all of a type are down.
    pub(super) fn fallback(&mut self, name: &Name, given: &RrsetConfig, parts: &mut Parts) {
        for text in &given.data {
            if let Some(wire) = self.parse(name, given.rtype, text) {
                parts.fallback.push(EndpointData::Record { rtype: given.rtype, rdata: wire.into() });
            }
        }
    }

    /// Gives the records that wait for addresses their conditions. `owners` have their places.
    pub(super) fn settle(&mut self, owners: &mut Owners) {
        let waiting = std::mem::take(&mut self.waiting);
        for Waiting { owner, place, host, check, mark } in waiting {
            // In an alias zone a name of the primary stands for its own.
            let primary = &self.header.apex;
            let host = match host.is_at_or_below(&self.apex) || !host.is_at_or_below(primary) {
                true => host,
                false => super::join(&below_root(&host, primary), &self.apex).unwrap_or(host),
            };
            let scope = Scope {
                header: self.header,
                apex: &self.apex,
                owners,
                links: &[],
                checked: &[],
                broken: &self.broken,
            };
            let condition = check.condition(&scope.addresses(&host));
            if condition.is_none() && !self.broken.contains(&host) {
                self.diagnostics.push(self.nothing_to_probe(&host, &mark));
            }
            let checked = owners.get_mut(&owner).and_then(|owner| owner.checked.as_mut());
            if let Some(endpoint) = checked.and_then(|checked| checked.endpoints.get_mut(place)) {
                endpoint.condition = condition;
            }
        }
    }

    fn nothing_to_probe(&self, host: &Name, mark: &Mark) -> Diagnostic {
        let name = relative(host, &self.apex);
        let (message, hint) = match host.is_at_or_below(&self.apex) {
            true => (
                format!("there is nothing to probe: the zone declares no address of \"{name}\""),
                format!("add \"probe\": \"192.0.2.1\", or give \"{name}\" an A or AAAA record"),
            ),
            false => (
                format!("there is nothing to probe: \"{name}\" is outside of the zone"),
                "add \"probe\": \"192.0.2.1\", an address of it; or let the check follow a name that is served here: { \"name\": \"www.example.net\" }".to_owned(),
            ),
        };
        Diagnostic::error(&self.header.file, message).at(mark.position, &*mark.path).hint(hint)
    }
}
