//! What an answer of a signed zone has to prove (RFC 4035 §3.1.3, §5.4), worked out from the zone's true data, apart from any server.

use std::collections::BTreeSet;

use super::explain::Truth;
use super::wire::{Message, Record, WireName, rtype};

/// One thing that an NSEC record in the authority section must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The name exists without the type: an NSEC of this owner, or for an empty non-terminal one that ends below it.
    Exists(WireName),
    /// The name does not exist: an NSEC that covers it.
    Absent(WireName),
    /// The delegation has no DS: the cut's own NSEC (RFC 4035 §3.1.4.1).
    Insecure(WireName),
}

impl Claim {
    /// Whether the NSEC record shows it.
    pub fn is_shown_by(&self, denial: &Record) -> bool {
        match self {
            Claim::Exists(name) => {
                denial.owner == *name || covers(denial, name) && denial.name_at(0).is_within(name)
            }
            Claim::Absent(name) => covers(denial, name) && !denial.name_at(0).is_within(name),
            Claim::Insecure(cut) => denial.owner == *cut,
        }
    }
}

/// What the answer to this question has to prove. It follows CNAMEs and DNAMEs within served zones as far as `answer` goes,
/// and stops at `border` where the answer was cut there.
pub fn claims(
    truth: &Truth,
    name: &WireName,
    qtype: u16,
    answer: &BTreeSet<Record>,
    border: Option<&WireName>,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut name = name.lower();
    for _ in 0..32 {
        if border == Some(&name) {
            break;
        }
        let Some(apex) =
            truth.zone_of(&name).filter(|apex| truth.set(apex, rtype::NSEC).next().is_some()).cloned()
        else {
            break;
        };
        if let Some(cut) = truth.cut_above(&name).filter(|cut| qtype != rtype::DS || name != *cut) {
            if truth.set(&cut, rtype::DS).next().is_none() {
                claims.push(Claim::Insecure(cut));
            }
            break;
        }
        if let Some(target) = dname_target(truth, &name, &apex) {
            if qtype == rtype::CNAME {
                break;
            }
            name = target;
            continue;
        }
        let source = source_of(truth, &name, &apex, &mut claims);
        let Some(source) = source else { break };
        let has = |wanted| truth.set(&source, wanted).next();
        if has(qtype).is_some() || qtype == rtype::ANY || qtype == rtype::RRSIG {
            break;
        }
        match has(rtype::CNAME) {
            Some(cname)
                if answer.iter().any(|record| record.owner == name && record.rtype == rtype::CNAME) =>
            {
                name = cname.name_at(0);
            }
            _ => {
                claims.push(Claim::Exists(source));
                break;
            }
        }
    }
    claims
}

/// Where the name's records come from: itself or a wildcard; the claims that go with a wildcard, or with there being nothing, are added.
fn source_of(truth: &Truth, name: &WireName, apex: &WireName, claims: &mut Vec<Claim>) -> Option<WireName> {
    if truth.exists(name) {
        return Some(name.clone());
    }
    let mut next_closer = name.clone();
    let mut encloser = name.parent()?;
    while !truth.exists(&encloser) && encloser != *apex {
        next_closer = encloser.clone();
        encloser = encloser.parent()?;
    }
    claims.push(Claim::Absent(next_closer));
    let wildcard = encloser.child(b"*");
    if truth.exists(&wildcard) {
        return Some(wildcard);
    }
    claims.push(Claim::Absent(wildcard));
    None
}

/// The name after substitution by the DNAME above it, if there is one (RFC 6672 §2.2).
fn dname_target(truth: &Truth, name: &WireName, apex: &WireName) -> Option<WireName> {
    let mut owner = name.parent()?;
    while owner.is_within(apex) {
        if let Some(dname) = truth.set(&owner, rtype::DNAME).next() {
            let prefix = &name.0[..name.0.len() - owner.0.len()];
            return Some(WireName([prefix, &dname.name_at(0).0].concat()));
        }
        owner = owner.parent()?;
    }
    None
}

/// Whether the NSEC records among these show every claim, and each of them shows one.
pub fn is_exact(claims: &[Claim], authority: &BTreeSet<Record>) -> bool {
    let denials: Vec<&Record> = authority.iter().filter(|record| record.rtype == rtype::NSEC).collect();
    claims.iter().all(|claim| denials.iter().any(|denial| claim.is_shown_by(denial)))
        && denials.iter().all(|denial| claims.iter().any(|claim| claim.is_shown_by(denial)))
}

/// What is missing in an answer's proofs, as text; for the subject, which is excused from nothing.
pub fn missing(truth: &Truth, name: &WireName, qtype: u16, message: &Message) -> Option<String> {
    let answer = message.answer.iter().cloned().collect();
    let claims = claims(truth, name, qtype, &answer, None);
    let unmet: Vec<&Claim> = claims
        .iter()
        .filter(|claim| {
            !message.authority.iter().any(|record| record.rtype == rtype::NSEC && claim.is_shown_by(record))
        })
        .collect();
    (!unmet.is_empty()).then(|| format!("not proven (RFC 4035 §3.1.3): {unmet:?}"))
}

/// Whether an NSEC record covers the name: owner before it, next name after it, in canonical order (RFC 4034 §6.1). The last record of
/// a zone names the apex (RFC 4034 §4.1.1) and covers what follows in that zone, not in a zone that sorts behind it.
pub fn covers(denial: &Record, name: &WireName) -> bool {
    let key = |name: &WireName| name.labels().iter().rev().map(|label| label.to_vec()).collect::<Vec<_>>();
    let next = denial.name_at(0);
    let in_zone_of_last = name.is_within(&next);
    let (owner, next, name) = (key(&denial.owner), key(&next), key(name));
    owner < name && (name < next || next <= owner && in_zone_of_last)
}
