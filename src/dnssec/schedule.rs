//! Which owners are due for new signatures. Pure: time is passed in.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What stands for an owner: the hash of its name. The names themselves, which the zone has, took a quarter of the memory of a
/// large signed one. Two owners of one hash share a place here; who looks them up by it finds both.
pub type OwnerHash = u64;

/// Width of a bucket in seconds.
const BUCKET_S: u32 = 60;
/// An owner that was handed out and not set anew is handed out again after this many seconds: its commit failed.
const RETRY_S: u32 = 60;
/// Owners moved to other buckets leave their old place behind; below this many, none is cleared away.
const SMALL: usize = 1024;

/// When each signed owner of a zone is to be signed again. Times are seconds of Unix time in 32 bits (until 2106).
///
/// Buckets by time of renewal, cleared of owners that have moved on when they are reached, or when those outnumber the others. So
/// each call costs what it hands out, and memory stays within twice that of the owners.
#[derive(Debug, Default)]
pub struct Schedule {
    owners: HashMap<OwnerHash, Entry>,
    buckets: BTreeMap<u32, Vec<OwnerHash>>,
    /// Owners that were handed out and not set since, by when they were to be signed: where signing fails, they are handed out again and
    /// again, and their signatures get no younger by that.
    handed_out: BTreeSet<(u32, OwnerHash)>,
    /// Owners in all buckets, those that have moved on among them.
    queued: usize,
    /// No signature starts later.
    latest_inception_s: u32,
    last_now_s: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    inception_s: u32,
    renew_at_s: u32,
    bucket: u32,
}

impl Schedule {
    /// Sets when an owner's signatures start (the latest of them) and are to be renewed (the earliest of them).
    pub fn set(&mut self, owner: OwnerHash, inception_s: u32, renew_at_s: u32) {
        let entry = Entry { inception_s, renew_at_s, bucket: renew_at_s / BUCKET_S };
        self.latest_inception_s = self.latest_inception_s.max(inception_s);
        self.take_back(owner);
        self.put(owner, entry);
    }

    /// Forgets an owner.
    pub fn remove(&mut self, owner: OwnerHash) {
        self.take_back(owner);
        self.owners.remove(&owner);
        self.clear_if_sparse();
    }

    /// Number of owners.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// When to call [`Schedule::take_due`] next; `None` without owners. It may turn out that nothing is due then.
    pub fn next_due_s(&self) -> Option<u32> {
        self.buckets.first_key_value().map(|(&bucket, _)| bucket.saturating_mul(BUCKET_S))
    }

    /// Since when owners have been waiting to be signed that were handed out; `None` if all were set anew.
    pub fn handed_out_since_s(&self) -> Option<u32> {
        self.handed_out.first().map(|(renew_at_s, _)| *renew_at_s)
    }

    fn take_back(&mut self, owner: OwnerHash) {
        if !self.handed_out.is_empty()
            && let Some(before) = self.owners.get(&owner)
        {
            self.handed_out.remove(&(before.renew_at_s, owner));
        }
    }

    /// Hands out at most `limit` owners that are due, the longest due first: their signatures are to be renewed, or start in the
    /// future because the clock went back. Call [`Schedule::set`] or [`Schedule::remove`] for each once that is published; otherwise it comes again.
    ///
    /// Costs what it hands out and what is due within the minute, but for the first call after the clock went back: that looks at
    /// every owner once.
    pub fn take_due(&mut self, now_s: u32, limit: usize) -> Vec<OwnerHash> {
        if self.latest_inception_s > now_s || now_s.saturating_add(RETRY_S) < self.last_now_s {
            self.rebuild(Some(now_s));
        }
        self.last_now_s = now_s;
        let (mut due, mut early) = (Vec::new(), Vec::new());
        while due.len() < limit {
            let Some(mut bucket) = self.buckets.first_entry() else { break };
            let number = *bucket.key();
            if number > now_s / BUCKET_S {
                break;
            }
            let Some(owner) = bucket.get_mut().pop() else {
                bucket.remove();
                continue;
            };
            self.queued -= 1;
            // Others have moved to another bucket, or are gone.
            if let Some(&entry) = self.owners.get(&owner).filter(|entry| entry.bucket == number) {
                // Only the present bucket holds any: handed out now, their signatures would be kept, and they would come
                // again at every call until their second has come, each time with a new serial.
                let is_early = entry.renew_at_s > now_s && entry.inception_s <= now_s;
                if number == now_s / BUCKET_S && is_early {
                    early.push(owner);
                    continue;
                }
                due.push(owner);
                self.handed_out.insert((entry.renew_at_s, owner));
                let bucket = now_s.saturating_add(RETRY_S).div_ceil(BUCKET_S);
                self.put(owner, Entry { bucket, ..entry });
            }
        }
        if !early.is_empty() {
            self.queued += early.len();
            self.buckets.entry(now_s / BUCKET_S).or_default().append(&mut early);
        }
        due
    }

    fn put(&mut self, owner: OwnerHash, entry: Entry) {
        let before = self.owners.insert(owner, entry);
        if before.is_none_or(|before| before.bucket != entry.bucket) {
            self.buckets.entry(entry.bucket).or_default().push(owner);
            self.queued += 1;
            self.clear_if_sparse();
        }
    }

    fn clear_if_sparse(&mut self) {
        if self.queued > 2 * self.owners.len() + SMALL {
            self.rebuild(None);
        }
    }

    /// Fills the buckets anew. After a step of the clock to `now_s` every owner goes where it belongs by that time: those with
    /// signatures from the future first, and those handed out are handed out again.
    fn rebuild(&mut self, now_s: Option<u32>) {
        self.buckets.clear();
        for (owner, entry) in &mut self.owners {
            if let Some(now_s) = now_s {
                entry.bucket = if entry.inception_s > now_s { 0 } else { entry.renew_at_s / BUCKET_S };
            }
            self.buckets.entry(entry.bucket).or_default().push(*owner);
        }
        self.queued = self.owners.len();
        if let Some(now_s) = now_s {
            self.latest_inception_s = self.latest_inception_s.min(now_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NOW: u32 = 1_800_000_000;
    const DAY: u32 = 86_400;
    const NONE: [OwnerHash; 0] = [];

    fn owner(number: u32) -> OwnerHash {
        u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// `count` owners signed at `NOW`, renewals spread over two days from the eighth on.
    fn signed(count: u32) -> Schedule {
        let mut schedule = Schedule::default();
        for i in 0..count {
            schedule.set(owner(i), NOW - 3600, NOW + 8 * DAY + i * (2 * DAY / count));
        }
        schedule
    }

    /// Takes everything due in slices as the keeper does, signing each slice; returns the owners in order and the largest slice.
    fn drain(schedule: &mut Schedule, now_s: u32, limit: usize) -> Vec<OwnerHash> {
        let mut all = Vec::new();
        loop {
            let slice = schedule.take_due(now_s, limit);
            assert!(slice.len() <= limit);
            if slice.is_empty() {
                return all;
            }
            for owner in slice {
                schedule.set(owner, now_s - 3600, now_s + 10 * DAY);
                all.push(owner);
            }
        }
    }

    #[track_caller]
    fn check_all(taken: &[OwnerHash], count: u32) {
        let distinct: BTreeSet<&OwnerHash> = taken.iter().collect();
        assert_eq!((taken.len(), distinct.len()), (count as usize, count as usize));
    }

    #[test]
    fn each_owner_comes_at_its_time() {
        let mut schedule = signed(1000);
        assert_eq!(schedule.take_due(NOW + 8 * DAY - 61, 10), NONE);
        let mut taken = Vec::new();
        for minute in 0..=2 * DAY / 60 {
            let now_s = NOW + 8 * DAY + minute * 60;
            for owner in drain(&mut schedule, now_s, 7) {
                let number = taken.len() as u32;
                assert!(now_s >= NOW + 8 * DAY + number * (2 * DAY / 1000), "{owner} is early");
                taken.push(owner);
            }
        }
        check_all(&taken, 1000);
        assert_eq!(schedule.next_due_s().map(|t| t >= NOW + 18 * DAY - 60), Some(true));
    }

    #[test]
    fn what_is_handed_out_and_not_signed_stays_due_since_then() {
        let mut schedule = Schedule::default();
        schedule.set(owner(1), NOW - 3600, NOW);
        schedule.set(owner(2), NOW - 3600, NOW + DAY);
        assert_eq!(schedule.handed_out_since_s(), None);
        for minute in 0..100 {
            schedule.take_due(NOW + minute * 60, 7);
            assert_eq!(schedule.handed_out_since_s(), Some(NOW), "however often it is tried");
        }
        schedule.take_due(NOW + DAY, 7);
        schedule.set(owner(1), NOW, NOW + 10 * DAY);
        assert_eq!(schedule.handed_out_since_s(), Some(NOW + DAY), "the other one");
        schedule.remove(owner(2));
        assert_eq!(schedule.handed_out_since_s(), None);
    }

    #[test]
    fn nobody_comes_early() {
        let mut schedule = Schedule::default();
        // The same minute, and more of them than a slice holds.
        for i in 0..60 {
            schedule.set(owner(i), NOW - 3600, NOW + i);
        }
        for second in 0..60 {
            assert_eq!(drain(&mut schedule, NOW + second, 7), [owner(second)]);
            assert_eq!(schedule.take_due(NOW + second, 7), NONE);
        }
    }

    #[test]
    fn a_jump_forward_makes_all_due_in_slices() {
        let mut schedule = signed(5000);
        let now_s = NOW + 30 * DAY;
        let first = schedule.take_due(now_s, 64);
        assert_eq!(first.len(), 64);
        assert!(first.contains(&owner(0)), "the longest due first");
        first.iter().for_each(|owner| schedule.set(*owner, now_s - 3600, now_s + 10 * DAY));
        check_all(&drain(&mut schedule, now_s, 64), 5000 - 64);
        assert_eq!(schedule.take_due(now_s, 64), NONE);
    }

    #[test]
    fn a_jump_back_makes_signatures_from_the_future_due() {
        let mut schedule = signed(1000);
        for i in 0..500 {
            schedule.set(owner(i), NOW - 5 * DAY, NOW + 5 * DAY);
        }
        assert_eq!(schedule.take_due(NOW, 10), NONE);
        check_all(&drain(&mut schedule, NOW - DAY, 64), 500);
        assert_eq!(schedule.take_due(NOW - DAY, 64), NONE);
        // And forward again to where it was: nothing is due for that.
        assert_eq!(schedule.take_due(NOW, 64), NONE);
        check_all(&drain(&mut schedule, NOW + 30 * DAY, 64), 1000);
    }

    #[test]
    fn what_was_not_published_comes_again() {
        let mut schedule = signed(10);
        let now_s = NOW + 30 * DAY;
        assert_eq!(schedule.take_due(now_s, 100).len(), 10);
        assert_eq!(schedule.take_due(now_s, 100), NONE, "being signed");
        schedule.remove(owner(3));
        schedule.set(owner(4), now_s - 3600, now_s + DAY);
        assert_eq!(schedule.take_due(now_s + 120, 100).len(), 8);
        // The clock goes back while they are away: they are due all the same, and one is from the future.
        assert_eq!(schedule.take_due(now_s - 2 * DAY, 100).len(), 9);
        assert_eq!(schedule.take_due(now_s - 2 * DAY, 100), NONE);
    }

    #[test]
    fn owners_that_flap_leave_nothing_behind() {
        let mut schedule = signed(100);
        for second in 0..200_000 {
            let now_s = NOW + second * 30;
            schedule.set(owner(second % 100), now_s - 3600, now_s + 9 * DAY);
        }
        assert_eq!(schedule.len(), 100);
        assert!(schedule.queued <= 2 * 100 + SMALL);
        for i in 0..100 {
            schedule.remove(owner(i));
        }
        assert!(schedule.is_empty());
        assert_eq!(schedule.take_due(u32::MAX, 10), NONE);
        assert_eq!(schedule.next_due_s(), None);
    }
}
