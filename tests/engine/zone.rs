//! Small zones from text, compiled; signatures are of the right shape and otherwise made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use hale::model::hash::HashKey;
use hale::model::name::Name;
use hale::model::pick::{Candidate, Pick, seed};
use hale::model::prefixes::PrefixTableBuilder;
use hale::model::rdata;
use hale::model::rrset::{RdataSet, Rrset};
use hale::model::rrtype::RrType;
use hale::snapshot::image::{Choice, Note, OwnerRecords, ServedRrset};
use hale::snapshot::{Snapshot, ZoneDraft, ZoneImage};

pub(crate) fn key() -> HashKey {
    HashKey::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210])
}

/// A name that the test itself spells.
pub(crate) fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn rrtype(text: &str) -> RrType {
    text.parse().unwrap_or_else(|()| panic!("no type {text}"))
}

/// Reads `owner [TTL] TYPE RDATA` lines, and `!pending|!withheld|!empty|!rotate|!stale|!all|!fallback owner TYPE`; `;` starts a comment.
/// `!weighted|!hashed|!geo owner TYPE` makes three answers of the one that is there, which differ in their last octet.
pub(crate) fn owners(apex: &Name, text: &str) -> BTreeMap<Name, OwnerRecords> {
    let mut owners: BTreeMap<Name, OwnerRecords> = BTreeMap::new();
    for line in text.lines().map(|l| l.split(';').next().unwrap_or("").trim()).filter(|l| !l.is_empty()) {
        let (head, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let (mark, at, rest) = match head.strip_prefix('!') {
            Some(mark) => {
                let (at, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                (Some(mark), at, rest.trim())
            }
            None => (None, head, rest),
        };
        let at = Name::parse_relative_to(at, apex).unwrap_or_else(|e| panic!("{line}: {e}"));
        let owner = owners.entry(at.clone()).or_insert_with(|| OwnerRecords {
            name: at,
            rrsets: Vec::new(),
            choices: Vec::new(),
            pending: Vec::new(),
            withheld: Vec::new(),
        });
        if let Some(mark) = mark {
            apply_mark(owner, mark, rest);
            continue;
        }
        let (first, rdata) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let (ttl, rtype, rdata) = match first.parse::<u32>() {
            Ok(ttl) => {
                let (rtype, rdata) = rdata.trim().split_once(char::is_whitespace).unwrap_or((rdata, ""));
                (ttl, rtype, rdata)
            }
            Err(_) => (300, first, rdata),
        };
        let rtype = rrtype(rtype);
        let wire = rdata::parse(rtype, rdata.trim(), apex).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        add(owner, rtype, ttl, wire);
    }
    owners
}

fn apply_mark(owner: &mut OwnerRecords, mark: &str, rtype: &str) {
    let set = |owner: &mut OwnerRecords, change: &dyn Fn(&mut ServedRrset)| {
        let wanted = rrtype(rtype);
        owner.rrsets.iter_mut().filter(|r| r.rrset.rtype == wanted).for_each(change);
    };
    match mark {
        "pending" => owner.pending.push(rrtype(rtype)),
        "withheld" => owner.withheld.push(rrtype(rtype)),
        "empty" => {}
        "rotate" => set(owner, &|r| r.rotate = true),
        "stale" => set(owner, &|r| r.note = Note::Stale),
        "all" => set(owner, &|r| r.note = Note::AllDownServingAll),
        "fallback" => set(owner, &|r| r.note = Note::Fallback),
        "weighted" | "hashed" | "geo" => choose(owner, rrtype(rtype), mark),
        _ => panic!("no mark {mark}"),
    }
}

/// Three answers of a type: with weights of 1, 2 and 3, by the client's network, or by three networks and a default.
fn choose(owner: &mut OwnerRecords, rtype: RrType, policy: &str) {
    let Some(default) = owner.rrsets.iter().find(|r| r.rrset.rtype == rtype).cloned() else {
        panic!("{}: nothing to choose among", owner.name)
    };
    let others = (1..3u8).map(|n| {
        let mut other = default.clone();
        let rdata = default.rrset.rdata.iter().map(|rdata| {
            let mut rdata = rdata.to_vec();
            if let Some(last) = rdata.last_mut() {
                *last += n;
            }
            rdata
        });
        other.rrset.rdata = RdataSet::new(rdata.collect::<Vec<_>>());
        other
    });
    let others = others.collect();
    let pick = match policy {
        "weighted" => Pick::Weighted((0..3).map(|n| (u32::from(n) + 1, Pick::Set(n))).collect()),
        "hashed" => {
            let candidate =
                |n: u16| Candidate { seed: seed(&n.to_be_bytes()), weight: 1, pick: Pick::Set(n) };
            Pick::Hashed((0..3).map(candidate).collect())
        }
        _ => {
            let mut table = PrefixTableBuilder::new(0);
            for (network, bits, branch) in
                [([10, 0, 0, 0], 8, 1), ([192, 0, 0, 0], 16, 2), ([192, 0, 2, 0], 24, 1)]
            {
                table.set(network.into(), bits, branch);
            }
            Pick::Geo(Arc::new(table.finish()), (0..3).map(Pick::Set).collect())
        }
    };
    owner.choices.push(Choice { rtype, others, pick });
}

fn add(owner: &mut OwnerRecords, rtype: RrType, ttl: u32, wire: Vec<u8>) {
    match owner.rrsets.iter_mut().find(|r| r.rrset.rtype == rtype) {
        Some(served) => {
            let all = served.rrset.rdata.iter().map(<[u8]>::to_vec).chain([wire]);
            served.rrset.rdata = RdataSet::new(all.collect::<Vec<_>>());
        }
        None => owner.rrsets.push(ServedRrset {
            rrset: Rrset { rtype, ttl, rdata: RdataSet::new([wire]) },
            signatures: RdataSet::default(),
            rotate: false,
            note: Note::None,
        }),
    }
}

fn holds(owner: &OwnerRecords, rtype: RrType) -> bool {
    owner.rrsets.iter().any(|r| r.rrset.rtype == rtype)
}

/// Adds a DNSKEY, an NSEC chain and a signature over every authoritative RRset.
pub(crate) fn sign(apex: &Name, owners: &mut BTreeMap<Name, OwnerRecords>) {
    let key_data = rdata::parse(RrType::DNSKEY, &format!("257 3 13 {}", "A".repeat(88)), apex);
    if let Some(owner) = owners.get_mut(apex) {
        add(owner, RrType::DNSKEY, 3600, key_data.unwrap_or_else(|e| panic!("{e:?}")));
    }
    // In canonical order what lies below a zone cut or DNAME follows it at once.
    let mut visible: Vec<Name> = Vec::new();
    let mut barrier: Option<&Name> = None;
    for (at, owner) in &*owners {
        if barrier.is_some_and(|barrier| at.is_below(barrier)) {
            continue;
        }
        if at != apex && holds(owner, RrType::NS) || holds(owner, RrType::DNAME) {
            barrier = Some(at);
        }
        visible.push(at.clone());
    }
    for (i, at) in visible.iter().enumerate() {
        let next = &visible[(i + 1) % visible.len()];
        let Some(owner) = owners.get_mut(at) else { continue };
        let is_cut = at != apex && holds(owner, RrType::NS);
        let mut types: Vec<RrType> = owner.rrsets.iter().map(|r| r.rrset.rtype).collect();
        types.extend(&owner.pending);
        types.extend(&owner.withheld);
        types.extend([RrType::RRSIG, RrType::NSEC]);
        types.sort_unstable();
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        let nsec = rdata::parse(RrType::NSEC, &format!("{next} {}", types.join(" ")), apex);
        add(owner, RrType::NSEC, 60, nsec.unwrap_or_else(|e| panic!("{e:?}")));
        let others = owner.choices.iter_mut().flat_map(|choice| &mut choice.others);
        for served in owner.rrsets.iter_mut().chain(others) {
            let rtype = served.rrset.rtype;
            if !is_cut || matches!(rtype, RrType::DS | RrType::NSEC) {
                served.signatures = RdataSet::new([signature(apex, at, rtype, served.rrset.ttl)]);
            }
        }
    }
}

fn signature(apex: &Name, owner: &Name, rtype: RrType, ttl: u32) -> Vec<u8> {
    let labels = owner.label_count() - usize::from(owner.is_wildcard());
    let mut wire = rtype.0.to_be_bytes().to_vec();
    wire.extend([13, labels as u8]);
    wire.extend(ttl.to_be_bytes());
    wire.extend(2_000_000_000u32.to_be_bytes());
    wire.extend(1_700_000_000u32.to_be_bytes());
    wire.extend(4711u16.to_be_bytes());
    wire.extend_from_slice(apex.wire());
    wire.extend([0xa5; 64]);
    wire
}

/// Compiles a zone.
pub(crate) fn image(apex: &str, text: &str, is_signed: bool) -> Arc<ZoneImage> {
    let apex = name(apex);
    let mut owners = owners(&apex, text);
    if is_signed {
        sign(&apex, &mut owners);
    }
    let mut draft = ZoneDraft::new(apex, key());
    for owner in owners.values() {
        draft.put(owner).unwrap_or_else(|e| panic!("{e}"));
    }
    Arc::new(draft.finish().unwrap_or_else(|e| panic!("{e}")))
}

/// A snapshot of these zones, all signed or none.
pub(crate) fn snapshot(zones: &[(&str, &str)], is_signed: bool) -> Snapshot {
    zones.iter().fold(Snapshot::empty(key()), |snapshot, (apex, text)| {
        if *text == "broken" {
            snapshot.with_broken_zone(name(apex))
        } else {
            snapshot.with_zone(image(apex, text, is_signed))
        }
    })
}
