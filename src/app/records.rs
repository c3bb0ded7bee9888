//! Records as people look at them: what is served or what is configured, with source and health; page by page, or a zone as a whole.

use std::collections::HashMap;
use std::io;

use super::control::Handles;
use crate::admin::{ExportError, ExportFormat, RecordsQuery, View};
use crate::keeper::configured::{EndpointFacts, OwnerFacts};
use crate::model::name::Name;
use crate::model::rdata;
use crate::model::records::{RecordReport, RecordsPage, RrsetReport};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;
use crate::snapshot::ZoneImage;
use crate::snapshot::image::OwnerRecords;
use crate::zone::text;

/// Owners that the keeper is asked about at once: a verdict waits for no more than that.
const AT_ONCE: usize = 256;
/// Names that are looked at for one page: who looks for what is rare in a large zone gets it in several pages, some of them empty.
const LOOKED_AT: usize = 50_000;
/// Types that the server makes of others: no tool would write them.
const MADE: [RrType; 6] =
    [RrType::RRSIG, RrType::NSEC, RrType::NSEC3PARAM, RrType::DNSKEY, RrType::CDS, RrType::CDNSKEY];

/// An owner of a view.
pub(super) struct Seen {
    pub(super) records: OwnerRecords,
    facts: Option<OwnerFacts>,
}

impl Seen {
    /// Its RRsets in a view, by type, with the signatures over them.
    pub(super) fn rrsets(&self, view: View) -> Vec<(Rrset, RdataSet)> {
        let served = self.records.rrsets.iter();
        if view == View::Served {
            return served.map(|r| (r.rrset.clone(), r.signatures.clone())).collect();
        }
        let configured = self.facts.as_ref().map(OwnerFacts::rrsets).unwrap_or_default();
        // A fallback stands in the place of what is configured; of an unchecked type what is served is what is configured.
        let is_other = |rtype: RrType| {
            !MADE.contains(&rtype)
                && !self.facts.iter().flat_map(|facts| &facts.ttls).any(|(decided, _)| *decided == rtype)
        };
        let mut all: Vec<(Rrset, RdataSet)> = served
            .filter(|r| is_other(r.rrset.rtype))
            .map(|r| &r.rrset)
            .chain(&configured)
            .map(|rrset| (rrset.clone(), RdataSet::default()))
            .collect();
        all.sort_by_key(|(rrset, _)| rrset.rtype);
        all
    }

    /// Whether a record is in any of the answers that there are now.
    fn is_served(&self, rtype: RrType, data: &[u8]) -> bool {
        let of_type = self.records.all_rrsets().filter(|r| r.rrset.rtype == rtype);
        of_type.flat_map(|r| r.rrset.rdata.iter()).any(|served| served == data)
    }

    fn report(&self, rrset: &Rrset, file: &str) -> RrsetReport {
        let facts_of = |data: &[u8]| {
            let endpoints = self.facts.iter().flat_map(|facts| &facts.endpoints);
            endpoints.into_iter().find(|endpoint| endpoint.rtype == rrset.rtype && endpoint.rdata == data)
        };
        let record = |data: &[u8]| {
            let facts: Option<&EndpointFacts> = facts_of(data);
            RecordReport {
                data: rdata::to_text(rrset.rtype, data),
                verdict: facts.and_then(|facts| facts.verdict),
                targets: facts.map(|facts| facts.targets.iter().map(|id| id.0).collect()).unwrap_or_default(),
                word: facts.and_then(|facts| facts.said).map(|(_, word)| word),
                served: self.is_served(rrset.rtype, data),
            }
        };
        RrsetReport {
            name: self.records.name.to_string(),
            rtype: rrset.rtype.to_string(),
            ttl: rrset.ttl,
            source: self.source(rrset.rtype, file),
            data: rrset.rdata.iter().map(record).collect(),
        }
    }

    fn source(&self, rtype: RrType, file: &str) -> String {
        if MADE.contains(&rtype) || rtype == RrType::SOA {
            return "the server".to_owned();
        }
        let Some(facts) = &self.facts else { return file.to_owned() };
        if let Some(host) = &facts.host {
            return format!("ALIAS of {host}");
        }
        match facts.discovered.as_slice() {
            [] => file.to_owned(),
            origins => {
                let each = origins.iter().map(|origin| format!("{} {}", origin.source, origin.object));
                format!("discovered: {}", each.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Handles {
    /// Owners of a zone with these names, and what the keeper knows of them.
    pub(super) fn seen<'i>(
        &self,
        image: &'i ZoneImage,
        names: Vec<Name>,
    ) -> impl Iterator<Item = Seen> + use<'i> {
        let facts = self.keeper.owner_facts(image.apex(), names.clone()).unwrap_or_default();
        let mut facts: HashMap<Name, OwnerFacts> =
            facts.into_iter().map(|facts| (facts.name.clone(), facts)).collect();
        names
            .into_iter()
            .filter_map(move |name| Some(Seen { records: image.owner(&name)?, facts: facts.remove(&name) }))
    }

    /// Calls `take` for each owner of a zone, in canonical order.
    fn each_owner(
        &self,
        image: &ZoneImage,
        mut take: impl FnMut(Seen) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let order = self.orders.of(image);
        let mut names = order.after(None);
        loop {
            let some: Vec<Name> = names.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.seen(image, some).try_for_each(&mut take)?;
        }
    }

    fn image_of<'s>(
        &self,
        snapshot: &'s crate::snapshot::Snapshot,
        zone: &Name,
    ) -> Result<&'s ZoneImage, ExportError> {
        if let Some(image) = snapshot.zone(zone).and_then(|found| found.image) {
            return Ok(image);
        }
        let status = self.zone_statuses().into_iter().find(|status| status.apex == *zone);
        Err(match status {
            Some(status) => ExportError::Broken(status.trouble.unwrap_or_default()),
            None => ExportError::UnknownZone,
        })
    }

    /// Some records of a zone; see `/api/v1/zones/{zone}/records`.
    pub(super) fn records_page(&self, zone: &Name, query: &RecordsQuery) -> Result<RecordsPage, ExportError> {
        let snapshot = self.published.load();
        let image = self.image_of(&snapshot, zone)?;
        let status = self.zone_statuses().into_iter().find(|status| status.apex == *zone);
        let file = status.map(|status| status.file.display().to_string()).unwrap_or_default();
        let mut page =
            RecordsPage { zone: zone.to_string(), serial: image.serial().0, ..RecordsPage::default() };
        let is_wanted = |rtype: RrType| query.rtype.is_none_or(|wanted| wanted == rtype);
        let report = |seen: &Seen| -> Vec<RrsetReport> {
            let rrsets = seen.rrsets(query.view).into_iter().filter(|(rrset, _)| is_wanted(rrset.rtype));
            rrsets.map(|(rrset, _)| seen.report(&rrset, &file)).collect()
        };
        if let Some(name) = &query.name {
            page.records = self.seen(image, vec![name.clone()]).flat_map(|seen| report(&seen)).collect();
            return Ok(page);
        }
        let order = self.orders.of(image);
        let mut names = order.after(query.after.as_ref());
        let mut left = LOOKED_AT;
        // Behind which name the next page begins, once this one is full.
        let mut last: Option<Name> = None;
        loop {
            let mut some = Vec::new();
            let mut looked_at = None;
            while some.len() < AT_ONCE.min(query.limit + 1) && left > 0 {
                let Some(name) = names.next() else { break };
                left -= 1;
                looked_at = Some(name.clone());
                if query
                    .search
                    .as_ref()
                    .is_none_or(|part| name.to_string().to_ascii_lowercase().contains(part))
                {
                    some.push(name);
                }
            }
            for seen in self.seen(image, some) {
                // An owner is never divided between two pages.
                if page.records.len() >= query.limit {
                    page.next = last.map(|name| name.to_string());
                    return Ok(page);
                }
                last = Some(seen.records.name.clone());
                page.records.extend(report(&seen));
            }
            match looked_at {
                None => return Ok(page),
                Some(at) if left == 0 => {
                    page.next = Some(at.to_string());
                    return Ok(page);
                }
                Some(_) => {}
            }
        }
    }

    /// Writes a whole zone in a view.
    pub(super) fn export_view(
        &self,
        zone: &Name,
        view: View,
        format: ExportFormat,
        mut out: &mut dyn io::Write,
    ) -> Result<(), ExportError> {
        let snapshot = self.published.load();
        let image = self.image_of(&snapshot, zone)?;
        if view == View::Served {
            // Without the keeper: what is served stands in the snapshot.
            let records = image.owners().flat_map(|owner| {
                let name = owner.name;
                owner.rrsets.into_iter().map(move |r| (name.clone(), r.rrset, r.signatures))
            });
            return match format {
                ExportFormat::Text => Ok(text::write_rfc1035(out, zone, records)?),
                ExportFormat::Json => Ok(text::write_json_lines(out, records)?),
            };
        }
        match format {
            ExportFormat::Text => {
                let mut file = text::MasterFile::new(out, zone)?;
                self.each_owner(image, |seen| {
                    for (rrset, signatures) in seen.rrsets(view) {
                        file.rrset(&seen.records.name, &rrset, &signatures)?;
                    }
                    Ok(())
                })?;
                file.finish()?;
            }
            ExportFormat::Json => self.each_owner(image, |seen| {
                for (rrset, signatures) in seen.rrsets(view) {
                    text::write_json_line(&mut out, &seen.records.name, &rrset, &signatures)?;
                }
                Ok(())
            })?,
        }
        Ok(())
    }
}
