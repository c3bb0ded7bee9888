//! What reaches the ledger from outside: other limits, and verdicts of targets that are not probed, which hold for a time and pass by
//! hysteresis and brake.

use super::*;

impl Ledger {
    /// Other limits from now on, of the brake and of how many probes are under way.
    pub fn set_limits(&mut self, in_flight: usize, brake: BrakeLimits) {
        self.brake.set_limits(brake);
        self.schedule.set_in_flight_limit(in_flight);
        self.figures.in_flight_limit = in_flight;
    }

    /// Adds a target that is not probed. What was pushed before a restart holds for what is left of its time.
    pub(super) fn insert_external(
        &mut self,
        now_ms: u64,
        id: TargetId,
        mut entry: Entry,
        flips: &mut Vec<Flip>,
    ) {
        let target = entry.target.clone();
        let Some(check) = external::check(&target) else { return };
        let age_ms = entry.confirmed_at_ms.and_then(|at_ms| u64::try_from(now_ms as i64 - at_ms).ok());
        if !self.external.add(now_ms, id, check, age_ms) {
            entry.hysteresis = Hysteresis::new(check.expired);
            entry.confirmed_at_ms = None;
        }
        entry.awaited = false;
        self.insert(id, entry, flips);
    }

    /// Takes a verdict that was pushed for an id, with a few words; [`Verdict::Unknown`] takes back what was pushed before. Returns how
    /// many targets it is for.
    pub fn push(
        &mut self,
        now_ms: u64,
        id: &str,
        verdict: Verdict,
        why: Option<&str>,
        flips: &mut Vec<Flip>,
    ) -> usize {
        let targets = self.external.targets(id).to_vec();
        for &id in &targets {
            let Some(target) = self.entry(id).map(|entry| entry.target.clone()) else { continue };
            let Some(check) = external::check(&target) else { continue };
            self.external.pushed(now_ms, id, check, verdict);
            let reason = || Reason::from(why.unwrap_or("pushed").to_owned());
            let (outcome, to) = match verdict {
                Verdict::Up if why.is_none() => (Outcome::Success, verdict),
                Verdict::Up => (Outcome::Warning(reason()), verdict),
                Verdict::Down => (Outcome::Failure(reason()), verdict),
                Verdict::Unknown => (Outcome::LocalError("taken back".into()), check.expired),
            };
            let confirmed = (verdict != Verdict::Unknown).then_some(now_ms as i64);
            self.settle_external(now_ms, id, outcome, to, confirmed, flips);
        }
        targets.len()
    }

    /// Ends pushed verdicts whose time is over.
    pub(super) fn expire_pushed(&mut self, now_ms: u64, flips: &mut Vec<Flip>) {
        while let Some(id) = self.external.take_ended(now_ms) {
            let check = self.entry(id).and_then(|entry| external::check(&entry.target));
            let Some(expired) = check.map(|check| check.expired) else { continue };
            let outcome = Outcome::LocalError("no verdict was pushed in time".into());
            self.settle_external(now_ms, id, outcome, expired, None, flips);
        }
    }

    /// `confirmed_at_ms`: with what time the verdict is saved, if it is.
    fn settle_external(
        &mut self,
        now_ms: u64,
        id: TargetId,
        outcome: Outcome,
        to: Verdict,
        confirmed_at_ms: Option<i64>,
        flips: &mut Vec<Flip>,
    ) {
        let Some(entry) = self.entries.get_mut(id.0 as usize).and_then(Option::as_mut) else { return };
        entry.last = Some(LastResult { at_ms: now_ms, duration_us: 0, outcome });
        entry.confirmed_at_ms = confirmed_at_ms;
        entry.hysteresis = Hysteresis::new(to);
        if entry.published != to {
            self.change(now_ms, id, to, Cause::Pushed, flips);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{CheckKind, ExternalCheck};
    use crate::model::target::Check;
    use Verdict::{Down, Unknown, Up};

    fn target(id: &str, ttl_ms: u64, expired: Verdict) -> Arc<Target> {
        let kind = CheckKind::External(Box::new(ExternalCheck { id: id.into(), ttl_ms, expired }));
        let check = Arc::new(Check {
            kind,
            interval_ms: 10_000,
            timeout_ms: 2000,
            rise: 1,
            fall: 1,
            rules: Default::default(),
        });
        Arc::new(Target { address: ([0, 0, 0, 0], 0).into(), check })
    }

    fn ledger(targets: &[Arc<Target>], remembered: Option<Remembered>) -> Ledger {
        let limits = Limits { in_flight: 10, per_address_per_second: 10 };
        let mut ledger = Ledger::new(limits, BrakeLimits { down_percent: 50, min_targets: 1 });
        let set: Vec<_> =
            targets.iter().enumerate().map(|(id, t)| (TargetId(id as u32), t.clone())).collect();
        ledger.set_targets(0, &set, |_| remembered, &mut Vec::new());
        ledger
    }

    #[track_caller]
    fn check(ledger: &Ledger, verdicts: &[Verdict]) {
        let found: Vec<Verdict> = ledger.entries().map(|(_, entry)| entry.published).collect();
        assert_eq!(found, verdicts);
    }

    #[test]
    fn a_verdict_holds_for_its_time_and_the_brake_has_no_say() {
        let targets = [target("a", 1000, Unknown), target("a", 5000, Up), target("b", 1000, Down)];
        let mut ledger = ledger(&targets, None);
        check(&ledger, &[Unknown, Up, Down]);
        assert_eq!((ledger.awaited(), ledger.start_next(99_000).is_none()), (0, true), "nothing is probed");
        let mut flips = Vec::new();
        assert_eq!(ledger.push(100, "c", Down, None, &mut flips), 0);
        assert_eq!(ledger.push(100, "a", Down, Some("disk full"), &mut flips), 2);
        check(&ledger, &[Down, Down, Down]);
        assert_eq!(flips.iter().map(|f| f.reason.as_deref()).collect::<Vec<_>>(), [Some("disk full"); 2]);
        // Said again before its time is over.
        ledger.push(900, "a", Down, None, &mut flips);
        assert_eq!(flips.len(), 2);
        ledger.tick(1899, &mut flips);
        check(&ledger, &[Down, Down, Down]);
        ledger.tick(1900, &mut flips);
        check(&ledger, &[Unknown, Down, Down]);
        ledger.push(2000, "b", Up, None, &mut flips);
        ledger.tick(5900, &mut flips);
        check(&ledger, &[Unknown, Up, Down]);
        ledger.push(6000, "a", Down, None, &mut flips);
        ledger.push(6001, "a", Unknown, None, &mut flips);
        check(&ledger, &[Unknown, Up, Down]);
        assert!(!ledger.figures().brake_holding);
        assert_eq!(ledger.figures().targets, [1, 1, 1]);
        let before = flips.len();
        ledger.set_targets(6002, &[], |_| None, &mut flips);
        ledger.tick(99_000, &mut flips);
        assert_eq!((ledger.push(6003, "a", Up, None, &mut flips), flips.len()), (0, before));
    }

    #[test]
    fn a_restart_goes_on_with_what_is_left_of_the_time() {
        let remembered = |age_ms| Some(Remembered { verdict: Down, age_ms });
        let mut fresh = ledger(&[target("a", 5000, Unknown)], remembered(3000));
        check(&fresh, &[Down]);
        fresh.tick(1999, &mut Vec::new());
        check(&fresh, &[Down]);
        fresh.tick(2000, &mut Vec::new());
        check(&fresh, &[Unknown]);
        check(&ledger(&[target("a", 5000, Up)], remembered(5000)), &[Up]);
    }
}
