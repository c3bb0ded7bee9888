//! Rules that need the whole zone.

use std::collections::HashSet;
use std::net::IpAddr;

use super::{Link, Mark, below_root, owner_path, relative};
use crate::config::ZoneHeader;
use crate::model::check::CheckKind;
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::target::EndpointData;
use crate::zone::desired::{Checked, DesiredOwner, Place};
use crate::zone::owners::{Owners, Placed};

/// A zone whose owners have their places.
#[derive(Clone, Copy, Debug)]
pub(in crate::zone) struct Scope<'a> {
    pub(in crate::zone) header: &'a ZoneHeader,
    pub(in crate::zone) apex: &'a Name,
    pub(in crate::zone) owners: &'a Owners,
    pub(in crate::zone) links: &'a [Link],
    pub(in crate::zone) checked: &'a [(Name, Mark)],
    /// Owners of which something was reported as wrong: what they seem to lack may be that.
    pub(in crate::zone) broken: &'a HashSet<Name>,
}

/// What hides the names below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    Delegation,
    Dname,
}

/// What the zone has at a name.
struct Found<'a> {
    /// The owner that hides the name, which lies below it.
    cover: Option<(Cover, Name)>,
    /// The owner itself, or the wildcard that answers for it.
    owner: Option<&'a DesiredOwner>,
    /// Whether the name exists, if only as an empty non-terminal or by a wildcard.
    exists: bool,
}

/// Checks the zone.
pub(in crate::zone) fn check(scope: &Scope<'_>, out: &mut Vec<Diagnostic>) {
    for link in scope.links {
        scope.check_link(link, out);
    }
    scope.check_hidden(out);
    for (name, mark) in scope.checked {
        scope.check_glue(name, mark, out);
        scope.check_follows(name, mark, out);
    }
}

fn holds(owner: &DesiredOwner, rtype: RrType) -> bool {
    let is_checked = |checked: &Checked| checked.endpoints.iter().any(|e| e.data.rtype() == rtype);
    owner.rrsets.iter().any(|rrset| rrset.rtype == rtype) || owner.checked.as_deref().is_some_and(is_checked)
}

fn has_addresses(owner: &DesiredOwner) -> bool {
    owner.alias.is_some() || holds(owner, RrType::A) || holds(owner, RrType::AAAA)
}

fn has_checked_addresses(owner: &DesiredOwner) -> bool {
    owner.checked.as_ref().is_some_and(|checked| checked.decides(RrType::A))
}

/// Aliases that are followed to addresses within a zone.
const MAX_ALIASES: usize = 8;

impl<'a> Scope<'a> {
    /// The addresses that the zone declares of a name, whatever health says of them; those of the names that it is an alias of.
    pub(in crate::zone) fn addresses(&self, name: &Name) -> Vec<IpAddr> {
        let mut found = Vec::new();
        self.add_addresses(name, MAX_ALIASES, &mut found);
        found
    }

    fn add_addresses(&self, name: &Name, aliases_left: usize, out: &mut Vec<IpAddr>) {
        if !name.is_at_or_below(self.apex) {
            return;
        }
        let Found { cover, owner, .. } = self.find(name);
        let Some(owner) = owner.filter(|_| !matches!(cover, Some((Cover::Dname, _)))) else { return };
        let mut add = |address: IpAddr| {
            if !out.contains(&address) {
                out.push(address);
            }
        };
        let checked = || owner.checked.iter().flat_map(|checked| &checked.endpoints).map(|e| &e.data);
        checked().filter_map(EndpointData::address).for_each(&mut add);
        let of = |rtype: RrType| owner.rrsets.iter().filter(move |set| set.rtype == rtype);
        let v4 = of(RrType::A).flat_map(|set| set.rdata.iter()).filter_map(|a| <[u8; 4]>::try_from(a).ok());
        v4.map(IpAddr::from).for_each(&mut add);
        let v6 =
            of(RrType::AAAA).flat_map(|set| set.rdata.iter()).filter_map(|a| <[u8; 16]>::try_from(a).ok());
        v6.map(IpAddr::from).for_each(&mut add);
        let plain =
            of(RrType::CNAME).flat_map(|set| set.rdata.iter()).filter_map(|n| Name::from_wire(n).ok());
        let aliases = checked().filter(|data| data.rtype() == RrType::CNAME).filter_map(EndpointData::host);
        if let Some(left) = aliases_left.checked_sub(1) {
            aliases.chain(plain).for_each(|target| self.add_addresses(&target, left, out));
        }
    }

    fn get(&self, name: &Name) -> Option<&'a DesiredOwner> {
        self.owners.get(name)
    }

    /// Whether there is an owner at the name or below it (RFC 4592 §2.2.2).
    fn exists(&self, name: &Name) -> bool {
        self.owners.exists(name)
    }

    /// The names above one, up to the apex.
    fn above(&self, name: &Name) -> impl Iterator<Item = Name> + use<'a> {
        let apex = self.apex;
        std::iter::successors(name.parent(), Name::parent).take_while(|above| above.is_at_or_below(apex))
    }

    fn cover(&self, name: &Name) -> Option<(Cover, Name)> {
        self.above(name).find_map(|above| {
            let owner = self.get(&above)?;
            match owner.place {
                Place::Cut => Some((Cover::Delegation, above)),
                // What is occluded itself hides nothing more.
                Place::Apex | Place::Authoritative if holds(owner, RrType::DNAME) => {
                    Some((Cover::Dname, above))
                }
                _ => None,
            }
        })
    }

    fn find(&self, name: &Name) -> Found<'a> {
        let cover = self.cover(name);
        if self.exists(name) {
            return Found { cover, owner: self.get(name), exists: true };
        }
        // RFC 4592 §3.3.1: only the wildcard below the closest encloser counts.
        let closest_encloser = self.above(name).find(|above| self.exists(above));
        let wildcard =
            closest_encloser.and_then(|encloser| encloser.prepend(b"*").ok()).and_then(|w| self.get(&w));
        Found { cover, owner: wildcard, exists: wildcard.is_some() }
    }

    fn name(&self, name: &Name) -> String {
        relative(name, self.apex)
    }

    fn check_link(&self, link: &Link, out: &mut Vec<Diagnostic>) {
        if self.broken.contains(&link.target) {
            return;
        }
        let found = self.find(&link.target);
        let is_held = found.exists || found.cover.is_some();
        if let Some(written) = link.written.as_deref().filter(|_| !is_held) {
            let message = format!("\"{written}\" is relative to the zone, which does not hold it");
            let hint = format!("write \"{written}.\" if the name is absolute");
            out.push(
                Diagnostic::error(&self.header.file, message)
                    .at(link.mark.position, &*link.mark.path)
                    .hint(hint),
            );
            return;
        }
        if !link.follow {
            return;
        }
        if link.hints && found.owner.is_some_and(has_checked_addresses) {
            let message =
                format!("address hints bypass the health checks of \"{}\"", self.name(&link.target));
            out.push(self.warning(&link.mark, message, "leave ipv4hint and ipv6hint out (RFC 9460 §7.3)"));
        }
        match link.rtype {
            RrType::NS | RrType::MX | RrType::SRV => self.check_host(link, &found, out),
            _ if !is_held => out.push(self.dangling(link)),
            _ => {}
        }
    }

    /// Targets that must be hosts: RFC 2181 §10.3 for NS and MX, RFC 2782 for SRV.
    fn check_host(&self, link: &Link, found: &Found<'_>, out: &mut Vec<Diagnostic>) {
        let (rtype, target) = (link.rtype, self.name(&link.target));
        let below_delegation = matches!(found.cover, Some((Cover::Delegation, _)));
        let is_alias = matches!(found.cover, Some((Cover::Dname, _)))
            || (!below_delegation && found.owner.is_some_and(|owner| holds(owner, RrType::CNAME)));
        if is_alias {
            let message = format!("the {rtype} target \"{target}\" is an alias");
            let rfc = if rtype == RrType::SRV { "RFC 2782" } else { "RFC 2181 §10.3" };
            let hint = format!(
                "name a host with addresses of its own ({rfc}); many resolvers do not follow an alias here"
            );
            out.push(self.warning(&link.mark, message, &hint));
            return;
        }
        if found.owner.is_some_and(has_addresses) {
            return;
        }
        if rtype == RrType::NS {
            // A name in another child zone resolves there; one at or below its own delegation cannot without glue.
            if !below_delegation || link.target.is_at_or_below(&link.owner) {
                let message = format!("the name server \"{target}\" has no address");
                out.push(self.warning(
                    &link.mark,
                    message,
                    &format!("give \"{target}\" an A or AAAA record (RFC 1034 §4.2.1)"),
                ));
            }
        } else if below_delegation {
            // Its addresses stand in the child zone.
        } else if found.exists {
            let message = format!("the {rtype} target \"{target}\" has no address");
            out.push(self.warning(&link.mark, message, &format!("give \"{target}\" an A or AAAA record")));
        } else {
            out.push(self.dangling(link));
        }
    }

    fn dangling(&self, link: &Link) -> Diagnostic {
        let target = self.name(&link.target);
        // What an ALIAS leads to is looked up as a CNAME's target would be.
        let is_host = link.mark.path.ends_with(".ALIAS");
        let what = if is_host { "ALIAS".to_owned() } else { link.rtype.to_string() };
        let message = format!("the {what} target \"{target}\" does not exist in the zone");
        let hint = if link.target.label_count() == self.apex.label_count() + 1 {
            format!("add \"{target}\" to the records, or end a name outside of the zone in a dot")
        } else {
            format!("add \"{target}\" to the records, or correct the name")
        };
        self.warning(&link.mark, message, &hint)
    }

    /// Records that a delegation or a DNAME above them hides. Addresses that an NS record points to are glue, and served in referrals.
    fn check_hidden(&self, out: &mut Vec<Diagnostic>) {
        let servers: HashSet<&Name> =
            self.links.iter().filter(|link| link.rtype == RrType::NS).map(|link| &link.target).collect();
        for Placed { name, owner, position } in self.owners.iter() {
            if matches!(owner.place, Place::Apex | Place::Authoritative) {
                continue;
            }
            let is_glue = servers.contains(name);
            let cover = match owner.place {
                // What else stands at a cut was said when the owner was read.
                Place::Cut if is_glue || !has_addresses(owner) => continue,
                Place::Cut => Some((Cover::Delegation, name.clone())),
                _ => self.cover(name),
            };
            let Some((cover, above)) = cover else { continue };
            let (what, why) = match cover {
                Cover::Dname => ("DNAME", "names below a DNAME are answered by it (RFC 6672 §2.4)"),
                Cover::Delegation => (
                    "delegation",
                    "they belong into the child zone; only addresses of its name servers are served from here, as glue",
                ),
            };
            let is_address = |rtype: RrType| matches!(rtype, RrType::A | RrType::AAAA);
            let all_addresses =
                owner.place == Place::Cut || owner.rrsets.iter().all(|rrset| is_address(rrset.rtype));
            if cover == Cover::Delegation && is_glue && all_addresses {
                continue;
            }
            let above = self.name(&above);
            let message =
                format!("records of \"{}\" are hidden by the {what} at \"{above}\"", self.name(name));
            out.push(self.warning(&self.owner_mark(name, *position), message, why));
        }
    }

    /// Glue is what the parent says about the child's hosts: taking it away cuts the child off, and nothing signs it.
    fn check_glue(&self, name: &Name, mark: &Mark, out: &mut Vec<Diagnostic>) {
        let Some(owner) = self.get(name) else { return };
        let cut = match owner.place {
            Place::Cut => Some(name.clone()),
            Place::Occluded => {
                self.cover(name).filter(|(cover, _)| *cover == Cover::Delegation).map(|(_, above)| above)
            }
            Place::Apex | Place::Authoritative => None,
        };
        if let Some(cut) = cut {
            let (name, cut) = (self.name(name), self.name(&cut));
            let (what, hint) = match owner.checked.as_ref().and_then(|checked| checked.policy.as_ref()) {
                Some(_) => ("policy", "leave the policy out here; the child zone can have it"),
                None => ("check", "leave the check out here; the child zone can check them"),
            };
            let message = match has_checked_addresses(owner) {
                true => {
                    format!("a {what} on \"{name}\", whose addresses are glue of the delegation \"{cut}\"")
                }
                false => format!("a {what} on \"{name}\", which the delegation \"{cut}\" hides"),
            };
            out.push(Diagnostic::error(&self.header.file, message).at(mark.position, &*mark.path).hint(hint));
        }
    }

    /// A check that follows a name of this zone needs that name to have a verdict.
    fn check_follows(&self, name: &Name, mark: &Mark, out: &mut Vec<Diagnostic>) {
        let endpoints = self.get(name).into_iter().flat_map(|o| &o.checked).flat_map(|c| &c.endpoints);
        let mut told = HashSet::new();
        for condition in endpoints.filter_map(|endpoint| endpoint.condition.as_ref()) {
            condition.for_each_target(&mut |target| {
                let CheckKind::Name(followed) = &target.check.kind else { return };
                let is_here = followed.is_at_or_below(self.apex);
                let has_verdict =
                    |o: &DesiredOwner| o.checked.is_some() || has_addresses(o) || holds(o, RrType::CNAME);
                if is_here && !self.get(followed).is_some_and(has_verdict) && told.insert(followed.clone()) {
                    let message =
                        format!("the check follows \"{}\", which has no address", self.name(followed));
                    let hint = "follow an owner with addresses; a wildcard does not stand in for it";
                    out.push(
                        Diagnostic::error(&self.header.file, message)
                            .at(mark.position, &*mark.path)
                            .hint(hint),
                    );
                }
            });
        }
    }

    fn owner_mark(&self, name: &Name, position: Position) -> Mark {
        let path = owner_path(&below_root(name, self.apex));
        Mark { position, path: path.into() }
    }

    fn warning(&self, mark: &Mark, message: String, hint: &str) -> Diagnostic {
        Diagnostic::warning(&self.header.file, message).at(mark.position, &*mark.path).hint(hint)
    }
}
