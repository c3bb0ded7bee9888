//! Pools: what a policy chooses among, written in place or shared by name, and how they become an owner's [`Policy`].

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::address::{Entry, Family};
use super::check::CheckRef;
use super::endpoints::Endpoints;
use super::owner::{OwnerKeys, Resolver, Shared};
use crate::config::json::{
    At, Boolean, Element, Int, Kind, Map, OneOrMany, Read, Reader, Slot, Text, Value, Word, nearest,
};
use crate::config::schema::Definitions;
use crate::model::diagnostic::Position;
use crate::model::policy::{
    MAX_PICK_ENTRIES, MAX_POOL_DEPTH, MAX_VARIANTS, Member, Members, Policy, Pool, Rule,
};

object! {
    /// Addresses, or other pools, that stand for each other.
    pub(crate) struct PoolKeys {
        /// Its name, for references, overrides and explanations.
        "name" name: Text,
        /// A pool that is defined elsewhere; beside it only "weight" counts.
        "pool" pool: Text,
        /// Relative weight among the pools beside it, 1 unless given.
        "weight" weight: Int<1, 65_535>,
        /// How its addresses or pools are chosen: all that are up, one by weight, the same one for the same client, or the first healthy one.
        "policy" policy: PolicyWord,
        /// IPv4 addresses.
        "A" a: OneOrMany<Entry>,
        /// IPv6 addresses.
        "AAAA" aaaa: OneOrMany<Entry>,
        /// Addresses of both families.
        "ips" ips: OneOrMany<Entry>,
        /// The check of every address of this pool: a name, an object, or "none"; the owner's unless given.
        "check" check: CheckRef,
        /// Pools within it, instead of addresses: by name, or written in place.
        "pools" pools: OneOrMany<PoolValue>,
        /// How many addresses an answer holds at most; what the pools around it say unless given.
        "answers" answers: Int<1, 65_535>,
        /// It is healthy with at least so many of its addresses up; what the pools around it say unless given, else 1.
        "min_healthy" min_healthy: Int<1, 65_535>,
        /// With a smaller percentage of its addresses up it is not healthy, and serves all of them if it is chosen nevertheless.
        "up_threshold" up_threshold: Int<1, 100>,
        /// Whether failover goes back to an earlier pool as soon as that is healthy; true unless given.
        "failback" failback: Boolean,
    }
    later: ["CNAME", "map"]
}

/// How endpoints become an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PolicyWord {
    /// All that are up.
    All,
    /// The first healthy one.
    Failover,
    /// One by weight.
    Weighted,
    /// The same one for the same client.
    Hashed,
}

impl Word for PolicyWord {
    const WHAT: &'static str = "a policy";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("all", Self::All),
        ("failover", Self::Failover),
        ("weighted", Self::Weighted),
        ("hashed", Self::Hashed),
    ];
    const LATER: &'static [&'static str] = &["geo"];
}

/// A pool in a list: the name of one, or one written in place.
pub(crate) enum PoolValue {
    /// The name of a pool that is defined elsewhere.
    Named(String),
    /// Written in place; its JSON path.
    Keys(Box<PoolKeys>, String),
}

impl Value for PoolValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => Ok(Some(Self::Named(reader.string()?.into_owned()))),
            Kind::Object => Ok(PoolKeys::read(reader)?.map(|keys| Self::Keys(Box::new(keys), reader.path()))),
            _ => reader
                .mismatch("a pool", "the name of a pool, or an object such as { \"A\": [\"192.0.2.1\"] }"),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "type": "string" }, PoolKeys::schema(definitions)] })
    }
}

/// Pools by name: a zone's, around which those of `hale.json` stand.
#[derive(Default)]
pub(crate) struct Pools {
    /// Nothing for one that was reported as wrong.
    own: HashMap<String, Option<SharedPool>>,
    outer: Option<Arc<Pools>>,
    /// The file they stand in.
    file: PathBuf,
}

impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

struct SharedPool {
    keys: PoolKeys,
    position: Position,
}

impl Pools {
    /// What the key `pools` holds, within the pools of the file around it. Addresses are judged here, so that a pool which nobody
    /// uses yet is judged too.
    pub(crate) fn new(reader: &mut Reader<'_>, map: Map<PoolKeys>, outer: Option<Arc<Self>>) -> Self {
        let mut own = HashMap::with_capacity(map.0.len());
        for (name, At { value, position }) in map.0 {
            let before = reader.finding_count();
            if let Some(keys) = &value {
                keys.judge(reader, &name, position);
            }
            let is_good = reader.finding_count() == before;
            own.insert(name, value.filter(|_| is_good).map(|keys| SharedPool { keys, position }));
        }
        Self { own, outer, file: reader.source().file.to_owned() }
    }

    fn get(&self, name: &str) -> Option<(&Option<SharedPool>, &Self)> {
        match self.own.get(name) {
            Some(found) => Some((found, self)),
            None => self.outer.as_ref()?.get(name),
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names = self.outer.as_ref().map_or_else(Vec::new, |outer| outer.names());
        names.extend(self.own.keys().map(String::as_str));
        names
    }
}

impl PoolKeys {
    fn has_no_addresses(&self) -> bool {
        self.a.is_absent() && self.aaaa.is_absent() && self.ips.is_absent()
    }

    fn addresses(&self) -> impl Iterator<Item = (&Entry, Family)> {
        let lists = [(&self.a, Family::V4), (&self.aaaa, Family::V6), (&self.ips, Family::Any)];
        lists.into_iter().flat_map(|(slot, family)| {
            let entries = slot.get().map_or(&[][..], |list| &list.value.0[..]);
            entries.iter().map(move |entry| (&entry.value, family))
        })
    }

    /// What can be said of a pool under `pools` before anybody refers to it.
    fn judge(&self, reader: &mut Reader<'_>, name: &str, position: Position) {
        for (entry, family) in self.addresses() {
            entry.address_of(reader, family);
        }
        let path = Reader::top_path(&["pools", name]);
        for (key, at) in [("name", self.name.key_position()), ("weight", self.weight.key_position())] {
            let Some(at) = at else { continue };
            let message = format!("\"{key}\" has no place in a pool that is defined by name");
            let hint = if key == "name" {
                format!("its name is \"{name}\"")
            } else {
                format!("give it where the pool is used: {{ \"pool\": \"{name}\", \"weight\": 3 }}")
            };
            reader.error_at(format!("{path}.{key}"), at, message, hint);
        }
        if let Some(at) = self.pool.key_position() {
            let message = "\"pool\" has no place in a pool that is defined by name";
            reader.error_at(
                format!("{path}.pool"),
                at,
                message,
                "write \"pools\": […] to build it from others",
            );
        } else if self.has_no_addresses() && self.pools.is_absent() {
            let hint = "give it addresses under \"A\" or \"AAAA\", or other pools under \"pools\"";
            reader.error_at(path, position, "the pool is empty", hint);
        }
    }
}

/// What a pool takes from those around it.
#[derive(Clone)]
struct Around {
    check: Shared,
    min_healthy: Option<u16>,
    up_threshold: Option<u8>,
}

/// A pool to be resolved: its keys, its JSON path, its place.
#[derive(Clone)]
struct Spec<'k> {
    keys: &'k PoolKeys,
    path: String,
    position: Position,
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
        let rule = self.owner_rule(keys);
        // The limits of the keys' types make these lossless.
        let answers = keys.answers.get().map(|given| given.value.0 as u16);
        let min_healthy = keys.min_healthy.get().map(|given| given.value.0 as u16);
        let up_threshold = keys.up_threshold.get().map(|given| given.value.0 as u8);
        let Some(list) = keys.pools.get() else {
            let mut policy = self.policy_over_addresses(keys, has_addresses, endpoints)?;
            let root = policy.pools.last_mut()?;
            (root.rule, root.answers, root.up_threshold) = (rule, answers, up_threshold.unwrap_or(0));
            return self.limited(policy);
        };
        if has_addresses {
            let hint = "move the addresses into a pool of their own";
            self.reader.error_in("pools", list.position, "an owner has either addresses or pools", hint);
            return None;
        }
        let around = Around { check: shared.clone(), min_healthy, up_threshold };
        let (local, made, open) = (self.local_pools(&list.value.0), HashMap::new(), Vec::new());
        let mut tree = Tree { pools: Vec::new(), endpoints, local, made, open, depth: 0, around };
        let (path, around) = (self.reader.path_below(&["pools"]), tree.around.clone());
        let members = self.members(&list.value.0, &path, &around, &mut tree)?;
        let root = Pool { answers, ..Pool::new(rule, Members::Pools(members)) };
        self.check_together(&tree.pools, &root, path, list.position)?;
        tree.pools.push(root);
        self.limited(Policy { pools: tree.pools })
    }

    fn owner_rule(&mut self, keys: &OwnerKeys) -> Rule {
        let word = keys.policy.get().map_or(PolicyWord::All, |given| given.value);
        let no_pools = keys.pools.is_absent();
        if let Some(at) = keys.failback.key_position() {
            let path = self.reader.path_below(&["failback"]);
            self.check_failback(word, no_pools, path, at);
        }
        if let (Some(at), true) = (keys.min_healthy.key_position(), no_pools) {
            let hint = "it says when a pool gives way to the next; \"up_threshold\" does without pools";
            self.reader.error_in(
                "min_healthy",
                at,
                "\"min_healthy\" is about pools, and there are none",
                hint,
            );
        }
        rule(word, keys.failback.get())
    }

    fn check_failback(&mut self, word: PolicyWord, no_pools: bool, path: String, at: Position) {
        let (message, hint) = if word != PolicyWord::Failover {
            ("\"failback\" belongs to failover", "add \"policy\": \"failover\", or leave it out")
        } else if no_pools {
            (
                "\"failback\" is about pools, and there are none",
                "put each address, or several, into a pool of its own",
            )
        } else {
            return;
        };
        self.reader.error_at(path, at, message, hint);
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
        let (message, hint) = if variants > MAX_VARIANTS {
            (
                format!("this policy can give {variants} different answers, the limit is {MAX_VARIANTS}"),
                "each is signed on its own: put fewer addresses into weighted and hashed pools, or leave \"answers\" out where all will do",
            )
        } else if entries > MAX_PICK_ENTRIES {
            (
                format!("these pools come to {entries} ways to an answer, the limit is {MAX_PICK_ENTRIES}"),
                "a pool that several pools hold counts in each of them: nest fewer",
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
        let mut members = Vec::with_capacity(list.len());
        for Element { value, position, index } in list {
            let (found, weight) = match value {
                PoolValue::Named(name) => {
                    (self.reference(name, (format!("{path}[{index}]"), *position), tree), 1)
                }
                PoolValue::Keys(keys, path) => {
                    let weight = keys.weight.get().map_or(1, |given| given.value.0 as u16);
                    let spec = Spec { keys, path: path.clone(), position: *position };
                    (self.in_place(spec, around, tree), weight)
                }
            };
            members.push(found.map(|pool| Member { pool, weight }));
        }
        members.into_iter().collect()
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
                let path = Reader::top_path(&["pools", name]);
                let spec = Spec { keys: &shared.keys, path, position: shared.position };
                let before = self.reader.finding_count();
                let found = self.pool(spec, Some(name), &around, tree);
                self.reader.blame_since(before, &around_it.file);
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
        if let Some(at) = keys.failback.key_position() {
            self.check_failback(word, keys.pools.is_absent(), format!("{path}.failback"), at);
        }
        let check = keys.check.get().map(|check| self.template(check, format!("{path}.check")));
        let around = Around {
            check: check.unwrap_or_else(|| around.check.clone()),
            min_healthy: keys.min_healthy.get().map(|given| given.value.0 as u16).or(around.min_healthy),
            up_threshold: keys.up_threshold.get().map(|given| given.value.0 as u8).or(around.up_threshold),
        };
        let has_addresses = !keys.has_no_addresses();
        let mut pool = match &keys.pools {
            Slot::Given(_, list) if !has_addresses => {
                let list_path = format!("{path}.pools");
                tree.depth += 1;
                let members = self.members(&list.value.0, &list_path, &around, tree);
                tree.depth -= 1;
                let pool = Pool::new(rule(word, keys.failback.get()), Members::Pools(members?));
                self.check_together(&tree.pools, &pool, list_path, list.position)?;
                pool
            }
            Slot::Given(..) => {
                let hint = "move the addresses into a pool of their own";
                self.reader.error_at(path, position, "a pool holds either addresses or other pools", hint);
                return None;
            }
            Slot::Bad(_) => return None,
            Slot::Absent if !has_addresses => {
                let hint = "give it addresses under \"A\" or \"AAAA\", or other pools under \"pools\"";
                self.reader.error_at(path, position, "the pool is empty", hint);
                return None;
            }
            Slot::Absent => {
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

impl PoolKeys {
    /// A key that has no effect beside a reference to a pool.
    fn beside_pool(&self) -> Option<&'static str> {
        let keys = [
            ("name", self.name.is_absent()),
            ("policy", self.policy.is_absent()),
            ("A", self.a.is_absent()),
            ("AAAA", self.aaaa.is_absent()),
            ("ips", self.ips.is_absent()),
            ("check", self.check.is_absent()),
            ("pools", self.pools.is_absent()),
            ("answers", self.answers.is_absent()),
            ("min_healthy", self.min_healthy.is_absent()),
            ("up_threshold", self.up_threshold.is_absent()),
            ("failback", self.failback.is_absent()),
        ];
        keys.into_iter().find(|(_, absent)| !absent).map(|(key, _)| key)
    }
}

fn rule(word: PolicyWord, failback: Option<&At<Boolean>>) -> Rule {
    match word {
        PolicyWord::All => Rule::All,
        PolicyWord::Failover => Rule::Failover { failback: failback.is_none_or(|given| given.value.0) },
        PolicyWord::Weighted => Rule::Weighted,
        PolicyWord::Hashed => Rule::Hashed,
    }
}

/// Whether answers of a pool differ from query to query.
fn chooses_by_query(pools: &[Pool], at: usize) -> bool {
    let pool = &pools[at];
    match &pool.members {
        _ if matches!(pool.rule, Rule::Weighted | Rule::Hashed) || pool.answers.is_some() => true,
        Members::Endpoints(_) => false,
        Members::Pools(members) => members.iter().any(|m| chooses_by_query(pools, m.pool as usize)),
    }
}
