//! What the web page shows beyond the API, gathered from the parts.

use std::collections::HashSet;

use super::control::Handles;
use super::records::Seen;
use crate::admin::{Insight, View};
use crate::dnssec::algorithm::Algorithm;
use crate::dnssec::key::{ds_text, key_tag};
use crate::keeper::channel::ZoneStatus;
use crate::keeper::explain::OwnerOrigin;
use crate::model::discovered::Origin;
use crate::model::insight::{
    Attempt, HealthRow, KeyRow, NameRow, NamesPage, NamesQuery, PageStart, RecordRow, RrsetRow, SigningReport,
};
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::target::{TargetId, Verdict};
use crate::snapshot::{NamesInOrder, ZoneImage};

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
        let found = page_of(&self.orders.of(image), query);
        let text = |name: Name| name.to_string();
        Some(NamesPage {
            names: self.seen(image, found.names).map(|seen| self.row(&seen)).collect(),
            of: image.size().owners as u64,
            previous: found.previous.map(text),
            next: found.next.map(text),
            looked_at: found.looked_at,
            is_cut: found.is_cut,
        })
    }

    fn name_row(&self, zone: &Name, name: &Name) -> Option<NameRow> {
        let snapshot = self.published.load();
        let image = snapshot.zone(zone)?.image?;
        self.seen(image, vec![name.clone()]).next().map(|seen| self.row(&seen))
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
    fn row(&self, seen: &Seen) -> NameRow {
        let name = &seen.records.name;
        let of = |view: View| -> Vec<Rrset> {
            let rrsets = seen.rrsets(view).into_iter().map(|(rrset, _)| rrset);
            rrsets.filter(|rrset| rrset.rtype != RrType::NSEC).collect()
        };
        let (served, configured) = (of(View::Served), of(View::Configured));
        let origin = if self.is_ready() { self.keeper.explain(name) } else { None };
        let owner = origin.as_ref().and_then(|origin| origin.owner.as_ref());
        NameRow {
            name: name.to_string(),
            rrsets: rows(&served, &configured),
            configured: rows(&configured, &served),
            health: owner.and_then(health),
            from: owner.map(from).unwrap_or_default(),
        }
    }
}

/// RRsets as they are shown, beside those of the other view.
fn rows(rrsets: &[Rrset], others: &[Rrset]) -> Vec<RrsetRow> {
    let row = |rrset: &Rrset| {
        let other = others.iter().find(|other| other.rtype == rrset.rtype);
        let is_there = |data: &[u8]| other.is_some_and(|other| other.rdata.iter().any(|there| there == data));
        let record =
            |data: &[u8]| RecordRow { text: rdata::to_text(rrset.rtype, data), is_both: is_there(data) };
        RrsetRow {
            rtype: rrset.rtype.to_string(),
            ttl: rrset.ttl,
            data: rrset.rdata.iter().take(SHOWN).map(record).collect(),
            count: rrset.rdata.len(),
        }
    };
    rrsets.iter().map(row).collect()
}

/// The names of a page, and where those beside it stand.
struct Found {
    names: Vec<Name>,
    previous: Option<Name>,
    next: Option<Name>,
    looked_at: usize,
    is_cut: bool,
}

/// Walks from where the page begins until it is full, so that a page costs the same wherever it stands in whatever zone.
fn page_of(order: &NamesInOrder<'_>, query: &NamesQuery) -> Found {
    let (mut names, mut looked_at, mut last, mut is_full) = (Vec::new(), 0, None, false);
    let walk: Box<dyn Iterator<Item = Name>> = match &query.from {
        PageStart::Top => Box::new(order.after(None)),
        PageStart::After(last) => Box::new(order.after(Some(last))),
        PageStart::Before(first) => Box::new(order.before(first)),
    };
    let mut walk = walk.take(query.looked_at);
    for name in walk.by_ref() {
        looked_at += 1;
        if query.search.is_empty() || name.to_string().to_ascii_lowercase().contains(&query.search) {
            is_full = names.len() >= query.limit.max(1);
            if is_full {
                break;
            }
            names.push(name.clone());
        }
        last = Some(name);
    }
    let is_cut = !is_full && looked_at == query.looked_at;
    // In the direction of the walk: behind the last name that is shown if there are more, or behind the last one that was looked at.
    let end = if is_full { names.last().cloned() } else { last.filter(|_| is_cut) };
    let (previous, next) = match &query.from {
        PageStart::Top => (None, end),
        PageStart::After(from) => (Some(names.first().unwrap_or(from).clone()), end),
        PageStart::Before(_) => {
            names.reverse();
            (end, names.last().cloned())
        }
    };
    Found { names, previous, next, looked_at, is_cut }
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
    use crate::model::hash::HashKey;
    use crate::model::rrset::RdataSet;
    use crate::snapshot::ZoneDraft;
    use crate::snapshot::image::{Note, OwnerRecords, ServedRrset};

    #[test]
    fn pages_of_names() {
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        let all = ["example.test", "a.example.test", "x.a.example.test", "b.example.test", "c.example.test"];
        let apex = name("example.test");
        let mut draft = ZoneDraft::new(apex.clone(), HashKey::new([1, 2]));
        for text in all {
            let soa = [name("ns.test").wire(), name("root.test").wire(), &[0; 20]].concat();
            let rrset = Rrset { rtype: RrType::SOA, ttl: 1, rdata: RdataSet::new([soa]) };
            let rrsets =
                vec![ServedRrset { rrset, signatures: RdataSet::default(), rotate: false, note: Note::None }];
            draft
                .put(&OwnerRecords {
                    name: name(text),
                    rrsets,
                    choices: vec![],
                    pending: vec![],
                    withheld: vec![],
                })
                .unwrap();
        }
        let image = draft.finish().unwrap();
        // Search, start, names of a page, names looked at; what is shown, and where the pages beside begin.
        let check = |search: &str,
                     from: PageStart,
                     (limit, looked_at): (usize, usize),
                     want: &[&str],
                     beside: (&str, &str)| {
            let query = NamesQuery { zone: apex.clone(), search: search.into(), from, limit, looked_at };
            let found = page_of(&image.names_in_order(), &query);
            let want: Vec<Name> = want.iter().map(|text| name(text)).collect();
            let label = |name: Option<Name>| {
                name.map(|name| name.to_string().replace("example.test.", "")).unwrap_or("-".into())
            };
            assert_eq!(found.names, want, "{query:?}");
            assert_eq!(
                (label(found.previous), label(found.next)),
                (beside.0.into(), beside.1.into()),
                "{query:?}"
            );
        };
        check("", PageStart::Top, (2, 9), &all[..2], ("-", "a."));
        check("", PageStart::Top, (5, 9), &all, ("-", "-"));
        check("", PageStart::After(name("a.example.test")), (2, 9), &all[2..4], ("x.a.", "b."));
        check("", PageStart::After(name("b.example.test")), (2, 9), &all[4..], ("c.", "-"));
        check("", PageStart::After(name("c.example.test")), (2, 9), &[], ("c.", "-"));
        check("", PageStart::Before(name("c.example.test")), (2, 9), &all[2..4], ("x.a.", "b."));
        check("", PageStart::Before(name("x.a.example.test")), (2, 9), &all[..2], ("-", "a."));
        check("a.exam", PageStart::Top, (9, 9), &all[1..3], ("-", "-"));
        check("nothing", PageStart::Top, (9, 9), &[], ("-", "-"));
        // What is rare is looked for in several pages.
        check("c.", PageStart::Top, (9, 3), &[], ("-", "x.a."));
        check("c.", PageStart::After(name("x.a.example.test")), (9, 3), &all[4..], ("c.", "-"));
        check("a.", PageStart::Before(name("c.example.test")), (9, 2), &all[2..3], ("x.a.", "x.a."));
    }
}
