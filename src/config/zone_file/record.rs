//! Checks of records that lead to a host: CNAME, MX and SRV.
//!
//! What is probed is the host. Its addresses are those that the zone itself declares, which is known only once all of the zone is read; or
//! what `probe` says.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::address::Probe;
use super::check::CheckRef;
use super::endpoints::Endpoints;
use super::owner::{OwnerKeys, Resolver, Shared};
use super::policy::Around;
use super::pool::PoolKeys;
use super::rrset::{Rdata, RrsetKeys};
use super::template::{RecordPort, Template};
use crate::config::json::{At, Element, key_path};
use crate::config::types::{RdataText, RrsetConfig};
use crate::model::condition::Condition;
use crate::model::diagnostic::Position;
use crate::model::policy::{Members, Policy, Pool, Rule};
use crate::model::rdata;
use crate::model::rrtype::RrType;
use crate::model::target::{Check, Endpoint, EndpointData};

/// A check of one record, complete but for the addresses of the host that the record leads to.
#[derive(Clone, Debug)]
pub struct RecordCheck {
    template: Template,
    probe: Option<Probe>,
}

impl RecordCheck {
    /// Whether the host's addresses are needed.
    pub fn needs_addresses(&self) -> bool {
        self.probe.and_then(|probe| probe.address).is_none() && self.template.needs_address()
    }

    /// Every check that it comes to.
    pub fn checks(&self) -> Vec<&Check> {
        let mut checks = Vec::new();
        self.template.for_each_probe(&mut |probe| checks.push(&*probe.check));
        checks
    }

    /// What must hold for the record to be up, its host having these addresses: any of them is. Nothing if one is needed and there is none.
    pub fn condition(&self, addresses: &[IpAddr]) -> Option<Condition> {
        /// Stands where no address is needed.
        const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let addresses = match self.probe.and_then(|probe| probe.address) {
            Some(given) => &[given][..],
            None if self.needs_addresses() => addresses,
            None => &[NOWHERE],
        };
        let is_alone = matches!(self.template, Template::Probe(_));
        let of_address = |address: &IpAddr| {
            self.template.condition(&mut |probe| {
                probe.target(Arc::clone(&probe.check), *address, self.probe, is_alone)
            })
        };
        let mut parts = addresses.iter().map(of_address).collect::<Option<Vec<_>>>()?;
        if parts.len() > 1 { Some(Condition::Any(parts.into())) } else { parts.pop() }
    }
}

/// The port of mail servers (RFC 5321 §4.5.4.2).
const SMTP: u16 = 25;

/// The types whose records may have a check.
pub(super) fn may_be_checked(rtype: RrType) -> bool {
    matches!(rtype, RrType::CNAME | RrType::MX | RrType::SRV)
}

/// What stands around a record, and holds where it has nothing of its own.
pub(super) struct AroundRecord<'k> {
    pub(super) check: Shared,
    pub(super) probe: Option<&'k At<Probe>>,
}

impl Resolver<'_, '_, '_> {
    /// An RRset with the checks of its records; `shared` is the owner's check.
    pub(super) fn rrset(&mut self, keys: RrsetKeys, shared: &Shared, owner_ttl: Option<u32>) -> RrsetConfig {
        let RrsetKeys { rtype, ttl, data, check, probe, path, .. } = keys;
        let check = match &check {
            Some(check) if !may_be_checked(rtype) => {
                self.not_checked(rtype, (format!("{path}.check"), check.position));
                Shared::Wrong
            }
            Some(check) => self.template(check, format!("{path}.check")),
            None if rtype == RrType::CNAME => shared.clone(),
            None => Shared::None,
        };
        let several = probe.as_ref().filter(|_| data.len() > 1);
        if let Some(probe) = several {
            let message = "one \"probe\" cannot stand for several records";
            let hint = "give each record its own: { \"data\": …, \"probe\": \"192.0.2.1\" }";
            self.reader.error_at(format!("{path}.probe"), probe.position, message, hint);
        }
        let around = AroundRecord { check, probe: probe.as_ref().filter(|_| several.is_none()) };
        let data = data.into_iter().map(|Element { value, position, .. }| {
            let check = self.record_check(rtype, &value, position, &around);
            RdataText { text: value.text, position, path: value.path, check }
        });
        RrsetConfig { rtype, ttl: ttl.or(owner_ttl), data: data.collect() }
    }

    fn not_checked(&mut self, rtype: RrType, (path, at): (String, Position)) {
        let hint = "a check governs A, AAAA, CNAME, MX and SRV records";
        self.reader.error_at(path, at, format!("{rtype} records have no check"), hint);
    }

    /// What decides about one record.
    pub(super) fn record_check(
        &mut self,
        rtype: RrType,
        record: &Rdata,
        position: Position,
        around: &AroundRecord<'_>,
    ) -> Option<Box<RecordCheck>> {
        let own: Option<(Position, Shared)> = record.check.as_ref().map(|check: &At<CheckRef>| {
            (check.position, self.template(check, format!("{}.check", record.path)))
        });
        let probe = record.probe.as_ref().or(around.probe);
        let template = match own.as_ref().map_or(&around.check, |(_, own)| own) {
            Shared::Wrong => return None,
            Shared::None => {
                if let Some(probe) = probe {
                    let hint = "add a \"check\", or leave \"probe\" out";
                    let message = "there is no check that would probe this";
                    self.reader.error_at(format!("{}.probe", record.path), probe.position, message, hint);
                }
                return None;
            }
            Shared::Template(template) => template.clone(),
        };
        if !may_be_checked(rtype) {
            let at = own.map_or(position, |(at, _)| at);
            self.not_checked(rtype, (format!("{}.check", record.path), at));
            return None;
        }
        // What is wrong with the data is told when the zone is built.
        let wire = rdata::parse(rtype, &record.text, &self.context.header.apex).ok()?;
        let port = match (rtype, wire.get(4..6)) {
            (RrType::SRV, Some(&[high, low])) if (high, low) != (0, 0) => {
                RecordPort::Said(u16::from_be_bytes([high, low]))
            }
            (RrType::MX, _) => RecordPort::Usual(SMTP),
            _ => RecordPort::None,
        };
        // Clients of an alias ask for the alias; those of MX and SRV records talk to the host (RFC 2782).
        let name = match rtype {
            RrType::CNAME => self.checked_name(),
            _ => EndpointData::Record { rtype, rdata: wire.into() }.host()?,
        };
        let template = match template.for_record(&name, port) {
            Ok(template) => template,
            Err(key) => {
                let message =
                    format!("the check needs its own \"{key}\": the name {name} cannot be asked for");
                let hint = format!("give the check \"{key}\": \"www.example.test\"");
                self.reader.error_at(record.path.clone(), position, message, hint);
                return None;
            }
        };
        let check = RecordCheck { template, probe: probe.map(|probe| probe.value) };
        if check.condition(&[Ipv4Addr::UNSPECIFIED.into()]).is_none() {
            let hint = "write \"tcp\": 443, or give the entry a \"probe\" such as \":443\"";
            self.reader.error_at(record.path.clone(), position, "the check has no port", hint);
            return None;
        }
        Some(Box::new(check))
    }

    /// A pool of one CNAME.
    pub(super) fn alias(
        &mut self,
        (keys, path, position): (&PoolKeys, &str, Position),
        around: &Around,
        endpoints: &mut Endpoints,
    ) -> Option<Pool> {
        let list = keys.cname.get()?;
        let path_of_list = key_path(path, "CNAME");
        if !keys.has_no_addresses() {
            let hint = "a CNAME stands alone (RFC 1034 §3.6.2): give it a pool of its own, at an owner whose pools hold nothing else";
            self.reader.error_at(
                path_of_list,
                list.position,
                "a pool holds either addresses or a CNAME",
                hint,
            );
            return None;
        }
        let [Element { value: record, position: at, .. }] = &list.value.0[..] else {
            let message = format!("a pool of {} CNAMEs", list.value.0.len());
            let hint = "an answer holds one CNAME (RFC 2181 §10.1): give each a pool of its own";
            self.reader.error_at(path_of_list, list.position, message, hint);
            return None;
        };
        if around.min_healthy.is_some_and(|wanted| wanted > 1) {
            let hint = "leave \"min_healthy\" out: a pool with a CNAME is healthy while that is up";
            let message = "a pool of one CNAME is never healthy with \"min_healthy\" above 1";
            self.reader.error_at(path.to_owned(), position, message, hint);
        }
        let of_pool = AroundRecord { check: around.check.clone(), probe: keys.probe.get() };
        let check = self.record_check(RrType::CNAME, record, *at, &of_pool);
        let start = u32::try_from(endpoints.cnames.len()).ok()?;
        endpoints.cnames.push(RdataText {
            text: record.text.clone(),
            position: *at,
            path: record.path.clone(),
            check,
        });
        let mut pool = Pool::new(Rule::All, Members::Endpoints(start..start + 1));
        pool.up_threshold = around.up_threshold.unwrap_or(0);
        Some(pool)
    }

    /// What must hold where pools hold CNAMEs: an answer has one.
    pub(super) fn check_aliases(&mut self, policy: &Policy, has_addresses: bool) -> Option<()> {
        let together = |pool: &Pool| match &pool.members {
            Members::Pools(members) => pool.rule == Rule::All && members.len() > 1,
            Members::Endpoints(_) => false,
        };
        let (message, hint) = if has_addresses {
            (
                "some pools hold addresses, and others a CNAME",
                "every answer of an owner has the same types, since one NSEC record tells which there are: give each pool a CNAME, or each addresses",
            )
        } else if policy.pools.iter().any(together) {
            (
                "policy \"all\" would answer with several CNAMEs",
                "an answer holds one CNAME (RFC 2181 §10.1): choose by failover, weighted, hashed or geo",
            )
        } else if policy.pools.iter().any(|pool| pool.answers.is_some_and(|answers| answers > 1)) {
            ("an answer holds one CNAME, whatever \"answers\" says", "leave \"answers\" out (RFC 2181 §10.1)")
        } else {
            return Some(());
        };
        self.reader.error(self.position, message, hint);
        None
    }

    /// A fallback stands for what is checked, type by type: what it lacks could not be answered, and what else it has never is.
    pub(super) fn fallback_types(
        &mut self,
        keys: &OwnerKeys,
        endpoints: &[Endpoint],
        (rrsets, has_cname_pools): (&[RrsetConfig], bool),
        is_alias: bool,
    ) {
        let Some(At { value: fallback, position }) = keys.fallback.get() else { return };
        let at = *position;
        let is_decided = |rrset: &&RrsetConfig| {
            rrset.rtype == RrType::CNAME && has_cname_pools
                || rrset.data.iter().any(|data| data.check.is_some())
        };
        let decided: Vec<RrType> = rrsets.iter().filter(is_decided).map(|rrset| rrset.rtype).collect();
        for rtype in
            decided.iter().filter(|rtype| fallback.records.iter().all(|rrset| rrset.rtype != **rtype))
        {
            let example = match *rtype {
                RrType::CNAME => "\"sorry.example.net.\"",
                RrType::MX => "[\"10 backup.example.net.\"]",
                _ => "[\"10 5 443 backup.example.net.\"]",
            };
            let hint = format!(
                "add \"{rtype}\": {example}; every answer of an owner has the same types, since one NSEC record tells which there are"
            );
            self.reader.error_in("fallback", at, format!("the fallback has no {rtype}"), hint);
        }
        let has_checked_address = is_alias || endpoints.iter().any(|endpoint| endpoint.condition.is_some());
        if has_checked_address && fallback.addresses.is_empty() {
            let hint = "give at least one address under \"A\" or \"AAAA\"";
            self.reader.error_in("fallback", at, "the fallback has no address", hint);
        }
        let unused =
            fallback.records.iter().map(|rrset| rrset.rtype).filter(|rtype| !decided.contains(rtype));
        let has_addresses = is_alias || !endpoints.is_empty();
        let addresses = Some("addresses").filter(|_| !has_addresses && !fallback.addresses.is_empty());
        let unused = unused.map(|rtype| rtype.to_string()).chain(addresses.map(str::to_owned));
        for what in unused.filter(|_| !decided.is_empty() || has_addresses) {
            let message = format!("the fallback's {what} would never be answered");
            let hint = "a fallback has the types that are checked here: every answer of an owner has the same ones, since one NSEC record tells which there are";
            self.reader.error_in("fallback", at, message, hint);
        }
        if let Some(several) = fallback.records.iter().find(|r| r.rtype == RrType::CNAME && r.data.len() > 1)
        {
            let message = format!("a fallback of {} CNAMEs", several.data.len());
            self.reader.error_in("fallback", at, message, "an answer holds one CNAME (RFC 2181 §10.1)");
        }
    }
}
