//! One key of `records`: its keys, and how they become an [`OwnerConfig`].

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::address::{Addresses, Entry, Fallback, Family};
use super::check::CheckRef;
use super::endpoints::Endpoints;
use super::pool::{PolicyWord, PoolValue, Pools};
use super::record::may_be_checked;
use super::rrset::{RrsetKeys, read_rrset, rrset_schema};
use super::template::{Checks, ProbeTemplate, Template};
use crate::config::geo::Geo;
use crate::config::json::{
    At, Boolean, Int, Kind, Map, OneOrMany, Port, Read, Reader, Slot, Text, Ttl, Value, Word,
};
use crate::config::schema::Definitions;
use crate::config::types::{Order, OwnerConfig, RrsetConfig, Startup, WhenAllDown, ZoneHeader};
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::Name;
use crate::model::rrtype::RrType;
use crate::model::target::{Check, Endpoint, Target};

object! {
    /// The records of one owner name.
    pub(crate) struct OwnerKeys {
        /// IPv4 addresses.
        "A" a: Addresses,
        /// IPv6 addresses.
        "AAAA" aaaa: Addresses,
        /// Addresses of both families.
        "ips" ips: Addresses,
        /// A name whose addresses this owner has: Hale resolves it, in the background. For an apex, and beside other data.
        "ALIAS" alias: Text,
        /// The check of every address of this owner, or of its CNAME: a name, an object, or "none".
        "check" check: CheckRef,
        /// Short for a TCP check of this port each 30s that one failure flips, with "when_all_down": "none".
        "health_port" health_port: Port,
        /// TTL of every RRset of this owner that has none of its own.
        "ttl" ttl: Ttl,
        /// How endpoints become an answer: all that are up, the first healthy pool, one by weight, the same one for the same client, or by where
        /// the client is.
        "policy" policy: PolicyWord,
        /// Pools that the policy chooses among, instead of addresses: by name, or written in place.
        "pools" pools: OneOrMany<PoolValue>,
        /// Which pool clients of a continent, country, network or autonomous system are given; "default" for all others.
        "map" map: Map<PoolValue>,
        /// How many addresses an answer holds at most; 1 unless given where the policy chooses addresses, else all.
        "answers" answers: Int<1, 65_535>,
        /// A pool is healthy with at least so many of its addresses up; 1 unless given.
        "min_healthy" min_healthy: Int<1, 65_535>,
        /// With a smaller percentage of its addresses up a pool is not healthy, and serves all of them if it is chosen nevertheless.
        "up_threshold" up_threshold: Int<1, 100>,
        /// Whether failover goes back to an earlier pool as soon as that is healthy; true unless given.
        "failback" failback: Boolean,
        /// What to answer when every endpoint is down: all of them, the last good answer, the fallback, or none (NODATA).
        "when_all_down" when_all_down: WhenAllDown,
        /// What is answered with "when_all_down": "fallback".
        "fallback" fallback: Fallback,
        /// Order of addresses in answers; rotate unless given.
        "order" order: Order,
        /// What is answered before the first verdict; the zone's unless given.
        "startup" startup: Startup,
    }
    later: [],
    other: read_rrset, rrset_schema,
    extra: { rrsets: Vec<RrsetKeys>, has_other_key: bool }
}

impl Word for WhenAllDown {
    const WHAT: &'static str = "a rule for when all are down";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("all", Self::All),
        ("last-good", Self::LastGood),
        ("fallback", Self::Fallback),
        ("none", Self::None),
    ];
    const LATER: &'static [&'static str] = &[];
}

impl Word for Order {
    const WHAT: &'static str = "an order";
    const WORDS: &'static [(&'static str, Self)] = &[("rotate", Self::Rotate), ("fixed", Self::Fixed)];
    const LATER: &'static [&'static str] = &[];
}

impl Word for Startup {
    const WHAT: &'static str = "a start-up rule";
    const WORDS: &'static [(&'static str, Self)] = &[("wait", Self::Wait), ("optimistic", Self::Optimistic)];
    const LATER: &'static [&'static str] = &[];
}

impl OwnerKeys {
    /// Those of an owner whose value was reported as wrong.
    pub(super) fn nothing() -> Self {
        Self { has_other_key: true, ..Self::default() }
    }

    /// Whether it has no addresses of its own.
    pub(super) fn has_no_addresses(&self) -> bool {
        self.a.is_absent() && self.aaaa.is_absent() && self.ips.is_absent()
    }
}

/// The value of a key of `records`.
pub(crate) struct OwnerValue(pub(crate) OwnerKeys);

impl Value for OwnerValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        match reader.peek()? {
            Kind::Array => {
                let Some(list) = OneOrMany::<Entry>::read(reader)? else { return Ok(None) };
                let entries = list.0.into_iter().map(|entry| entry.value).collect();
                let ips = Addresses { ttl: None, entries };
                let ips = Slot::Given(at, At { value: ips, position: at });
                // A plain list is static by its shape: nothing to ask for a check.
                let check = Slot::Given(at, At { value: CheckRef::None, position: at });
                Ok(Some(Self(OwnerKeys { ips, check, ..OwnerKeys::default() })))
            }
            Kind::Object => Ok(OwnerKeys::read(reader)?.map(Self)),
            _ => reader.mismatch(
                "an owner's records",
                "a list of addresses, or an object such as { \"A\": [\"192.0.2.1\"] }",
            ),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [OneOrMany::<Entry>::schema(definitions), OwnerKeys::schema(definitions)] })
    }
}

/// What an owner is resolved against.
pub(crate) struct Context<'a> {
    /// The zone.
    pub(crate) header: &'a ZoneHeader,
    /// The zone's `checks`.
    pub(crate) checks: &'a Checks,
    /// The zone's `pools`.
    pub(crate) pools: &'a Pools,
    /// Where clients are.
    pub(crate) geo: &'a Geo,
    /// What `health_port` stands for, without the port.
    pub(crate) health_port: &'a ProbeTemplate,
}

/// The check that an owner's, or a pool's, addresses share.
#[derive(Clone)]
pub(super) enum Shared {
    None,
    Template(Template),
    /// Reported as wrong; addresses are neither checked nor complained about.
    Wrong,
}

/// One owner on its way from keys to [`OwnerConfig`].
pub(crate) struct Resolver<'a, 'r, 't> {
    pub(crate) context: &'a Context<'a>,
    pub(crate) reader: &'r mut Reader<'t>,
    /// Owner name relative to the zone.
    pub(crate) relative: Name,
    /// Where the owner's key stands.
    pub(crate) position: Position,
    /// How many findings there were before its value was read.
    pub(crate) before: usize,
}

impl<'a> Resolver<'a, '_, '_> {
    /// Checks the keys against each other, and resolves checks into targets.
    pub(crate) fn resolve(mut self, mut keys: OwnerKeys) -> OwnerConfig {
        self.conflicts(&keys);
        let shared = self.shared_check(&keys);
        let (a_ttl, aaaa_ttl) = self.address_ttls(&keys);
        let has_health_port = !keys.health_port.is_absent();
        let has_addresses = !keys.has_no_addresses();
        let mut endpoints = Endpoints::default();
        for (addresses, family) in
            [(keys.a.take(), Family::V4), (keys.aaaa.take(), Family::V6), (keys.ips.take(), Family::Any)]
        {
            for entry in addresses.into_iter().flat_map(|addresses| addresses.value.entries) {
                self.add_endpoint(entry, family, &shared, &mut endpoints);
            }
        }
        let policy = self.policy(&keys, has_addresses, &shared, &mut endpoints);
        let alias = self.host_alias(&mut keys, has_addresses, &shared);
        let ttl = keys.ttl.get().map(|given| given.value.0);
        let mut rrsets: Vec<RrsetConfig> = std::mem::take(&mut keys.rrsets)
            .into_iter()
            .map(|rrset| self.rrset(rrset, &shared, ttl))
            .collect();
        let data = std::mem::take(&mut endpoints.cnames);
        let has_cname_pools = !data.is_empty();
        if has_cname_pools {
            rrsets.push(RrsetConfig { rtype: RrType::CNAME, ttl, data });
        }
        // A record whose check is wrong seems to have none.
        if !self.reader.has_error_since(self.before) {
            self.unused_rule(&keys, &endpoints.list, &rrsets);
            self.fallback_types(&keys, &endpoints.list, (&rrsets, has_cname_pools), alias.is_some());
        }
        let fallback = keys.fallback.take().map(|given| given.value);
        let (fallback, fallback_records) = fallback.map(|f| (f.addresses, f.records)).unwrap_or_default();
        let default_when_all_down = if has_health_port { WhenAllDown::None } else { WhenAllDown::All };
        OwnerConfig {
            relative: self.relative,
            endpoints: endpoints.list,
            endpoint_places: endpoints.places,
            a_ttl: a_ttl.or(ttl),
            aaaa_ttl: aaaa_ttl.or(ttl),
            when_all_down: keys.when_all_down.take().map_or(default_when_all_down, |given| given.value),
            fallback,
            order: keys.order.take().map_or(Order::default(), |given| given.value),
            startup: keys.startup.take().map(|given| given.value),
            policy,
            alias,
            rrsets,
            fallback_records,
            is_broken: self.reader.has_error_since(self.before),
            position: self.position,
        }
    }

    fn shared_check(&mut self, keys: &OwnerKeys) -> Shared {
        match (&keys.health_port, &keys.check) {
            (Slot::Absent, Slot::Absent) => Shared::None,
            (Slot::Absent, Slot::Given(_, check)) => {
                let path = self.reader.path_below(&["check"]);
                self.template(check, path)
            }
            (Slot::Given(_, port), Slot::Absent) => {
                let probe = self.context.health_port.with_port(port.value.0);
                Shared::Template(Template::Probe(Arc::new(probe)))
            }
            (Slot::Given(at, _), Slot::Given(..)) => {
                let at = *at;
                self.reader.error_in(
                    "health_port",
                    at,
                    "\"health_port\" and \"check\" exclude each other",
                    "\"health_port\": 80 is short for a tcp check of port 80; keep one of them",
                );
                Shared::Wrong
            }
            _ => Shared::Wrong,
        }
    }

    /// Resolves what a `check` key at `path` holds.
    pub(super) fn template(&mut self, check: &At<CheckRef>, path: String) -> Shared {
        let (checks, at) = (self.context.checks, check.position);
        let found = match &check.value {
            CheckRef::None => return Shared::None,
            CheckRef::Inline(None) => None,
            CheckRef::Inline(Some(written)) => checks.inline(self.reader, written, &path, at),
            CheckRef::Named(name) => checks.named(self.reader, (name, path, at)),
        };
        found.map_or(Shared::Wrong, Shared::Template)
    }

    /// Keys that exclude or need each other.
    fn conflicts(&mut self, keys: &OwnerKeys) {
        let no_addresses = keys.has_no_addresses() && keys.pools.is_absent() && keys.map.is_absent();
        // A key that was refused, or that asks for addresses, says enough.
        let has_other_key = keys.has_other_key || !keys.health_port.is_absent() || !keys.alias.is_absent();
        if no_addresses && keys.rrsets.is_empty() && !has_other_key {
            self.reader.error(
                self.position,
                "the owner has no records",
                "give it an RR type such as \"A\", or leave the owner out",
            );
        }
        let has_cname = keys.rrsets.iter().any(|rrset| rrset.rtype == RrType::CNAME);
        if let (Some(at), true) =
            (keys.check.key_position(), no_addresses && !has_cname && keys.alias.is_absent())
            && !keys.rrsets.is_empty()
        {
            let hint = "a check governs A, AAAA and CNAME records; MX and SRV records have their own: { \"data\": \"10 mail\", \"check\": … }";
            self.reader.error_in("check", at, "there is no address here to check", hint);
        }
        if let (Some(at), true) = (keys.health_port.key_position(), keys.ips.is_absent()) {
            self.reader.error_in(
                "health_port",
                at,
                "\"health_port\" needs \"ips\"",
                "give the addresses under \"ips\", or use \"check\" with \"A\" and \"AAAA\"",
            );
        }
        self.unchecked_ips(keys);
        let fallback_wanted =
            keys.when_all_down.get().is_some_and(|given| given.value == WhenAllDown::Fallback);
        match (fallback_wanted, keys.fallback.key_position()) {
            (true, None) => {
                let at = keys.when_all_down.get().map_or(self.position, |given| given.position);
                self.reader.error_in(
                    "when_all_down",
                    at,
                    "there is no \"fallback\"",
                    "add \"fallback\": { \"A\": [\"192.0.2.99\"] }",
                );
            }
            (false, Some(at)) if !matches!(keys.when_all_down, Slot::Bad(_)) => {
                self.reader.error_in(
                    "fallback",
                    at,
                    "the fallback is never used",
                    "add \"when_all_down\": \"fallback\"",
                );
            }
            _ => {}
        }
    }

    /// `ips` is a-healthy-dns's key for checked addresses: one who leaves the port out has forgotten it.
    fn unchecked_ips(&mut self, keys: &OwnerKeys) {
        let Slot::Given(at, ips) = &keys.ips else { return };
        let own_checks = ips.value.entries.iter().any(|entry| entry.check.is_some());
        if keys.health_port.is_absent() && keys.check.is_absent() && !own_checks {
            self.reader.error_in(
                "ips",
                *at,
                "\"ips\" needs \"health_port\" or \"check\"",
                "addresses that are not checked stand in a plain list, or under \"A\" and \"AAAA\"",
            );
        }
    }

    /// TTLs given with the addresses themselves; one RRset has one TTL (RFC 2181 §5.2).
    fn address_ttls(&mut self, keys: &OwnerKeys) -> (Option<u32>, Option<u32>) {
        let given = |slot: &Slot<Addresses>| slot.get().and_then(|addresses| addresses.value.ttl.clone());
        let ips = given(&keys.ips);
        let mut choose = |own: Option<At<Ttl>>, key: &str| match (own, &ips) {
            (Some(own), Some(ips)) if own.value.0 != ips.value.0 => {
                let message = format!("\"{key}\" and \"ips\" give one RRset two TTLs");
                self.reader.error_in(
                    key,
                    own.position,
                    message,
                    "give the same TTL, or one \"ttl\" for the owner (RFC 2181 §5.2)",
                );
                Some(own.value.0)
            }
            (Some(own), _) => Some(own.value.0),
            (None, ips) => ips.as_ref().map(|ttl| ttl.value.0),
        };
        (choose(given(&keys.a), "A"), choose(given(&keys.aaaa), "AAAA"))
    }

    pub(super) fn add_endpoint(
        &mut self,
        entry: Entry,
        family: Family,
        shared: &Shared,
        out: &mut Endpoints,
    ) {
        let Some(address) = entry.address_of(self.reader, family) else { return };
        let own = entry.check.as_ref().map(|check| self.template(check, format!("{}.check", entry.path)));
        let condition = match own.as_ref().unwrap_or(shared) {
            Shared::Wrong => return,
            Shared::None => {
                if let Some(probe) = &entry.probe {
                    self.entry_error(
                        &entry,
                        ".probe",
                        probe.position,
                        "there is no check that would probe this",
                        "add a \"check\", or leave \"probe\" out",
                    );
                }
                None
            }
            Shared::Template(template) => {
                let is_alone = matches!(template, Template::Probe(_));
                let mut target = |probe: &Arc<ProbeTemplate>| {
                    self.target(&entry, address, probe, (own.is_some(), is_alone), out)
                };
                let Some(condition) = template.condition(&mut target) else { return };
                Some(condition)
            }
        };
        let endpoint = Endpoint { data: address.into(), weight: entry.weight, condition };
        out.push(endpoint, entry, self.reader);
    }

    /// The target that a probe makes of an entry. `own`: the check stands with the entry; `is_alone`: it is not part of a combination.
    fn target(
        &mut self,
        entry: &Entry,
        address: IpAddr,
        template: &Arc<ProbeTemplate>,
        (own, is_alone): (bool, bool),
        out: &mut Endpoints,
    ) -> Option<Target> {
        let check = match out.instances.iter().find(|(of, _)| Arc::ptr_eq(of, template)) {
            Some((_, check)) => check.clone(),
            None => {
                let check = self.instance(template);
                if let Err(key) = check {
                    // Once an owner is enough: its addresses share the check.
                    let message =
                        format!("the check needs its own \"{key}\": the owner's name cannot be asked for");
                    let hint = format!("give the check \"{key}\": \"www.example.test\"");
                    self.entry_error(entry, "", entry.position, &message, &hint);
                }
                let check = check.ok();
                if !own {
                    out.instances.push((Arc::clone(template), check.clone()));
                }
                check
            }
        };
        let probe = entry.probe.as_ref().map(|probe| probe.value);
        let target = template.target(check?, address, probe, is_alone);
        if target.is_none() {
            self.entry_error(
                entry,
                "",
                entry.position,
                "the check has no port",
                "write \"tcp\": 443, or give the entry a \"probe\" such as \":443\"",
            );
        }
        target
    }

    /// The check for this owner.
    pub(super) fn instance(&self, template: &ProbeTemplate) -> Result<Arc<Check>, &'static str> {
        template.for_owner(&self.checked_name())
    }

    /// The owner's name in the primary zone, which stands for it in alias zones too, so that they share the probe.
    pub(super) fn checked_name(&self) -> Name {
        let apex = &self.context.header.apex;
        let relative = self.relative.wire();
        let wire = [&relative[..relative.len() - 1], apex.wire()].concat();
        // Names that are too long were refused before.
        Name::from_wire(&wire).unwrap_or_else(|_| Name::root())
    }

    fn entry_error(&mut self, entry: &Entry, suffix: &str, at: Position, message: &str, hint: &str) {
        self.reader.error_at(format!("{}{suffix}", entry.path), at, message, hint);
    }

    fn unused_rule(&mut self, keys: &OwnerKeys, endpoints: &[Endpoint], rrsets: &[RrsetConfig]) {
        let mut unused = vec![("when_all_down", keys.when_all_down.key_position(), "none is ever down")];
        if !keys.pools.is_absent() || !keys.map.is_absent() {
            unused.push(("min_healthy", keys.min_healthy.key_position(), "every pool is healthy"));
        }
        unused.push(("up_threshold", keys.up_threshold.key_position(), "all of them are always up"));
        let may_be = rrsets.iter().filter(|rrset| may_be_checked(rrset.rtype)).flat_map(|rrset| &rrset.data);
        let mut all =
            endpoints.iter().map(|e| e.condition.is_some()).chain(may_be.map(|r| r.check.is_some()));
        let unchecked = all.clone().next().is_some() && !all.any(|is_checked| is_checked);
        for (key, at, so) in unused {
            let (Some(at), true) = (at, unchecked) else { continue };
            let path = self.reader.path_below(&[key]);
            let file = self.reader.source().file;
            let what = if endpoints.is_empty() { "record" } else { "address" };
            let message = format!("no {what} of this owner is checked, so {so}");
            let hint = format!("add a \"check\", or leave \"{key}\" out");
            self.reader.report(Diagnostic::warning(file, message).at(at, path).hint(hint));
        }
    }
}
