//! How keys become an owner's [`Policy`]: pools are resolved, nested and held to the limits.

use std::collections::HashMap;
use std::sync::Arc;

use super::endpoints::Endpoints;
use super::owner::{OwnerKeys, Resolver, Shared};
use super::pool::{PolicyWord, PoolKeys, PoolValue};
use crate::config::geo::Region;
use crate::config::json::{At, Boolean, Element, Map, OneOrMany, Slot, key_path, nearest};
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::policy::{Geo, MAX_POOL_DEPTH, Member, Members, Policy, Pool, Rule};
use crate::model::prefixes::PrefixTable;
use crate::model::rrtype::RrType;

/// What a pool takes from those around it.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) check: Shared,
    pub(super) min_healthy: Option<u16>,
    pub(super) up_threshold: Option<u8>,
}

/// A pool to be resolved: its keys, its JSON path, its place.
#[derive(Clone)]
struct Spec<'k> {
    keys: &'k PoolKeys,
    path: String,
    position: Position,
}

/// What chooses among pools: an owner, or a pool of pools.
struct Group<'k> {
    word: PolicyWord,
    failback: &'k Slot<Boolean>,
    pools: &'k Slot<OneOrMany<PoolValue>>,
    map: &'k Slot<Map<PoolValue>>,
    path: String,
    position: Position,
}

impl Group<'_> {
    fn has_members(&self) -> bool {
        !self.pools.is_absent() || !self.map.is_absent()
    }
}

/// An owner's policy in the making.
pub(super) struct Tree<'k> {
    pools: Vec<Pool>,
    endpoints: &'k mut Endpoints,
    /// Pools directly under the owner that are written in place and have a name.
    local: HashMap<&'k str, Spec<'k>>,
    /// Pools that were resolved by name; nothing for one that was reported as wrong.
    made: HashMap<String, Option<u32>>,
    /// Names that are being resolved, each for the one before it.
    open: Vec<String>,
    depth: usize,
    /// What the owner gives to every pool.
    around: Around,
}

impl<'a> Resolver<'a, '_, '_> {
    /// How the owner's endpoints become an answer; `None` for all that are up. Appends the endpoints of its pools to `endpoints`.
    pub(super) fn policy(
        &mut self,
        keys: &OwnerKeys,
        has_addresses: bool,
        shared: &Shared,
        endpoints: &mut Endpoints,
    ) -> Option<Box<Policy>> {
        let word = keys.policy.get().map_or(PolicyWord::All, |given| given.value);
        // The limits of the keys' types make these lossless.
        let answers = keys.answers.get().map(|given| given.value.0 as u16);
        let min_healthy = keys.min_healthy.get().map(|given| given.value.0 as u16);
        let up_threshold = keys.up_threshold.get().map(|given| given.value.0 as u8);
        let path = self.reader.path();
        let group = Group {
            word,
            failback: &keys.failback,
            pools: &keys.pools,
            map: &keys.map,
            path: path.clone(),
            position: self.position,
        };
        self.check_group(&group);
        if let (Some(at), true) = (keys.min_healthy.key_position(), !group.has_members()) {
            let hint = "it says when a pool gives way to the next; \"up_threshold\" does without pools";
            self.reader.error_in(
                "min_healthy",
                at,
                "\"min_healthy\" is about pools, and there are none",
                hint,
            );
        }
        if !group.has_members() {
            if word == PolicyWord::Geo {
                return None;
            }
            let mut policy = self.policy_over_addresses(keys, has_addresses, endpoints)?;
            let root = policy.pools.last_mut()?;
            (root.rule, root.answers) = (rule(word, keys.failback.get()), answers);
            root.up_threshold = up_threshold.unwrap_or(0);
            return self.limited(policy);
        }
        if has_addresses {
            let key = if keys.pools.is_absent() { "map" } else { "pools" };
            let at = keys.pools.key_position().or(keys.map.key_position()).unwrap_or(self.position);
            let hint = "move the addresses into a pool of their own";
            self.reader.error_in(key, at, "an owner has either addresses or pools", hint);
            return None;
        }
        if let Some(cname) = keys.rrsets.iter().find(|rrset| rrset.rtype == RrType::CNAME) {
            let hint = "move the CNAME into a pool of its own";
            self.reader.error_in("CNAME", cname.position, "an owner has either a CNAME or pools", hint);
            return None;
        }
        let around = Around { check: shared.clone(), min_healthy, up_threshold };
        let list = keys.pools.get().map_or(&[][..], |list| &list.value.0);
        let (local, made, open) = (self.local_pools(list), HashMap::new(), Vec::new());
        let mut tree = Tree { pools: Vec::new(), endpoints, local, made, open, depth: 0, around };
        let around = tree.around.clone();
        let root = self.group(&group, &around, &mut tree)?;
        if word == PolicyWord::Geo {
            self.unused_pools(&tree);
        }
        tree.pools.push(Pool { answers, ..root });
        let policy = Policy { pools: tree.pools };
        if !endpoints.cnames.is_empty() {
            self.check_aliases(&policy, !endpoints.list.is_empty())?;
        }
        self.limited(policy)
    }

    /// Keys of a pool of pools, or of an owner with pools, that do not belong together.
    fn check_group(&mut self, group: &Group<'_>) {
        let Group { word, failback, pools, map, path, .. } = group;
        if let Some(at) = failback.key_position() {
            let (message, hint) = if *word != PolicyWord::Failover {
                ("\"failback\" belongs to failover", "add \"policy\": \"failover\", or leave it out")
            } else if pools.is_absent() {
                (
                    "\"failback\" is about pools, and there are none",
                    "put each address, or several, into a pool of its own",
                )
            } else {
                ("", "")
            };
            if !message.is_empty() {
                self.reader.error_at(key_path(path, "failback"), at, message, hint);
            }
        }
        match (word, map.key_position()) {
            (PolicyWord::Geo, None) => {
                let hint = "add \"map\": { \"EU\": \"fra\", \"default\": \"ams\" }";
                self.reader.error_at(path.clone(), group.position, "the policy geo has no \"map\"", hint);
            }
            (PolicyWord::Geo, _) | (_, None) => {}
            (_, Some(at)) => {
                let hint = "add \"policy\": \"geo\", or leave it out";
                self.reader.error_at(key_path(path, "map"), at, "\"map\" belongs to geo", hint);
            }
        }
    }

    /// A pool of pools, or the owner's root; `None` if anything of it was reported as wrong.
    fn group<'k>(&mut self, group: &Group<'k>, around: &Around, tree: &mut Tree<'k>) -> Option<Pool>
    where
        'a: 'k,
    {
        if group.word == PolicyWord::Geo {
            let At { value: Map(entries), position } = group.map.get()?;
            return self.by_place(entries, (&group.path, *position), around, tree);
        }
        let list = group.pools.get()?;
        let path = key_path(&group.path, "pools");
        let members = self.members(&list.value.0, &path, around, tree)?;
        let pool = Pool::new(rule(group.word, group.failback.get()), Members::Pools(members));
        self.check_together(&tree.pools, &pool, path, list.position)?;
        Some(pool)
    }

    /// A pool that chooses by where the client is.
    fn by_place<'k>(
        &mut self,
        entries: &'k [(String, At<Option<PoolValue>>)],
        (path, position): (&str, Position),
        around: &Around,
        tree: &mut Tree<'k>,
    ) -> Option<Pool>
    where
        'a: 'k,
    {
        let map_path = key_path(path, "map");
        let (mut regions, mut members, mut default, mut is_good) = (Vec::new(), Vec::new(), None, true);
        for (branch, (text, At { value, position })) in entries.iter().enumerate() {
            let path = key_path(&map_path, text);
            let member =
                value.as_ref().and_then(|value| self.member(value, (path.clone(), *position), around, tree));
            is_good &= member.is_some();
            members.extend(member);
            if text == "default" {
                default = Some(branch);
                continue;
            }
            match text.parse::<Region>() {
                Ok(region) => regions.push((region, branch as u16, path, *position)),
                Err((message, hint)) => {
                    is_good = false;
                    self.reader.error_at(path, *position, message, hint);
                }
            }
        }
        let Some(default) = default else {
            let hint = "add \"default\": the pool of all clients that no other entry is about";
            self.reader.error_at(map_path, position, "the map has no \"default\"", hint);
            return None;
        };
        let table = self.table(&regions, default as u16).filter(|_| is_good)?;
        let regions = entries.iter().map(|(text, _)| text.as_str().into()).collect();
        Some(Pool::new(Rule::Geo(Geo { table, regions, default }), Members::Pools(members)))
    }

    /// The table that clients are looked up in.
    fn table(
        &mut self,
        regions: &[(Region, u16, String, Position)],
        default: u16,
    ) -> Option<Arc<PrefixTable>> {
        let map: Vec<(Region, u16)> = regions.iter().map(|(region, branch, ..)| (*region, *branch)).collect();
        let needs_database = |r: &Region| !matches!(r, Region::Network(..));
        match self.context.geo.table(&map, default) {
            Ok((table, unused)) => {
                for (_, _, path, at) in regions.iter().filter(|(region, ..)| unused.contains(region)) {
                    let file = self.reader.source().file;
                    let message = "no network of the databases lies in this region";
                    let hint = "is the database of the right kind? \"AS64500\" takes one of autonomous systems, \"US-CA\" one of cities";
                    let warning = Diagnostic::warning(file, message).at(*at, path.as_str()).hint(hint);
                    self.reader.report(warning);
                }
                Some(table)
            }
            Err(message) => {
                let (_, _, path, at) = regions.iter().find(|(region, ..)| needs_database(region))?;
                let hint =
                    "hale.json: \"geo\": { \"databases\": [\"GeoLite2-Country.mmdb\"] }; networks need none";
                self.reader.error_at(path.clone(), *at, message, hint);
                None
            }
        }
    }

    /// Pools of a geo policy that no entry of its map leads to.
    fn unused_pools(&mut self, tree: &Tree<'_>) {
        let mut unused: Vec<(&&str, &Spec<'_>)> =
            tree.local.iter().filter(|(name, _)| !tree.made.contains_key(**name)).collect();
        unused.sort_by_key(|(_, spec)| spec.position);
        for (name, spec) in unused {
            let file = self.reader.source().file;
            let message = format!("nothing leads to the pool \"{name}\"");
            let warning = Diagnostic::warning(file, message).at(spec.position, spec.path.as_str());
            self.reader.report(warning.hint("name it in the \"map\", or leave it out"));
        }
    }

    /// A policy that chooses among the owner's own addresses; `None` if it has no key that asks for one.
    fn policy_over_addresses(
        &mut self,
        keys: &OwnerKeys,
        has_addresses: bool,
        endpoints: &Endpoints,
    ) -> Option<Policy> {
        let policy = keys.policy.get().filter(|given| given.value != PolicyWord::All);
        let slots = [
            ("policy", policy.and(keys.policy.key_position())),
            ("answers", keys.answers.key_position()),
            ("up_threshold", keys.up_threshold.key_position()),
        ];
        let (key, at) = slots.into_iter().find_map(|(key, at)| Some((key, at?)))?;
        if !has_addresses && keys.pools.is_absent() {
            let message = format!("\"{key}\" is about addresses, and there are none");
            self.reader.error_in(key, at, message, "give \"A\" or \"AAAA\" records, or \"pools\"");
        }
        (!endpoints.list.is_empty()).then(|| Policy::all(endpoints.list.len()))
    }

    /// The policy, if it keeps within the limits.
    fn limited(&mut self, policy: Policy) -> Option<Box<Policy>> {
        let (variants, entries) = (policy.variants(), policy.pick_entries());
        let limits = self.context.header.policy_limits;
        let (message, hint) = if variants > limits.answers {
            (
                format!("this policy can give {variants} different answers, the limit is {}", limits.answers),
                "each is signed on its own: put fewer addresses into weighted and hashed pools, leave \"answers\" out where all will do, or raise limits.policy.answers in hale.json",
            )
        } else if entries > limits.ways {
            (
                format!("these pools come to {entries} ways to an answer, the limit is {}", limits.ways),
                "a pool that several pools hold counts in each of them: nest fewer, or raise limits.policy.ways in hale.json",
            )
        } else {
            return Some(Box::new(policy));
        };
        self.reader.error(self.position, message, hint);
        None
    }

    /// The pools of an owner's list that can be referred to by name.
    fn local_pools<'k>(&mut self, list: &'k [Element<PoolValue>]) -> HashMap<&'k str, Spec<'k>> {
        let mut local: HashMap<&str, Spec<'_>> = HashMap::new();
        for Element { value, position, .. } in list {
            let PoolValue::Keys(keys, path) = value else { continue };
            let Some(name) = keys.name.get() else { continue };
            let text = name.value.0.as_str();
            if let Some(first) = local.get(text) {
                let hint = format!("it is first given at {}:{}", first.position.line, first.position.column);
                let message = format!("the pool \"{text}\" stands twice");
                self.reader.error_at(format!("{path}.name"), name.position, message, hint);
                continue;
            }
            local.insert(text, Spec { keys, path: path.clone(), position: *position });
        }
        local
    }

    /// Resolves the pools of the list at `path`; `None` if any of them was reported as wrong.
    fn members<'k>(
        &mut self,
        list: &'k [Element<PoolValue>],
        path: &str,
        around: &Around,
        tree: &mut Tree<'k>,
    ) -> Option<Vec<Member>>
    where
        'a: 'k,
    {
        let member = |Element { value, position, index }: &'k Element<PoolValue>| {
            self.member(value, (format!("{path}[{index}]"), *position), around, tree)
        };
        let members: Vec<Option<Member>> = list.iter().map(member).collect();
        members.into_iter().collect()
    }

    /// Resolves a pool that is given by name or in place.
    fn member<'k>(
        &mut self,
        value: &'k PoolValue,
        (path, position): (String, Position),
        around: &Around,
        tree: &mut Tree<'k>,
    ) -> Option<Member>
    where
        'a: 'k,
    {
        let (pool, weight) = match value {
            PoolValue::Named(name) => (self.reference(name, (path, position), tree)?, 1),
            PoolValue::Keys(keys, path) => {
                let weight = keys.weight.get().map_or(1, |given| given.value.0 as u16);
                let spec = Spec { keys, path: path.clone(), position };
                (self.in_place(spec, around, tree)?, weight)
            }
        };
        Some(Member { pool, weight })
    }

    /// A pool that stands in a list as an object: a reference with a weight, or one written in place.
    fn in_place<'k>(&mut self, spec: Spec<'k>, around: &Around, tree: &mut Tree<'k>) -> Option<u32>
    where
        'a: 'k,
    {
        let keys = spec.keys;
        if let Some(reference) = keys.pool.get() {
            if let Some(key) = keys.beside_pool() {
                let message = format!("\"{key}\" has no effect beside \"pool\"");
                let hint = "\"pool\" refers to a pool that is defined elsewhere: change that one, or write one in place";
                self.reader.error_at(spec.path, spec.position, message, hint);
                return None;
            }
            let place = (format!("{}.pool", spec.path), reference.position);
            return self.reference(&reference.value.0, place, tree);
        }
        let name = keys.name.get().map(|name| name.value.0.as_str());
        if let Some(name) =
            name.filter(|name| tree.local.get(name).is_some_and(|l| std::ptr::eq(l.keys, keys)))
        {
            return self.reference(name, (spec.path, spec.position), tree);
        }
        self.pool(spec, name, around, tree)
    }

    /// The pool with this name: one of the owner's, of the zone's or of `hale.json`'s. It is resolved once for an owner.
    fn reference<'k>(
        &mut self,
        name: &str,
        (path, at): (String, Position),
        tree: &mut Tree<'k>,
    ) -> Option<u32>
    where
        'a: 'k,
    {
        if let Some(start) = tree.open.iter().position(|open| open == name) {
            let cycle: Vec<String> = tree.open[start..].iter().map(|name| format!("\"{name}\"")).collect();
            let hint = format!("{} → \"{name}\": take one of them out", cycle.join(" → "));
            self.reader.error_at(path, at, format!("the pool \"{name}\" is part of itself"), hint);
            return None;
        }
        if let Some(made) = tree.made.get(name) {
            return *made;
        }
        let (pools, around) = (self.context.pools, tree.around.clone());
        tree.open.push(name.to_owned());
        let found = match (tree.local.get(name).cloned(), pools.get(name)) {
            (Some(spec), _) => self.pool(spec, Some(name), &around, tree),
            (None, Some((Some(shared), around_it))) => {
                let path = key_path("pools", name);
                let spec = Spec { keys: &shared.keys, path, position: shared.position };
                let (before, cnames) = (self.reader.finding_count(), tree.endpoints.cnames.len());
                let found = self.pool(spec, Some(name), &around, tree);
                self.reader.blame_since(before, &around_it.file);
                if around_it.file != self.reader.source().file {
                    // What is wrong with them is found out when the zone is built, and told of the zone's own file.
                    for cname in &mut tree.endpoints.cnames[cnames..] {
                        (cname.position, cname.path) = (self.position, self.reader.path());
                    }
                }
                found
            }
            // It was reported where it stands.
            (None, Some((None, _))) => None,
            (None, None) => {
                let known = pools.names().into_iter().chain(tree.local.keys().copied());
                let hint = match nearest(name, known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => "define it under \"pools\", in the zone or in hale.json".to_owned(),
                };
                self.reader.error_at(path, at, format!("there is no pool \"{name}\""), hint);
                None
            }
        };
        tree.open.pop();
        tree.made.insert(name.to_owned(), found);
        found
    }

    /// Resolves a pool with all that it holds.
    fn pool<'k>(
        &mut self,
        spec: Spec<'k>,
        name: Option<&str>,
        around: &Around,
        tree: &mut Tree<'k>,
    ) -> Option<u32>
    where
        'a: 'k,
    {
        let Spec { keys, path, position } = spec;
        if tree.depth == MAX_POOL_DEPTH {
            let message = format!("more than {MAX_POOL_DEPTH} pools within each other");
            self.reader.error_at(path, position, message, "no answer needs that many decisions: nest fewer");
            return None;
        }
        let word = keys.policy.get().map_or(PolicyWord::All, |given| given.value);
        let group = Group {
            word,
            failback: &keys.failback,
            pools: &keys.pools,
            map: &keys.map,
            path: path.clone(),
            position,
        };
        self.check_group(&group);
        let check = keys.check.get().map(|check| self.template(check, format!("{path}.check")));
        let around = Around {
            check: check.unwrap_or_else(|| around.check.clone()),
            min_healthy: keys.min_healthy.get().map(|given| given.value.0 as u16).or(around.min_healthy),
            up_threshold: keys.up_threshold.get().map(|given| given.value.0 as u8).or(around.up_threshold),
        };
        let has_records = !keys.has_no_records();
        if let (Some(at), true) = (keys.probe.key_position(), keys.cname.is_absent()) {
            let hint = "an address has its own: { \"address\": …, \"probe\": … }";
            self.reader.error_at(
                key_path(&path, "probe"),
                at,
                "\"probe\" is about the pool's CNAME, and there is none",
                hint,
            );
        }
        let mut pool = match (group.has_members(), has_records) {
            (true, false) => {
                tree.depth += 1;
                let pool = self.group(&group, &around, tree);
                tree.depth -= 1;
                pool?
            }
            (true, true) => {
                let (what, hint) = match keys.cname.is_absent() {
                    true => ("addresses", "move the addresses into a pool of their own"),
                    false => ("a CNAME", "move the CNAME into a pool of its own"),
                };
                let message = format!("a pool holds either {what} or other pools");
                self.reader.error_at(path, position, message, hint);
                return None;
            }
            (false, false) => {
                let hint =
                    "give it addresses under \"A\" or \"AAAA\", a \"CNAME\", or other pools under \"pools\"";
                self.reader.error_at(path, position, "the pool is empty", hint);
                return None;
            }
            // That there is no map was reported.
            (false, true) if word == PolicyWord::Geo => return None,
            (false, true) if !keys.cname.is_absent() => {
                self.alias((keys, &path, position), &around, tree.endpoints)?
            }
            (false, true) => {
                let rule = rule(word, keys.failback.get());
                self.leaf((keys, &path), rule, &around, tree.endpoints)?
            }
        };
        pool.name = name.map(Into::into);
        pool.answers = keys.answers.get().map(|given| given.value.0 as u16);
        tree.pools.push(pool);
        u32::try_from(tree.pools.len() - 1).ok()
    }

    /// A pool of addresses.
    fn leaf(
        &mut self,
        (keys, path): (&PoolKeys, &str),
        rule: Rule,
        around: &Around,
        endpoints: &mut Endpoints,
    ) -> Option<Pool> {
        let start = endpoints.begin_pool();
        for (entry, family) in keys.addresses() {
            self.add_endpoint(entry.clone(), family, &around.check, endpoints);
        }
        let end = endpoints.list.len();
        let members = Members::Endpoints(u32::try_from(start).ok()?..u32::try_from(end).ok()?);
        let mut pool = Pool::new(rule, members);
        pool.min_healthy = around.min_healthy.unwrap_or(1);
        pool.up_threshold = around.up_threshold.unwrap_or(0);
        if keys.min_healthy.get().is_some_and(|given| given.value.0 > (end - start) as u64)
            && keys.addresses().count() == end - start
            && let Some(at) = keys.min_healthy.key_position()
        {
            let message = format!("a pool of {} addresses is never healthy with so many", end - start);
            let hint = "lower \"min_healthy\", or leave it out: one address is enough then";
            self.reader.error_at(format!("{path}.min_healthy"), at, message, hint);
        }
        // What an entry lacks was reported.
        (end > start).then_some(pool)
    }

    /// Pools that are answered together must not choose by the query: each combination would be an answer of its own.
    fn check_together(&mut self, pools: &[Pool], pool: &Pool, path: String, at: Position) -> Option<()> {
        let Members::Pools(members) = &pool.members else { return Some(()) };
        let chooses = |at: u32| chooses_by_query(pools, at as usize);
        if pool.rule != Rule::All || !members.iter().any(|m| chooses(m.pool)) {
            return Some(());
        }
        let message =
            "policy \"all\" answers with all of these pools together, and one of them chooses by the query";
        let hint = "give this one a \"policy\" that chooses too, or let its pools be \"all\" or \"failover\", without \"answers\"";
        self.reader.error_at(path, at, message, hint);
        None
    }
}

fn rule(word: PolicyWord, failback: Option<&At<Boolean>>) -> Rule {
    match word {
        PolicyWord::All => Rule::All,
        PolicyWord::Failover => Rule::Failover { failback: failback.is_none_or(|given| given.value.0) },
        PolicyWord::Weighted => Rule::Weighted,
        // A pool that chooses by place has a rule of its own.
        PolicyWord::Hashed | PolicyWord::Geo => Rule::Hashed,
    }
}

/// Whether answers of a pool differ from query to query.
fn chooses_by_query(pools: &[Pool], at: usize) -> bool {
    let pool = &pools[at];
    match &pool.members {
        _ if matches!(pool.rule, Rule::Weighted | Rule::Hashed | Rule::Geo(_)) || pool.answers.is_some() => {
            true
        }
        Members::Endpoints(_) => false,
        Members::Pools(members) => members.iter().any(|m| chooses_by_query(pools, m.pool as usize)),
    }
}
