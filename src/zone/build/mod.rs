//! Builds a [`DesiredZone`] from a zone file's header and its owners, which are streamed one by one.

mod owner;
mod soa;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::check::{self, Link, Mark, Placed};
use super::desired::{DesiredOwner, DesiredZone, Place};
use crate::config::{Order, OwnerConfig, ZoneHeader};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::{Name, NameError};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::ttl::MAX_TTL;

/// Collects the owners of one zone: of the primary apex, or of one alias, which is a complete zone made of the same owners.
///
/// Names in diagnostics are relative to the apex, as they are in the file; a finding that holds for every alias is thus the same
/// for every alias.
#[derive(Debug)]
pub struct Builder<'h> {
    header: &'h ZoneHeader,
    apex: Name,
    owners: BTreeMap<Name, Placed>,
    links: Vec<Link>,
    /// Owners with checked addresses, with the first checked one's place.
    checked: Vec<(Name, Mark)>,
    /// The first NS target written under `@`.
    first_apex_ns: Option<Name>,
    /// Seconds.
    smallest_auto_ttl: Option<u32>,
    diagnostics: Vec<Diagnostic>,
}

impl<'h> Builder<'h> {
    /// An empty zone at `apex`, which is the header's own or one of its aliases.
    pub fn new(header: &'h ZoneHeader, apex: &Name) -> Self {
        Self {
            header,
            apex: apex.clone(),
            owners: BTreeMap::new(),
            links: Vec::new(),
            checked: Vec::new(),
            first_apex_ns: None,
            smallest_auto_ttl: None,
            diagnostics: Vec::new(),
        }
    }

    /// Adds one owner. What is wrong with it is told by [`Builder::finish`].
    pub fn owner(&mut self, config: OwnerConfig) {
        let position = config.position;
        let name = match join(&config.relative, &self.apex) {
            Ok(name) => name,
            Err(error) => {
                let path = check::owner_path(&config.relative);
                let message = format!("the owner's name under {}: {error}", self.apex);
                self.diagnostics.push(Diagnostic::error(&self.header.file, message).at(position, path).hint(
                    "shorten it: labels have up to 63 octets, whole names up to 255 (RFC 1035 §2.3.4)",
                ));
                return;
            }
        };
        if let Some(first) = self.owners.get(&name).map(|placed| placed.position) {
            let message = format!("the owner \"{}\" stands twice", check::relative(&name, &self.apex));
            let hint = format!(
                "it is first given at {}:{}; upper and lower case are the same name, and so are a character and its escape",
                first.line, first.column
            );
            let path = check::owner_path(&config.relative);
            self.diagnostics
                .push(Diagnostic::error(&self.header.file, message).at(position, path).hint(hint));
            return;
        }
        self.add_owner(name, config);
    }

    /// The zone with all warnings, or all errors (and warnings), in the order of the file.
    ///
    /// # Errors
    /// Whatever keeps the zone from being served; see [`crate::zone::check`] for the rules.
    pub fn finish(mut self) -> Result<(DesiredZone, Vec<Diagnostic>), Vec<Diagnostic>> {
        self.apex_ns();
        let soa = self.soa();
        place_owners(&mut self.owners, &self.apex);
        let scope = check::Scope {
            header: self.header,
            apex: &self.apex,
            owners: &self.owners,
            links: &self.links,
            checked: &self.checked,
        };
        check::whole_zone(&scope, &mut self.diagnostics);
        let mut diagnostics = self.diagnostics;
        diagnostics.sort_by_key(|d| d.position);
        match soa {
            Some(soa) if !diagnostics.iter().any(Diagnostic::is_error) => {
                let owners = self.owners.into_iter().map(|(name, placed)| (name, placed.owner)).collect();
                Ok((DesiredZone { apex: self.apex, soa, owners }, diagnostics))
            }
            _ => Err(diagnostics),
        }
    }

    /// The apex's NS RRset: `nameservers`, and what is written under `@`.
    fn apex_ns(&mut self) {
        let nameservers = self.header.nameservers.iter().enumerate();
        for (i, nameserver) in nameservers.filter(|(_, name)| name.is_at_or_below(&self.apex)) {
            self.links.push(Link {
                owner: self.apex.clone(),
                rtype: RrType::NS,
                target: nameserver.clone(),
                mark: Mark { position: self.header.position, path: format!("nameservers[{i}]").into() },
                written: None,
                follow: true,
                hints: false,
            });
        }
        let given = self.header.nameservers.iter().map(|name| name.wire().to_vec());
        let owner = &mut self
            .owners
            .entry(self.apex.clone())
            .or_insert_with(|| Placed {
                position: self.header.position,
                owner: DesiredOwner {
                    place: Place::Apex,
                    rrsets: Vec::new(),
                    checked: None,
                    order: Order::default(),
                },
            })
            .owner;
        match owner.rrsets.iter_mut().find(|rrset| rrset.rtype == RrType::NS) {
            Some(written) => {
                written.rdata = RdataSet::new(written.rdata.iter().map(<[u8]>::to_vec).chain(given));
            }
            None if self.header.nameservers.is_empty() => self.diagnostics.push(
                Diagnostic::error(&self.header.file, "the zone has no name server")
                    .at(self.header.position, "nameservers")
                    .hint("add \"nameservers\": [\"ns1.example.net\"] with the names that the parent zone delegates to"),
            ),
            None => owner.rrsets.push(Rrset {
                rtype: RrType::NS,
                ttl: self.header.default_ttl.min(MAX_TTL),
                rdata: RdataSet::new(given),
            }),
        }
        owner.rrsets.sort_by_key(|rrset| rrset.rtype);
    }
}

/// `relative`, which is a name below the root, below `apex` instead.
fn join(relative: &Name, apex: &Name) -> Result<Name, NameError> {
    let (_root, labels) = relative.wire().split_last().ok_or(NameError::Malformed)?;
    Name::from_wire(&[labels, apex.wire()].concat())
}

/// Sets each owner's place. Names below an owner directly follow it in canonical order, so that one pass will do.
fn place_owners(owners: &mut BTreeMap<Name, Placed>, apex: &Name) {
    let mut top: Option<Name> = None;
    for (name, Placed { owner, .. }) in owners.iter_mut() {
        if top.as_ref().is_some_and(|top| name.is_below(top)) {
            owner.place = Place::Occluded;
            continue;
        }
        let holds = |rtype: RrType| owner.rrsets.iter().any(|rrset| rrset.rtype == rtype);
        owner.place = match name == apex {
            true => Place::Apex,
            false if holds(RrType::NS) => Place::Cut,
            false => Place::Authoritative,
        };
        if owner.place == Place::Cut || holds(RrType::DNAME) {
            top = Some(name.clone());
        }
    }
}
