//! What the web page shows beyond the API, gathered from the parts.

use std::collections::{BTreeSet, HashSet};

use super::control::Handles;
use crate::admin::Insight;
use crate::dnssec::algorithm::Algorithm;
use crate::dnssec::key::{ds_text, key_tag};
use crate::keeper::channel::ZoneStatus;
use crate::keeper::explain::OwnerOrigin;
use crate::model::discovered::Origin;
use crate::model::insight::{
    Attempt, HealthRow, KeyRow, NameRow, NamesPage, NamesQuery, PageStart, RrsetRow, SigningReport,
};
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::rrtype::RrType;
use crate::model::target::{TargetId, Verdict};
use crate::snapshot::ZoneImage;

/// Records of a type that a list of names shows; all of them stand on the page of the name.
const SHOWN: usize = 4;

impl Insight for Handles {
    fn attempts(&self, ids: &[u32]) -> Vec<Vec<Attempt>> {
        let ids: Vec<TargetId> = ids.iter().copied().map(TargetId).collect();
        self.health.attempts(&ids)
    }

    fn names(&self, query: &NamesQuery) -> Option<NamesPage> {
        let snapshot = self.published.load();
        let image = snapshot.zone(&query.zone)?.image?;
        let (names, matching, before) = page_of(image.names(), query);
        let names = names.iter().map(|name| self.row(image, name)).collect();
        Some(NamesPage { names, matching, before })
    }

    fn signing(&self) -> Vec<SigningReport> {
        let snapshot = self.published.load();
        let report = |status: ZoneStatus| {
            let image = snapshot.zone(&status.apex).and_then(|zone| zone.image);
            SigningReport {
                zone: status.apex.to_string(),
                keys: image.map(|image| keys(image)).unwrap_or_default(),
                next_signing_at: status.next_signing_s.map(u64::from),
                earliest_expiry_at: status.earliest_expiry_s.map(u64::from),
                problem: status.trouble,
            }
        };
        self.zone_statuses().into_iter().map(report).collect()
    }

    fn release_health_brake(&self, owner: &str) -> bool {
        let held = self.health.release_brake();
        tracing::info!(owner, held, "the brake of health checks released");
        held
    }
}

impl Handles {
    fn row(&self, image: &ZoneImage, name: &Name) -> NameRow {
        let records = image.owner(name);
        let served = records.iter().flat_map(|owner| &owner.rrsets).map(|served| &served.rrset);
        let rrset = |rrset: &crate::model::rrset::Rrset| RrsetRow {
            rtype: rrset.rtype.to_string(),
            ttl: rrset.ttl,
            data: rrset.rdata.iter().take(SHOWN).map(|data| rdata::to_text(rrset.rtype, data)).collect(),
            count: rrset.rdata.len(),
        };
        let origin = if self.is_ready() { self.keeper.explain(name) } else { None };
        let owner = origin.as_ref().and_then(|origin| origin.owner.as_ref());
        NameRow {
            name: name.to_string(),
            rrsets: served.filter(|rrset| rrset.rtype != RrType::NSEC).map(rrset).collect(),
            health: owner.and_then(health),
            from: owner.map(from).unwrap_or_default(),
        }
    }
}

/// The names of a page in canonical order, how many match, and how many of those stand in front of the page. Names come in no order, and a
/// zone may have a million: only a page of them is kept.
fn page_of(names: impl Iterator<Item = Name>, query: &NamesQuery) -> (Vec<Name>, u64, u64) {
    let (mut kept, mut matching, mut in_front) = (BTreeSet::new(), 0, 0);
    let limit = query.limit.max(1);
    for name in names {
        if !query.search.is_empty() && !name.to_string().to_ascii_lowercase().contains(&query.search) {
            continue;
        }
        matching += 1;
        let is_wanted = match &query.from {
            PageStart::Top => true,
            PageStart::After(last) => name > *last,
            PageStart::Before(first) => name < *first,
        };
        let is_backwards = matches!(query.from, PageStart::Before(_));
        // Backwards, what does not belong to the page any more stands in front of it; forwards, what does not yet.
        if !is_wanted {
            in_front += u64::from(!is_backwards);
            continue;
        }
        kept.insert(name);
        if kept.len() > limit {
            if is_backwards {
                kept.pop_first();
                in_front += 1;
            } else {
                kept.pop_last();
            }
        }
    }
    (kept.into_iter().collect(), matching, in_front)
}

fn health(owner: &OwnerOrigin) -> Option<HealthRow> {
    let selected = owner.selected.as_ref()?;
    let mut row = HealthRow::default();
    for (trace, origin) in selected.trace.endpoints.iter().zip(&selected.endpoints) {
        row.overridden += u32::from(origin.said.is_some());
        if origin.condition.is_none() && origin.said.is_none() {
            continue;
        }
        *match trace.counts_as {
            Verdict::Up => &mut row.up,
            Verdict::Down => &mut row.down,
            Verdict::Unknown => &mut row.unknown,
        } += 1;
    }
    (row.up + row.down + row.unknown > 0).then_some(row)
}

fn from(owner: &OwnerOrigin) -> Vec<String> {
    let discovered = owner.discovered.iter().map(|Origin { source, object }| format!("{source}: {object}"));
    discovered.chain(owner.host.iter().map(|host| format!("ALIAS of {host}"))).collect()
}

/// The keys of a zone as its DNSKEY RRset has them, and what each signs by the signatures that are served.
fn keys(image: &ZoneImage) -> Vec<KeyRow> {
    let Some(apex) = image.owner(image.apex()) else { return Vec::new() };
    let of = |rtype: RrType| apex.rrsets.iter().find(|served| served.rrset.rtype == rtype);
    // Algorithm and key tag of an RRSIG's RDATA (RFC 4034 §3.1).
    let signers = |rtype: RrType| -> HashSet<(u8, u16)> {
        let signatures = of(rtype).into_iter().flat_map(|served| served.signatures.iter());
        let signer = |rrsig: &[u8]| {
            let tag = rrsig.get(16..18)?;
            Some((*rrsig.get(2)?, u16::from_be_bytes([tag[0], tag[1]])))
        };
        signatures.filter_map(signer).collect()
    };
    let (of_keys, of_zone) = (signers(RrType::DNSKEY), signers(RrType::SOA));
    let row = |dnskey: &[u8]| {
        let tag = key_tag(dnskey);
        let number = dnskey.get(3).copied().unwrap_or_default();
        let signs_keys = of_keys.contains(&(number, tag));
        KeyRow {
            tag,
            algorithm: Algorithm::from_number(number)
                .map_or_else(|| number.to_string(), |known| known.to_string()),
            flags: dnskey.first_chunk::<2>().copied().map(u16::from_be_bytes).unwrap_or_default(),
            signs_keys,
            signs_zone: of_zone.contains(&(number, tag)),
            ds: signs_keys.then(|| ds_text(image.apex(), dnskey)),
            dnskey: rdata::to_text(RrType::DNSKEY, dnskey),
        }
    };
    of(RrType::DNSKEY).into_iter().flat_map(|served| served.rrset.rdata.iter()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_names() {
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        // In canonical order, and given in another.
        let all = ["example.test", "a.example.test", "x.a.example.test", "b.example.test", "c.example.test"];
        let names = || all.iter().rev().map(|text| name(text));
        let check = |search: &str, from: PageStart, limit, want: &[&str], matching: u64, in_front: u64| {
            let query = NamesQuery { zone: name("example.test"), search: search.into(), from, limit };
            let (page, total, before) = page_of(names(), &query);
            let want: Vec<Name> = want.iter().map(|text| name(text)).collect();
            assert_eq!((page, total, before), (want, matching, in_front), "{query:?}");
        };
        check("", PageStart::Top, 2, &all[..2], 5, 0);
        check("", PageStart::After(name("a.example.test")), 2, &all[2..4], 5, 2);
        check("", PageStart::After(name("b.example.test")), 2, &all[4..], 5, 4);
        check("", PageStart::After(name("c.example.test")), 2, &[], 5, 5);
        check("", PageStart::Before(name("c.example.test")), 2, &all[2..4], 5, 2);
        check("", PageStart::Before(name("a.example.test")), 2, &all[..1], 5, 0);
        check("a.exam", PageStart::Top, 9, &all[1..3], 2, 0);
        check("nothing", PageStart::Top, 9, &[], 0, 0);
    }
}
