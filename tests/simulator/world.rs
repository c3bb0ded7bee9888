//! One world: a plan, a script, and the server's own parts between them on one virtual clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use hale::health::brake::{BrakeLimits, BrakeState};
use hale::health::ledger::{Cause, Flip, Ledger};
use hale::health::probe::Outcome;
use hale::health::schedule::Limits;
use hale::keeper::build::{Workshop, ZonePlace, ZoneSource};
use hale::keeper::channel::KeeperHandle;
use hale::keeper::targets::TargetRegistry;
use hale::keeper::{Starting, Tools};
use hale::model::board::VerdictBoard;
use hale::model::hash::HashKey;
use hale::model::overrides::{NewOverride, Overrides, Word};
use hale::model::pick::Pick;
use hale::model::rrtype::RrType;
use hale::model::target::{Target, TargetId, Verdict};
use hale::snapshot::Snapshot;
use hale::snapshot::handle::Published;
use hale::state::StateDir;
use hale::state::choices::Choices;
use hale::state::signed::SignedZones;

use super::Seen;
use super::evidence::{Brake, Evidence};
use super::oracle::{Answer, Expected, Memory, Moment};
use super::plan::{APEXES, AllDown, End, FIRST_PORT, Owner, Plan};
use super::script::Script;
use super::served::{self, Asker, Validated};
use super::support::random::Random;
use super::support::wire::{Message, rcode, rtype};

const START_S: u32 = 1_800_000_000;
/// Whoever asks: inside and outside of the networks of maps, of both families.
const CLIENTS: [&str; 6] = ["10.9.9.9", "10.1.9.9", "10.1.2.3", "172.16.5.5", "192.0.2.77", "2001:db8::77"];

/// What must come up in a long run.
pub(super) const EXPECTED: &[&str] = &[
    "answers",
    "answers of an overridden owner",
    "answers while a verdict is awaited",
    "all down: all",
    "all down: last-good",
    "all down: fallback",
    "all down: none",
    "brake engaged",
    "damped",
    "flips",
    "overrides set",
    "reloads",
    "shares of a slow start",
    "variants verified",
    "weights compared",
];

/// An override as the models know it.
struct Said {
    subject: Subject,
    word: Word,
    until_s: Option<u32>,
    id: u64,
}

#[derive(Clone, PartialEq, Eq)]
enum Subject {
    Address(IpAddr),
    Pool(String),
    Name(String),
}

pub(super) struct World {
    random: Random,
    plan: Plan,
    script: Script,
    ledger: Ledger,
    evidence: Evidence,
    /// By address and number of the check.
    targets: BTreeMap<(IpAddr, usize), TargetId>,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    running: BTreeMap<u64, (TargetId, u32, Outcome, u64)>,
    probes: u64,
    now_ms: u64,
    next_tick_ms: u64,
    next_person_ms: u64,
    was_braking: bool,
    // The keeper and what stands around it.
    board: Arc<VerdictBoard>,
    published: Arc<Published>,
    now_s: Arc<AtomicU32>,
    keeper: KeeperHandle,
    thread: Option<JoinHandle<()>>,
    _state: tempfile::TempDir,
    overrides: Overrides,
    said: Vec<Said>,
    memories: Vec<Memory>,
    // What is checked, and what came of it.
    asker: Asker,
    validated: Validated,
    before: BTreeMap<&'static str, (u32, (u64, u64, u64))>,
    digests: Vec<u64>,
    seen: Seen,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::random(&mut random);
        let script = Script::new(Random::new(random.next()));
        let state = tempfile::tempdir().unwrap();
        let now_s = Arc::new(AtomicU32::new(START_S));
        let board = Arc::new(VerdictBoard::new());
        let hash_key = HashKey::new([7, 9]);
        let published = Published::new(Snapshot::empty(hash_key));
        let (sender, targets) = tokio::sync::watch::channel(Default::default());
        let dir = Arc::new(StateDir::open(state.path()).unwrap());
        let sources: Vec<ZoneSource> = APEXES
            .iter()
            .zip(&plan.zones)
            .map(|(apex, text)| ZonePlace::Inline((*apex).into(), text.clone()).into())
            .collect();
        let sources = Arc::new(Mutex::new(sources));
        let tools = Tools {
            workshop: Workshop {
                registry: Arc::new(Mutex::new(TargetRegistry::default())),
                board: Arc::clone(&board),
                hash_key,
                signed: Some(Arc::new(SignedZones::load(Arc::clone(&dir)).unwrap().0)),
                state: Some(Arc::clone(&dir)),
                choices: Arc::new(Choices::load(Some(Arc::clone(&dir))).unwrap().0),
                overrides: Arc::default(),
                discovered: Arc::default(),
                resolved: Arc::default(),
                events: Arc::default(),
                signatures: Arc::default(),
                keys_read: Arc::default(),
                threads: 1,
            },
            published: Arc::clone(&published),
            targets: sender,
            aliases: Default::default(),
            state: Some(dir),
            find_sources: {
                let sources = Arc::clone(&sources);
                Arc::new(move || Ok((sources.lock().unwrap().clone(), Vec::new())))
            },
            now_s: {
                let now_s = Arc::clone(&now_s);
                Arc::new(move || now_s.load(Ordering::Relaxed))
            },
        };
        let starting = Starting::read(tools, &sources.lock().unwrap());
        let errors: Vec<String> =
            starting.diagnostics().filter(|d| d.is_error()).map(ToString::to_string).collect();
        assert_eq!(errors, Vec::<String>::new(), "{}", plan.zones[0]);
        board.on_change({
            let handle = starting.handle().clone();
            move || handle.verdicts_changed()
        });
        let (keeper, thread) = starting.serve().unwrap();

        let set: Vec<(TargetId, Arc<Target>)> = targets.borrow().iter().cloned().collect();
        let brake = if random.percent(50) {
            Brake { down_percent: 60, min_targets: 5 }
        } else {
            Brake { down_percent: 100, min_targets: 0 }
        };
        let down_percent = u8::try_from(brake.down_percent).unwrap();
        let limits = BrakeLimits { down_percent, min_targets: brake.min_targets };
        let mut ledger = Ledger::new(Limits { in_flight: 4096, per_address_per_second: 1000 }, limits);
        let mut flips = Vec::new();
        ledger.set_targets(0, &set, |_| None, &mut flips);
        let all = set.iter().map(|(id, t)| (*id, t.address.ip(), (*t.check).clone()));
        let mut world = Self {
            evidence: Evidence::new(all, brake),
            targets: set
                .iter()
                .map(|(id, t)| ((t.address.ip(), usize::from(t.address.port() - FIRST_PORT)), *id))
                .collect(),
            memories: vec![Memory::default(); plan.owners.len()],
            random,
            plan,
            script,
            ledger,
            ends: BinaryHeap::new(),
            running: BTreeMap::new(),
            probes: 0,
            now_ms: 0,
            next_tick_ms: 0,
            next_person_ms: 0,
            was_braking: false,
            board,
            published,
            now_s,
            keeper,
            thread: Some(thread),
            _state: state,
            overrides: Overrides::default(),
            said: Vec::new(),
            asker: Asker::new(),
            validated: Validated::default(),
            before: BTreeMap::new(),
            digests: Vec::new(),
            seen: Seen::new(),
        };
        world.settled(None);
        world.publish(flips);
        world
    }

    fn count(&mut self, what: &'static str, n: u64) {
        *self.seen.entry(what).or_default() += n;
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        loop {
            while let Some((start, target)) = self.ledger.start_next(self.now_ms) {
                let address = target.address.ip();
                let (outcome, takes_ms) = self.script.probe(self.now_ms, start.id.0 as usize, address);
                self.probes += 1;
                self.ends.push(Reverse((self.now_ms + takes_ms, self.probes)));
                self.running.insert(self.probes, (start.id, start.generation, outcome, takes_ms));
            }
            let end = self.ends.peek().map(|Reverse((at_ms, _))| *at_ms);
            let next = [self.ledger.wake_at(), end, Some(self.next_tick_ms)].into_iter().flatten().min();
            let next = next.unwrap_or(u64::MAX).max(self.now_ms);
            if next > end_ms {
                return;
            }
            self.now_ms = next;
            self.now_s.store(self.now_s(), Ordering::Relaxed);
            self.expire_overrides();
            if self.now_ms >= self.next_tick_ms {
                self.next_tick_ms = self.now_ms + 1000;
                self.tick();
            }
            while self.ends.peek().is_some_and(|Reverse((at_ms, _))| *at_ms <= self.now_ms) {
                self.end_one();
            }
        }
    }

    fn is_braking(&self) -> bool {
        matches!(self.ledger.brake_state(), BrakeState::Holding { .. })
    }

    fn now_s(&self) -> u32 {
        START_S + u32::try_from(self.now_ms / 1000).unwrap()
    }

    /// At once, as the keeper does before it looks at anything else: what a pool stays with depends on the order of events.
    fn expire_overrides(&mut self) {
        let now_s = self.now_s();
        if self.said.iter().any(|said| said.until_s.is_some_and(|until_s| until_s <= now_s)) {
            self.said.retain(|said| said.until_s.is_none_or(|until_s| until_s > now_s));
            self.overrides = self.overrides.expire(now_s).0;
            self.settled(None);
        }
    }

    fn tick(&mut self) {
        self.evidence.tick(self.now_ms);
        let mut flips = Vec::new();
        self.ledger.tick(self.now_ms, &mut flips);
        self.publish(flips);
        // All of them now and then; a target whose probe has ended is looked at anyway.
        let all =
            if (self.now_ms / 1000).is_multiple_of(10) { self.evidence.ids().collect() } else { Vec::new() };
        for id in all {
            assert_eq!(u32::from(self.board.share(id)), self.evidence.share(self.now_ms, id), "{id:?}");
            self.evidence.check(id, self.is_braking());
        }
        if self.now_ms >= self.next_person_ms {
            self.next_person_ms = self.now_ms + self.random.next() % (40 * 60_000);
            self.somebody_does_something();
        }
    }

    fn end_one(&mut self) {
        let Some(Reverse((_, number))) = self.ends.pop() else { return };
        let (id, generation, outcome, took_ms) = self.running.remove(&number).unwrap();
        self.evidence.note(self.now_ms, id, &outcome, took_ms);
        let mut flips = Vec::new();
        self.ledger.finish(self.now_ms, id, generation, outcome, took_ms * 1000, &mut flips);
        if let Some(until_ms) = self.ledger.entry(id).and_then(|entry| entry.damper.held_until_ms()) {
            self.evidence.hold(self.now_ms, id, until_ms);
        }
        let is_braking = self.is_braking();
        if is_braking && !self.was_braking {
            assert!(self.evidence.justifies_brake(self.now_ms), "the brake at {}", self.now_ms);
            self.count("brake engaged", 1);
        }
        self.was_braking = is_braking;
        self.publish(flips);
        self.evidence.check(id, is_braking);
    }

    /// Carries out what the ledger decided, one change at a time.
    fn publish(&mut self, flips: Vec<Flip>) {
        for flip in flips {
            self.evidence.flip(self.now_ms, &flip);
            self.count("flips", u64::from(flip.from != flip.to));
            self.count("damped", u64::from(matches!(flip.cause, Cause::Damped(_))));
            if flip.from != flip.to {
                self.board.set(flip.id, flip.to);
                self.settled(Some(flip.id));
            }
        }
        for (id, share) in self.ledger.take_shares() {
            if self.board.share(id) != share {
                self.board.set_share(id, share);
                self.count("shares of a slow start", 1);
                self.settled(Some(id));
            }
        }
    }

    /// An override is set or cleared, or the zones are read again, in which nothing changed.
    fn somebody_does_something(&mut self) {
        match self.random.below(8) {
            0 => {
                self.keeper.reload_and_wait(false).unwrap();
                self.count("reloads", 1);
            }
            1..3 => {
                if !self.said.is_empty() {
                    let cleared = self.said.remove(self.random.below(self.said.len()));
                    self.overrides = self.overrides.without(cleared.id).unwrap().0;
                    self.keeper.set_overrides(Arc::new(self.overrides.clone())).unwrap();
                }
            }
            _ => self.set_override(),
        }
        self.settled(None);
    }

    fn set_override(&mut self) {
        let owner = &self.plan.owners[self.random.below(self.plan.owners.len())];
        let ends = owner.root.ends();
        let subject = match self.random.below(3) {
            0 => Subject::Address(ends[self.random.below(ends.len())].address),
            1 => Subject::Pool(format!("p{}", 1 + self.random.below(4))),
            _ => Subject::Name(owner.name.clone()),
        };
        let word = *self.random.pick(&[Word::Up, Word::Down, Word::Drain]);
        let lasts_s = 60 + self.random.below(4 * 3600) as u32;
        let until_s = (!self.random.percent(20)).then(|| self.now_s() + lasts_s);
        let text = match &subject {
            Subject::Address(address) => format!("address:{address}"),
            Subject::Pool(name) => format!("pool:{name}"),
            Subject::Name(name) => format!("name:{name}"),
        };
        let said = NewOverride {
            subject: text.parse().unwrap(),
            zone: None,
            word,
            until_s,
            reason: "simulated".into(),
            owner: "simulator".into(),
        };
        let (overrides, id) = self.overrides.with(said, self.now_s()).unwrap();
        self.overrides = overrides;
        self.said.retain(|other| other.subject != subject);
        self.said.push(Said { subject, word, until_s, id });
        self.keeper.set_overrides(Arc::new(self.overrides.clone())).unwrap();
        self.count("overrides set", 1);
    }

    /// Waits until the keeper has acted, and checks what it published: owners that rest on the target, or all.
    fn settled(&mut self, changed: Option<TargetId>) {
        self.keeper.zones();
        let snapshot = self.published.load();
        self.check_serials(&snapshot);
        let rests_on = |owner: &Owner| {
            let of = |end: &&End| {
                let checks = owner.condition.checks();
                checks.iter().any(|check| self.targets.get(&(end.address, *check)).copied() == changed)
            };
            changed.is_none() || owner.root.ends().iter().any(of)
        };
        let concerned: Vec<usize> =
            (0..self.plan.owners.len()).filter(|&i| rests_on(&self.plan.owners[i])).collect();
        for number in concerned {
            self.check_owner(&snapshot, number);
        }
    }

    fn verdict(&self, address: IpAddr, check: usize) -> Verdict {
        self.targets.get(&(address, check)).map_or(Verdict::Unknown, |id| self.evidence.published(*id))
    }

    /// The most specific override, the newest of equal ones.
    fn word(&self, owner: &Owner, end: &End, pools: &[&str]) -> Option<Word> {
        let fits = |said: &&Said| match &said.subject {
            Subject::Address(address) => *address == end.address,
            Subject::Pool(name) => pools.contains(&name.as_str()),
            Subject::Name(name) => *name == owner.name,
        };
        let rank = |said: &&Said| match said.subject {
            Subject::Address(_) => (0, Reverse(said.id)),
            Subject::Pool(_) => (1, Reverse(said.id)),
            Subject::Name(_) => (2, Reverse(said.id)),
        };
        self.said.iter().filter(fits).min_by_key(rank).map(|said| said.word)
    }

    fn check_owner(&mut self, snapshot: &Snapshot, number: usize) {
        let owner = self.plan.owners[number].clone();
        let mut memory = std::mem::take(&mut self.memories[number]);
        let moment = Moment::new(
            &owner,
            |address, check| self.verdict(address, check),
            |owner, end, pools| self.word(owner, end, pools),
            &memory,
        );
        let apex = APEXES[usize::from(owner.name.ends_with(APEXES[1]))];
        let image = snapshot.zone(&served::name(apex)).unwrap().image.unwrap();
        let records = image.owner(&served::name(&owner.name)).unwrap();
        let now_s = self.now_s();
        if image.is_signed() {
            let verified = self.validated.owner(image, &records, now_s);
            self.count("variants verified", verified);
        }
        if moment.is_all_down() {
            self.count(
                match owner.all_down {
                    AllDown::All => "all down: all",
                    AllDown::LastGood => "all down: last-good",
                    AllDown::Fallback => "all down: fallback",
                    AllDown::None => "all down: none",
                },
                1,
            );
        }
        let keys = served::keys(image);
        for is_v4 in [true, false] {
            let now_ms = self.now_ms;
            let so = moment.describe(&memory);
            let case = || format!("{} IPv4 {is_v4} at {now_ms} ms, {so}: {owner:#?}", owner.name);
            let anyone = moment.expected(is_v4, None, &memory);
            let variants = served::variants(&records, is_v4);
            match &anyone {
                Expected::Awaited => assert!(variants.is_empty(), "{variants:?}: {}", case()),
                Expected::OneOf(allowed) => {
                    let allowed: BTreeSet<&Answer> = allowed.iter().filter(|a| !a.is_empty()).collect();
                    assert_eq!(variants.iter().collect::<BTreeSet<_>>(), allowed, "{}", case());
                }
            }
            self.check_weights(&moment, &records, &owner, is_v4);
            let first = self.random.below(CLIENTS.len());
            for client in [CLIENTS[first], CLIENTS[(first + 1) % CLIENTS.len()]] {
                let client: IpAddr = client.parse().unwrap();
                let by_resolver = self.random.percent(50);
                let message = self.asker.ask(snapshot, &owner.name, is_v4, client, by_resolver, now_s);
                let expected = moment.expected(is_v4, Some(client), &memory);
                let error = moment.extended_error(&memory);
                check_answer(&message, is_v4, &expected, error, &|| format!("{client}: {}", case()));
                if image.is_signed() {
                    let qtype = if is_v4 { rtype::A } else { rtype::AAAA };
                    self.asker.validate(&message, &keys, &owner.name, qtype, now_s);
                }
                self.count("answers", 1);
                self.count("answers of an overridden owner", u64::from(moment.is_overridden()));
                self.count("answers while a verdict is awaited", u64::from(expected == Expected::Awaited));
            }
        }
        moment.remember(&mut memory);
        self.memories[number] = memory;
    }

    /// Where an address is drawn from one list, it is with its weight times its share.
    fn check_weights(
        &mut self,
        moment: &Moment<'_>,
        records: &hale::snapshot::image::OwnerRecords,
        owner: &Owner,
        is_v4: bool,
    ) {
        let super::plan::Condition::One(check) = owner.condition else { return };
        let share = |address| match self.targets.get(&(address, check)) {
            // What counts as up against its verdict has no share of its own, and keeps the whole one.
            Some(id) => u32::from(self.board.share(*id)),
            None => 100,
        };
        let Some(weights) = moment.weights(is_v4, share) else { return };
        let wanted = if is_v4 { RrType::A } else { RrType::AAAA };
        let choice = records.choices.iter().find(|choice| choice.rtype == wanted).unwrap();
        let Pick::Weighted(options) = &choice.pick else { panic!("{:?}", choice.pick) };
        let drawn: Vec<u32> = options.iter().map(|(weight, _)| *weight).collect();
        assert_eq!(drawn, weights, "{}", owner.name);
        self.count("weights compared", 1);
    }

    /// The serial moves exactly when records or signatures do, and never back; and what is published goes into the digests.
    fn check_serials(&mut self, snapshot: &Snapshot) {
        let mut all = Vec::new();
        for apex in APEXES {
            let image = snapshot.zone(&served::name(apex)).unwrap().image.unwrap();
            let (serial, now) = (image.serial().0, served::digests(image));
            if let Some((was, before)) = self.before.insert(apex, (serial, now)) {
                let is_same = (before.0, before.1) == (now.0, now.1);
                assert_eq!(serial == was, is_same, "{apex}: {was}, {serial}, {before:?}, {now:?}");
                assert!(serial >= was, "{apex}: {was}, {serial}");
            }
            all.push(now.0);
            all.push(now.2);
            all.push(u64::from(serial));
        }
        let digest = all.into_iter().fold(0u64, |sum, part| sum.rotate_left(9) ^ part);
        if self.digests.last() != Some(&digest) {
            self.digests.push(digest);
        }
    }

    pub(super) fn finish(mut self, seen: &mut Seen) -> Vec<u64> {
        self.settled(None);
        for (what, n) in std::mem::take(&mut self.seen) {
            *seen.entry(what).or_default() += n;
        }
        *seen.entry("probes").or_default() += self.probes;
        std::mem::take(&mut self.digests)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.keeper.stop();
        if let Some(thread) = self.thread.take() {
            // A keeper that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn check_answer(
    message: &Message,
    is_v4: bool,
    expected: &Expected,
    error: Option<u16>,
    case: &dyn Fn() -> String,
) {
    let qtype = if is_v4 { rtype::A } else { rtype::AAAA };
    match expected {
        Expected::Awaited => {
            assert_eq!((message.rcode, message.extended_error()), (rcode::SERVFAIL, Some(14)), "{}", case());
        }
        Expected::OneOf(allowed) => {
            assert_eq!(message.rcode, rcode::NOERROR, "{}", case());
            let mut answer: Answer = message.answers(qtype).map(|r| served::address(&r.rdata)).collect();
            answer.sort_unstable();
            assert!(allowed.contains(&answer), "{answer:?} is none of {allowed:?}: {}", case());
            if !answer.is_empty() {
                assert_eq!(message.extended_error(), error, "{}", case());
            }
        }
    }
}
