//! Random zones that like what has gone wrong in name servers: CNAME chains and loops inside and across zones, DNAMEs, wildcards
//! at several depths, empty non-terminals, delegations with and without DS, glue of all kinds, occluded names, MX and SRV.
//!
//! A zone is written both as Hale's JSON and as RFC 1035 text. All names in RDATA are absolute, in lower case.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::random::Random;
use super::wire::{WireName, rtype};

/// TTL of everything in a generated zone.
pub const TTL: u32 = 300;

/// A generated zone: owner (absolute, without the final dot) → type → RDATA texts. Neither SOA nor apex NS are among them.
#[derive(Clone, Debug)]
pub struct GeneratedZone {
    pub apex: String,
    pub nameservers: Vec<String>,
    pub owners: BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>,
    cuts: BTreeSet<String>,
    dnames: BTreeSet<String>,
}

const LABELS: &[&str] = &["a", "b", "c", "d", "www", "x1", "_tcp", "mail", "e-f", "0"];

/// Two zones whose chains cross. The second may be asked for names of the first.
pub fn pair(random: &mut Random) -> [GeneratedZone; 2] {
    let mut zones = ["alpha.test", "beta.test"].map(|apex| GeneratedZone {
        apex: apex.to_owned(),
        nameservers: vec![format!("ns1.{apex}"), format!("ns2.{apex}")],
        owners: BTreeMap::new(),
        cuts: BTreeSet::new(),
        dnames: BTreeSet::new(),
    });
    for zone in &mut zones {
        for (index, server) in zone.nameservers.clone().iter().enumerate() {
            zone.add(server, "A", format!("192.0.2.{}", 1 + index));
            zone.add(server, "AAAA", format!("2001:db8::{}", 1 + index));
        }
        if random.percent(70) {
            zone.add(&zone.apex.clone(), "MX", format!("10 mail.{}.", zone.apex));
        }
        if random.percent(50) {
            zone.add(&zone.apex.clone(), "TXT", "\"v=spf1 -all\"".to_owned());
        }
    }
    // Plain names first, so that there is something to point at; then what points.
    for _ in 0..2 {
        for index in 0..2 {
            for _ in 0..random.below(14) + 8 {
                grow(random, &mut zones, index);
            }
        }
    }
    zones
}

/// Adds one owner of a random kind to `zones[index]`.
fn grow(random: &mut Random, zones: &mut [GeneratedZone; 2], index: usize) {
    let target = pick_target(random, zones, index);
    let zone = &mut zones[index];
    let owner = new_name(random, zone);
    match random.below(100) {
        0..=24 => add_addresses(random, zone, &owner),
        25..=29 => zone.add(&owner, "TXT", format!("\"text {}\"", random.below(1000))),
        30..=37 => {
            for preference in 0..=random.below(3) {
                zone.add(&owner, "MX", format!("{preference} {target}."));
            }
        }
        38..=42 => zone.add(&owner, "SRV", format!("10 5 443 {target}.")),
        43..=45 => zone.add(&owner, "TYPE65400", format!("\\# 4 0a0000{:02x}", random.below(256))),
        46..=48 => zone.add(&owner, "CAA", "0 issue \"ca.test\"".to_owned()),
        49..=71 => zone.add(&owner, "CNAME", format!("{target}.")),
        72..=81 => add_dname(zone, &owner, &target),
        _ => add_delegation(random, zone, &owner, &target),
    }
    if random.percent(12) {
        let parent = parent_of(&owner);
        let wildcard = format!("*.{parent}");
        match random.below(4) {
            0 => zone.add(&wildcard, "CNAME", format!("{target}.")),
            1 => zone.add(&wildcard, "MX", format!("5 {target}.")),
            _ => add_addresses(random, zone, &wildcard),
        }
    }
}

fn add_addresses(random: &mut Random, zone: &mut GeneratedZone, owner: &str) {
    for _ in 0..=random.below(3) {
        zone.add(owner, "A", format!("192.0.2.{}", 10 + random.below(200)));
    }
    if random.percent(50) {
        zone.add(owner, "AAAA", format!("2001:db8::{:x}", 16 + random.below(4000)));
    }
    if random.percent(20) {
        zone.add(owner, "TXT", "\"beside the addresses\"".to_owned());
    }
}

/// A DNAME, unless something already lies below the owner: NSD and Knot refuse such a zone or serve the child (RFC 6672 §2.4).
fn add_dname(zone: &mut GeneratedZone, owner: &str, target: &str) {
    let below = format!(".{owner}");
    let clash = owner.starts_with('*')
        || zone.cuts.contains(owner)
        || zone.owners.keys().any(|name| name.ends_with(&below));
    if clash || zone.owners.get(owner).is_some_and(|types| types.contains_key("CNAME")) {
        return;
    }
    zone.add(owner, "DNAME", format!("{target}."));
    if zone.owners.get(owner).is_some_and(|types| types.contains_key("DNAME")) {
        zone.dnames.insert(owner.to_owned());
    }
}

/// A zone cut with every kind of name server: below the cut, beside it, in a sibling delegation, elsewhere.
fn add_delegation(random: &mut Random, zone: &mut GeneratedZone, owner: &str, target: &str) {
    let taken = zone
        .owners
        .get(owner)
        .is_some_and(|types| types.keys().any(|present| *present != "NS" && *present != "DS"));
    if taken
        || zone.is_occluded(owner)
        || owner.starts_with('*')
        || owner == zone.apex
        || zone.nameservers.iter().any(|ns| ns.ends_with(owner))
    {
        return;
    }
    for _ in 0..=random.below(2) {
        let cuts: Vec<String> = zone.cuts.iter().cloned().collect();
        let server = match random.below(6) {
            0 | 1 => format!("ns{}.{owner}", random.below(3)),
            2 if !cuts.is_empty() => format!("ns{}.{}", random.below(3), random.pick(&cuts)),
            3 => target.to_owned(),
            4 => format!("ns1.{}", zone.apex),
            _ => "ns.elsewhere.example".to_owned(),
        };
        zone.add(owner, "NS", format!("{server}."));
        let glue = server.ends_with(&format!(".{owner}")) || zone.is_occluded(&server);
        if glue && server.ends_with(&format!(".{}", zone.apex)) && random.percent(90) {
            zone.add_anywhere(&server, "A", format!("198.51.100.{}", 1 + random.below(200)));
            if random.percent(40) {
                zone.add_anywhere(&server, "AAAA", format!("2001:db8:1::{:x}", 1 + random.below(4000)));
            }
        }
    }
    zone.cuts.insert(owner.to_owned());
    if random.percent(50) {
        zone.add_anywhere(owner, "DS", format!("{} 13 2 {:064X}", random.below(65536), random.next()));
    }
    if random.percent(40) {
        zone.add_anywhere(&format!("{}.{owner}", random.pick(LABELS)), "TXT", "\"occluded\"".to_owned());
    }
}

/// A name to point at: existing ones most of all, also below DNAMEs, wildcards and cuts, in the other zone, missing, or outside.
fn pick_target(random: &mut Random, zones: &[GeneratedZone; 2], index: usize) -> String {
    let zone = if random.percent(70) { &zones[index] } else { &zones[1 - index] };
    let names: Vec<&String> = zone.owners.keys().collect();
    let name = random.pick(&names).replace("*.", "");
    match random.below(20) {
        0..=11 => name,
        12..=14 => format!("{}.{name}", random.pick(LABELS)),
        15 => format!("missing.{}", zone.apex),
        16 => zone.apex.clone(),
        17 if !zone.dnames.is_empty() => {
            let dnames: Vec<&String> = zone.dnames.iter().collect();
            format!("{}.{}", random.pick(LABELS), random.pick(&dnames))
        }
        _ => "www.elsewhere.example".to_owned(),
    }
}

/// A new or existing owner name, sometimes several labels below what exists, so that empty non-terminals arise.
fn new_name(random: &mut Random, zone: &GeneratedZone) -> String {
    let names: Vec<&String> = zone.owners.keys().collect();
    let mut name = if random.percent(50) { zone.apex.clone() } else { random.pick(&names).replace("*.", "") };
    for _ in 0..=random.below(3) {
        if name.len() > 180 {
            break;
        }
        name = format!("{}.{name}", random.pick(LABELS));
    }
    if random.percent(8) {
        name = format!("*.{name}");
    }
    name
}

fn parent_of(name: &str) -> &str {
    name.split_once('.').unwrap().1
}

impl GeneratedZone {
    /// Whether the name lies below a zone cut or a DNAME.
    fn is_occluded(&self, name: &str) -> bool {
        self.cuts.iter().chain(&self.dnames).any(|above| name.ends_with(&format!(".{above}")))
    }

    /// Adds a record where it can stand: not below a cut or a DNAME, not beside a CNAME, not beside an NS.
    fn add(&mut self, owner: &str, rtype: &'static str, rdata: String) {
        let cut = self.cuts.contains(owner);
        if !self.is_occluded(owner) && (!cut || rtype == "NS") {
            self.add_anywhere(owner, rtype, rdata);
        }
    }

    fn add_anywhere(&mut self, owner: &str, rtype: &'static str, rdata: String) {
        let below_dname = self.dnames.iter().any(|above| owner.ends_with(&format!(".{above}")));
        let inside = owner == self.apex || owner.ends_with(&format!(".{}", self.apex));
        if below_dname || !inside {
            return;
        }
        let types = self.owners.entry(owner.to_owned()).or_default();
        let single = matches!(rtype, "CNAME" | "DNAME");
        let alone = |types: &BTreeMap<&str, BTreeSet<String>>| types.keys().any(|present| *present != rtype);
        if types.contains_key("CNAME") || rtype == "CNAME" && (alone(types) || owner == self.apex) {
            if types.is_empty() {
                self.owners.remove(owner);
            }
            return;
        }
        // A cut holds NS and DS only; what stands there already makes it no cut.
        if rtype == "NS" && types.keys().any(|present| !matches!(*present, "NS" | "DS")) {
            return;
        }
        let set = types.entry(rtype).or_default();
        if !single || set.is_empty() {
            set.insert(rdata);
        }
    }

    /// RFC 1035 text with this SOA RDATA.
    pub fn to_text(&self, soa: &str) -> String {
        let mut text = format!("$ORIGIN {0}.\n$TTL {TTL}\n{0}. SOA {soa}\n", self.apex);
        for server in &self.nameservers {
            writeln!(text, "{}. NS {server}.", self.apex).unwrap();
        }
        for (owner, types) in &self.owners {
            for (rtype, set) in types {
                for rdata in set {
                    writeln!(text, "{owner}. {rtype} {rdata}").unwrap();
                }
            }
        }
        text
    }

    /// Hale's zone file, with a `dnssec` block if one is given (as JSON).
    pub fn to_json(&self, dnssec: Option<&str>) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut json = format!(
            "{{\n  \"zone\": \"{}\",\n  \"nameservers\": [{}],\n  \"default_ttl\": {TTL},\n  \"soa\": {{ \"ttl\": {TTL}, \"minimum\": {TTL} }},\n",
            self.apex,
            self.nameservers.iter().map(|server| quoted(server)).collect::<Vec<_>>().join(", ")
        );
        if let Some(block) = dnssec {
            writeln!(json, "  \"dnssec\": {block},").unwrap();
        }
        json.push_str("  \"records\": {");
        for (index, (owner, types)) in self.owners.iter().enumerate() {
            let relative = owner.strip_suffix(&self.apex).unwrap().trim_end_matches('.');
            let key = if relative.is_empty() { "@" } else { relative };
            write!(json, "{}\n    {}: {{", if index == 0 { "" } else { "," }, quoted(key)).unwrap();
            for (position, (rtype, set)) in types.iter().enumerate() {
                let data = set.iter().map(|rdata| quoted(rdata)).collect::<Vec<_>>();
                let data = if matches!(*rtype, "CNAME" | "DNAME") {
                    data[0].clone()
                } else {
                    format!("[{}]", data.join(", "))
                };
                write!(json, "{} \"{rtype}\": {data}", if position == 0 { "" } else { "," }).unwrap();
            }
            json.push_str(" }");
        }
        json.push_str("\n  }\n}\n");
        json
    }

    /// A name to ask for: owners, their ancestors (ENTs), descendants and siblings, `*` itself, and the other zone's.
    pub fn query_name(&self, random: &mut Random) -> WireName {
        let names: Vec<&String> = self.owners.keys().collect();
        let mut name = (*random.pick(&names)).clone();
        match random.below(20) {
            0..=7 => {}
            8..=10 => name = format!("{}.{}", random.pick(LABELS), name.replace("*.", "")),
            11..=12 => {
                name = format!("{}.{}.{}", random.pick(LABELS), random.pick(LABELS), name.replace("*.", ""));
            }
            13..=15 if name != self.apex => name = parent_of(&name).to_owned(),
            16 if name != self.apex => name = format!("{}.{}", random.pick(LABELS), parent_of(&name)),
            17 => name = format!("*.{}", name.replace("*.", "")),
            18 => name = self.apex.clone(),
            _ => name = format!("missing{}.{}", random.below(10), self.apex),
        }
        let mut name = WireName::new(&name);
        if random.percent(20) {
            for octet in &mut name.0 {
                if octet.is_ascii_lowercase() && random.percent(50) {
                    *octet = octet.to_ascii_uppercase();
                }
            }
        }
        name
    }
}

/// A type to ask for.
pub fn query_type(random: &mut Random) -> u16 {
    *random.pick(&[
        rtype::A,
        rtype::A,
        rtype::A,
        rtype::AAAA,
        rtype::AAAA,
        rtype::MX,
        rtype::TXT,
        rtype::NS,
        rtype::SOA,
        rtype::CNAME,
        rtype::DNAME,
        rtype::DS,
        rtype::SRV,
        rtype::NSEC,
        rtype::DNSKEY,
        rtype::CAA,
        rtype::ANY,
        65400,
        // Asked for although nothing in the zone has it.
        rtype::HINFO,
    ])
}
