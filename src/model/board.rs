//! The verdict board: the latest verdict and slow-start share of every target, and which of them have changed since the keeper looked.
//!
//! Verdicts are state and not messages: health overwrites a slot and sets a dirty bit, the keeper drains the bits. Nothing
//! queues, so nothing can overflow, however fast targets flap.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::target::{TargetId, Verdict};

/// Slots of the first segment; each further one has twice as many.
const FIRST_SEGMENT: usize = 1024;
/// Enough segments for every `u32`.
const SEGMENTS: usize = 23;
/// The share of a target that is not starting slowly, in percent.
pub const FULL_SHARE: u8 = 100;

struct Segment {
    verdicts: Box<[AtomicU8]>,
    dirty: Box<[AtomicU64]>,
    /// Percent.
    shares: Box<[AtomicU8]>,
    /// Apart from `dirty`, since a share changes weights only: no record, signature or serial.
    dirty_shares: Box<[AtomicU64]>,
}

/// See the module's documentation. Grows without moving a slot, so that it can be shared by reference.
#[derive(Default)]
pub struct VerdictBoard {
    segments: [OnceLock<Segment>; SEGMENTS],
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for VerdictBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerdictBoard").finish_non_exhaustive()
    }
}

fn locate(id: TargetId) -> (usize, usize) {
    let position = id.0 as usize + FIRST_SEGMENT;
    let segment = (position / FIRST_SEGMENT).ilog2() as usize;
    (segment, position - (FIRST_SEGMENT << segment))
}

impl VerdictBoard {
    /// An empty board; every slot reads [`Verdict::Unknown`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is called after a change, at most once; it must be cheap and must not block.
    pub fn on_change(&self, wake: impl Fn() + Send + Sync + 'static) {
        // A second caller would silently lose the first one's wake-ups; the composition root calls once.
        let _ = self.waker.set(Box::new(wake));
    }

    fn segment(&self, index: usize) -> &Segment {
        self.segments[index].get_or_init(|| {
            let slots = FIRST_SEGMENT << index;
            let bits = || (0..slots / 64).map(|_| AtomicU64::new(0)).collect();
            Segment {
                verdicts: (0..slots).map(|_| AtomicU8::new(Verdict::Unknown as u8)).collect(),
                dirty: bits(),
                shares: (0..slots).map(|_| AtomicU8::new(FULL_SHARE)).collect(),
                dirty_shares: bits(),
            }
        })
    }

    /// The latest verdict of a target.
    pub fn get(&self, id: TargetId) -> Verdict {
        let (segment, slot) = locate(id);
        self.segments[segment]
            .get()
            .map_or(Verdict::Unknown, |s| Verdict::from_u8(s.verdicts[slot].load(Ordering::Acquire)))
    }

    /// Records a verdict; marks the target dirty and wakes the keeper if it differs from the last one.
    pub fn set(&self, id: TargetId, verdict: Verdict) {
        let (index, slot) = locate(id);
        let segment = self.segment(index);
        if segment.verdicts[slot].swap(verdict as u8, Ordering::AcqRel) != verdict as u8 {
            segment.dirty[slot / 64].fetch_or(1 << (slot % 64), Ordering::AcqRel);
            if let Some(wake) = self.waker.get() {
                wake();
            }
        }
    }

    /// The share of its weight with which a target is answered, in percent: less than [`FULL_SHARE`] while it starts slowly.
    pub fn share(&self, id: TargetId) -> u8 {
        let (segment, slot) = locate(id);
        self.segments[segment].get().map_or(FULL_SHARE, |s| s.shares[slot].load(Ordering::Acquire))
    }

    /// Records a target's share, from 1 to [`FULL_SHARE`] percent; marks the share dirty and wakes the keeper if it differs from the last
    /// one. A share that belongs to a verdict is to be set before it, so that nobody sees the one without the other.
    pub fn set_share(&self, id: TargetId, percent: u8) {
        let (index, slot) = locate(id);
        let segment = self.segment(index);
        let percent = percent.clamp(1, FULL_SHARE);
        if segment.shares[slot].swap(percent, Ordering::AcqRel) != percent {
            segment.dirty_shares[slot / 64].fetch_or(1 << (slot % 64), Ordering::AcqRel);
            if let Some(wake) = self.waker.get() {
                wake();
            }
        }
    }

    /// Forgets a target whose number will be used again.
    pub fn forget(&self, id: TargetId) {
        let (index, slot) = locate(id);
        let segment = self.segment(index);
        segment.verdicts[slot].store(Verdict::Unknown as u8, Ordering::Release);
        segment.shares[slot].store(FULL_SHARE, Ordering::Release);
        for dirty in [&segment.dirty, &segment.dirty_shares] {
            dirty[slot / 64].fetch_and(!(1 << (slot % 64)), Ordering::AcqRel);
        }
    }

    /// Takes the targets with a new verdict, lowest number first. Read the verdicts afterwards: a change after this call sets the bit again.
    pub fn drain_dirty(&self, out: &mut Vec<TargetId>) {
        self.drain(|segment| &segment.dirty, out);
    }

    /// As [`VerdictBoard::drain_dirty`], for targets with a new share.
    pub fn drain_dirty_shares(&self, out: &mut Vec<TargetId>) {
        self.drain(|segment| &segment.dirty_shares, out);
    }

    fn drain(&self, dirty: impl Fn(&Segment) -> &[AtomicU64], out: &mut Vec<TargetId>) {
        for (index, segment) in self.segments.iter().enumerate() {
            let Some(segment) = segment.get() else { continue };
            for (word_index, word) in dirty(segment).iter().enumerate() {
                if word.load(Ordering::Relaxed) == 0 {
                    continue;
                }
                let mut bits = word.swap(0, Ordering::AcqRel);
                while bits != 0 {
                    let slot = word_index * 64 + bits.trailing_zeros() as usize;
                    let position = (FIRST_SEGMENT << index) + slot;
                    out.push(TargetId((position - FIRST_SEGMENT) as u32));
                    bits &= bits - 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_and_drains() {
        let board = VerdictBoard::new();
        for id in [0, 1, 63, 64, 1023, 1024, 3071, 3072, 1_000_000] {
            let id = TargetId(id);
            assert_eq!(board.get(id), Verdict::Unknown);
            board.set(id, Verdict::Up);
            assert_eq!(board.get(id), Verdict::Up);
        }
        let mut dirty = Vec::new();
        board.drain_dirty(&mut dirty);
        assert_eq!(dirty, [0, 1, 63, 64, 1023, 1024, 3071, 3072, 1_000_000].map(TargetId));
        dirty.clear();
        board.set(TargetId(64), Verdict::Up);
        board.drain_dirty(&mut dirty);
        assert_eq!(dirty, [], "an equal verdict is no change");
        board.forget(TargetId(64));
        assert_eq!(board.get(TargetId(64)), Verdict::Unknown);
    }

    #[test]
    fn a_share_is_no_verdict() {
        let board = VerdictBoard::new();
        let id = TargetId(2000);
        assert_eq!(board.share(id), FULL_SHARE);
        board.set_share(id, 0);
        assert_eq!(board.share(id), 1, "a target that is up is never without any weight");
        let (mut verdicts, mut shares) = (Vec::new(), Vec::new());
        board.drain_dirty(&mut verdicts);
        board.drain_dirty_shares(&mut shares);
        assert_eq!((verdicts, std::mem::take(&mut shares)), (vec![], vec![id]));
        board.set_share(id, 1);
        board.drain_dirty_shares(&mut shares);
        assert_eq!(shares, [], "an equal share is no change");
        board.set_share(id, 50);
        board.forget(id);
        board.drain_dirty_shares(&mut shares);
        assert_eq!((board.share(id), shares), (FULL_SHARE, vec![]));
    }
}
