//! Builds a [`DesiredZone`] from a zone file's header and its owners, which are streamed one by one.

mod owner;
mod records;
#[cfg(test)]
mod records_tests;
mod soa;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::check::{self, Link, Mark};
use super::desired::{DesiredOwner, DesiredZone, Place};
use super::owners::{Owners, Placed};
use crate::config::{Order, OwnerConfig, ZoneHeader, ZoneReader, stands_twice};
use crate::model::breather::Breather;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::{Name, NameError};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::model::ttl::MAX_TTL;
use records::Waiting;

/// Reads the records of a zone file and builds the zone at `apex`, which is the file's own or one of its aliases, on up to `threads`
/// threads. Gives nothing if there is any error, and all that was found, in the order of the file.
pub fn read(reader: &ZoneReader, apex: &Name, threads: usize) -> (Option<DesiredZone>, Vec<Diagnostic>) {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Builder<'_>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let part = next.fetch_add(1, Ordering::Relaxed);
            if part >= reader.parts() {
                return;
            }
            let mut builder = Builder::new(reader.header(), apex);
            let mut found = Vec::new();
            let mut breather = Breather::new();
            let mut next = |owner| {
                breather.breathe();
                builder.owner(owner);
            };
            reader.part(part, &mut next, &mut found);
            builder.diagnostics.append(&mut found);
            done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((part, builder));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(reader.parts()) {
            scope.spawn(work);
        }
        work();
    });
    let mut parts = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    parts.sort_unstable_by_key(|(part, _)| *part);
    let mut whole = Builder::new(reader.header(), apex);
    whole.owners.reserve_exact(parts.iter().map(|(_, part)| part.owners.len()).sum());
    parts.into_iter().for_each(|(_, part)| whole.append(part));
    match whole.finish() {
        Ok((zone, warnings)) => (Some(zone), warnings),
        Err(found) => (None, found),
    }
}

/// Collects the owners of one zone: of the primary apex, or of one alias, which is a complete zone made of the same owners.
///
/// Names in diagnostics are relative to the apex, as they are in the file; a finding that holds for every alias is thus the same
/// for every alias.
#[derive(Debug)]
pub struct Builder<'h> {
    header: &'h ZoneHeader,
    apex: Name,
    /// In the order of the file.
    owners: Vec<Placed>,
    links: Vec<Link>,
    /// Owners with checked records, with the first checked one's place.
    checked: Vec<(Name, Mark)>,
    /// The first NS target written under `@`.
    first_apex_ns: Option<Name>,
    /// Seconds.
    smallest_auto_ttl: Option<u32>,
    /// Checked records that wait for the addresses of the hosts they lead to.
    waiting: Vec<Waiting>,
    /// Owners of which something was reported as wrong when they were read.
    broken: HashSet<Name>,
    diagnostics: Vec<Diagnostic>,
}

impl<'h> Builder<'h> {
    /// An empty zone at `apex`, which is the header's own or one of its aliases.
    pub fn new(header: &'h ZoneHeader, apex: &Name) -> Self {
        Self {
            header,
            apex: apex.clone(),
            owners: Vec::new(),
            links: Vec::new(),
            checked: Vec::new(),
            first_apex_ns: None,
            smallest_auto_ttl: None,
            waiting: Vec::new(),
            broken: HashSet::new(),
            diagnostics: Vec::new(),
        }
    }

    /// Adds one owner. What is wrong with it is told by [`Builder::finish`].
    pub fn owner(&mut self, config: OwnerConfig) {
        match join(&config.relative, &self.apex) {
            Ok(name) => self.add_owner(name, config),
            Err(error) => {
                let path = check::owner_path(&config.relative);
                let message = format!("the owner's name under {}: {error}", self.apex);
                self.diagnostics.push(
                    Diagnostic::error(&self.header.file, message).at(config.position, path).hint(
                        "shorten it: labels have up to 63 octets, whole names up to 255 (RFC 1035 §2.3.4)",
                    ),
                );
            }
        }
    }

    /// Adds what another one, of the same zone, has collected from further behind in the file.
    fn append(&mut self, mut later: Self) {
        self.owners.append(&mut later.owners);
        self.links.append(&mut later.links);
        self.checked.append(&mut later.checked);
        self.waiting.append(&mut later.waiting);
        self.broken.extend(later.broken);
        self.diagnostics.append(&mut later.diagnostics);
        self.first_apex_ns = self.first_apex_ns.take().or(later.first_apex_ns);
        self.smallest_auto_ttl = match (self.smallest_auto_ttl, later.smallest_auto_ttl) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// The zone with all warnings, or all errors (and warnings), in the order of the file.
    ///
    /// # Errors
    /// Whatever keeps the zone from being served; see [`crate::zone::check`] for the rules.
    pub fn finish(mut self) -> Result<(DesiredZone, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (mut owners, twins) = Owners::sorted(&self.apex, std::mem::take(&mut self.owners));
        for (Placed { name, position, .. }, first) in twins {
            let relative = check::below_root(&name, &self.apex);
            let (message, hint) = stands_twice(&relative, first);
            let twin =
                Diagnostic::error(&self.header.file, message).at(position, check::owner_path(&relative));
            self.diagnostics.push(twin.hint(hint));
        }
        self.apex_ns(&mut owners);
        let soa = self.soa();
        place_owners(&mut owners, &self.apex);
        self.settle(&mut owners);
        let scope = check::Scope {
            header: self.header,
            apex: &self.apex,
            owners: &owners,
            links: &self.links,
            checked: &self.checked,
            broken: &self.broken,
        };
        check::whole_zone(&scope, &mut self.diagnostics);
        let mut diagnostics = self.diagnostics;
        diagnostics.sort_by_key(|d| d.position);
        // What is wrong with a shared pool is found in each part of the file that uses it.
        diagnostics.dedup();
        match soa {
            Some(soa) if !diagnostics.iter().any(Diagnostic::is_error) => {
                Ok((DesiredZone { apex: self.apex, soa, owners }, diagnostics))
            }
            _ => Err(diagnostics),
        }
    }

    /// The apex's NS RRset: `nameservers`, and what is written under `@`.
    fn apex_ns(&mut self, owners: &mut Owners) {
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
        let owner = owners.get_or_insert(&self.apex, || Placed {
            name: self.apex.clone(),
            position: self.header.position,
            owner: DesiredOwner {
                place: Place::Apex,
                rrsets: Vec::new(),
                checked: None,
                order: Order::default(),
                alias: None,
            },
        });
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
fn place_owners(owners: &mut Owners, apex: &Name) {
    let mut top: Option<Name> = None;
    for (name, owner) in owners.owners_mut() {
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
