//! When each target is probed: no barriers, no waiting for others.
//!
//! Pure: time is passed in, in milliseconds on a clock that never goes back, and sockets are somebody else's. The driver asks
//! [`Schedule::start_next`] until it says `None`, sleeps until [`Schedule::wake_at`], and reports each end by [`Schedule::finish`].
//!
//! - The first probes of targets added together are spread over at most [`FIRST_SPREAD_MS`], one millisecond apart where they are few.
//! - Afterwards each target has a phase of its own within its interval, from the golden ratio of its number, so that phases are
//!   evenly spread without coordination. The grid `phase + k × interval` is kept: a late probe does not push the later ones back.
//! - A probe that falls due while the target's last one is still running starts when that one ends.
//! - Two limits: probes in flight in all (what is due waits in the order of its due time), and starts a second for each address
//!   (what must wait stands in that address's own queue, where it delays nobody else).

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;

use crate::model::target::TargetId;

/// First probes of targets that are added together start within this time, in milliseconds.
pub const FIRST_SPREAD_MS: u64 = 950;

/// Phases are multiples of this, in milliseconds: probes of one such step start in one go, and their ends are mostly taken in one go, which
/// at a thousand probes a second spares nine wake-ups of ten.
pub const STEP_MS: u64 = 10;

/// What the schedule never exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Probes running at once; 0 counts as 1.
    pub in_flight: usize,
    /// Probes started against one address in a second, evenly spaced; 0 counts as 1.
    pub per_address_per_second: u32,
}

/// A probe that shall start now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whose probe.
    pub id: TargetId,
    /// Which tenancy of the number: [`Schedule::finish`] ignores the end of a probe of an earlier one.
    pub generation: u32,
    /// Milliseconds since it was due.
    pub lag_ms: u64,
}

/// A target to schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number.
    pub id: TargetId,
    /// Where its probes go: the per-address limit counts by it.
    pub address: IpAddr,
    /// Milliseconds from one start to the next.
    pub interval_ms: u32,
}

#[derive(Default)]
struct Slot {
    /// `None` where the number is not in use.
    planned: Option<Planned>,
    generation: u32,
    address: usize,
    /// When the probe that is queued, or waits for its address, is due.
    due_ms: u64,
    running: bool,
    /// The queued probe fell due while another one ran.
    overdue: bool,
}

struct AddressSlot {
    address: IpAddr,
    targets: u32,
    /// The earliest time for the next start, in microseconds.
    free_at_us: u64,
    waiting: VecDeque<(TargetId, u32)>,
    /// When the queued [`Event::AddressFree`] fires; others are leftovers of an earlier tenant.
    wake_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A target's probe is due.
    Due(TargetId, u32),
    /// An address with waiting targets may be probed again.
    AddressFree(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queued {
    at_ms: u64,
    event: Event,
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.event).cmp(&(other.at_ms, other.event))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// See the module's documentation.
pub struct Schedule {
    limits: Limits,
    slots: Vec<Slot>,
    addresses: Vec<AddressSlot>,
    address_index: HashMap<IpAddr, usize>,
    free_addresses: Vec<usize>,
    queue: BinaryHeap<Reverse<Queued>>,
    in_flight: usize,
    rate_limited: u64,
}

impl Schedule {
    /// A schedule without targets.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                in_flight: limits.in_flight.max(1),
                per_address_per_second: limits.per_address_per_second.max(1),
            },
            slots: Vec::new(),
            addresses: Vec::new(),
            address_index: HashMap::new(),
            free_addresses: Vec::new(),
            queue: BinaryHeap::new(),
            in_flight: 0,
            rate_limited: 0,
        }
    }

    /// Adds targets whose numbers are not in use; their first probes start within [`FIRST_SPREAD_MS`].
    pub fn add(&mut self, now_ms: u64, targets: &[Planned]) {
        let count = targets.len() as u64;
        let window_ms = count.min(FIRST_SPREAD_MS);
        for (position, planned) in targets.iter().enumerate() {
            let due_ms = now_ms + position as u64 * window_ms / count;
            self.add_one(due_ms, *planned);
        }
    }

    fn add_one(&mut self, due_ms: u64, planned: Planned) {
        let index = planned.id.0 as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.remove(planned.id);
        let address = self.use_address(planned.address);
        let slot = &mut self.slots[index];
        slot.planned = Some(planned);
        slot.address = address;
        slot.due_ms = due_ms;
        let event = Event::Due(planned.id, slot.generation);
        self.queue.push(Reverse(Queued { at_ms: due_ms, event }));
    }

    fn use_address(&mut self, address: IpAddr) -> usize {
        if let Some(&index) = self.address_index.get(&address) {
            self.addresses[index].targets += 1;
            return index;
        }
        let fresh =
            AddressSlot { address, targets: 1, free_at_us: 0, waiting: VecDeque::new(), wake_at_ms: None };
        let index = match self.free_addresses.pop() {
            Some(index) => {
                self.addresses[index] = fresh;
                index
            }
            None => {
                self.addresses.push(fresh);
                self.addresses.len() - 1
            }
        };
        self.address_index.insert(address, index);
        index
    }

    /// Stops probing a target. A probe of it that is running is no longer counted as in flight: the caller aborts it.
    pub fn remove(&mut self, id: TargetId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        if slot.planned.is_none() {
            return;
        }
        if slot.running {
            self.in_flight -= 1;
        }
        let address = slot.address;
        // The generation makes what is still queued for this number stale, so the heap need not be searched.
        *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
        let used = &mut self.addresses[address];
        used.targets -= 1;
        if used.targets == 0 {
            used.waiting.clear();
            self.address_index.remove(&used.address);
            self.free_addresses.push(address);
        }
    }

    /// The next probe to start at this time, if any may.
    pub fn start_next(&mut self, now_ms: u64) -> Option<Start> {
        while self.in_flight < self.limits.in_flight {
            let Reverse(next) = *self.queue.peek()?;
            if next.at_ms > now_ms {
                return None;
            }
            self.queue.pop();
            let started = match next.event {
                Event::Due(id, generation) => self.due(now_ms, id, generation),
                Event::AddressFree(address) => self.address_free(now_ms, next.at_ms, address),
            };
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// When to ask again, in milliseconds; `None` to wait for a [`Schedule::finish`] or for targets.
    pub fn wake_at(&self) -> Option<u64> {
        if self.in_flight >= self.limits.in_flight {
            return None;
        }
        self.queue.peek().map(|Reverse(next)| next.at_ms)
    }

    /// Notes the end of a probe; returns whether it belongs to a target that is still here.
    pub fn finish(&mut self, now_ms: u64, id: TargetId, generation: u32) -> bool {
        let Some(slot) = self.current(id, generation) else { return false };
        if !slot.running {
            return false;
        }
        slot.running = false;
        let overdue = std::mem::take(&mut slot.overdue);
        self.in_flight -= 1;
        if overdue {
            self.queue.push(Reverse(Queued { at_ms: now_ms, event: Event::Due(id, generation) }));
        }
        true
    }

    /// Milliseconds until the target's next probe is due; 0 when it is overdue, `None` when the target is unknown.
    pub fn next_in_ms(&self, now_ms: u64, id: TargetId) -> Option<u64> {
        let slot = self.slots.get(id.0 as usize)?;
        slot.planned.map(|_| slot.due_ms.saturating_sub(now_ms))
    }

    /// Probes running.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Distinct addresses that are probed.
    pub fn addresses(&self) -> usize {
        self.address_index.len()
    }

    /// How many probes had to wait for the per-address limit, since the start.
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited
    }

    fn current(&mut self, id: TargetId, generation: u32) -> Option<&mut Slot> {
        self.slots.get_mut(id.0 as usize).filter(|s| s.planned.is_some() && s.generation == generation)
    }

    fn due(&mut self, now_ms: u64, id: TargetId, generation: u32) -> Option<Start> {
        let slot = self.current(id, generation)?;
        if slot.running {
            slot.overdue = true;
            return None;
        }
        let index = slot.address;
        let address = &mut self.addresses[index];
        if address.wake_at_ms.is_none() && address.free_at_us <= now_ms * 1000 {
            return Some(self.start(now_ms, id));
        }
        self.rate_limited += 1;
        address.waiting.push_back((id, generation));
        if address.wake_at_ms.is_none() {
            self.wait_for_address(index);
        }
        None
    }

    fn address_free(&mut self, now_ms: u64, at_ms: u64, index: usize) -> Option<Start> {
        if self.addresses[index].wake_at_ms != Some(at_ms) {
            return None;
        }
        self.addresses[index].wake_at_ms = None;
        while let Some((id, generation)) = self.addresses[index].waiting.pop_front() {
            if self.current(id, generation).is_some() {
                let start = self.start(now_ms, id);
                if !self.addresses[index].waiting.is_empty() {
                    self.wait_for_address(index);
                }
                return Some(start);
            }
        }
        None
    }

    fn wait_for_address(&mut self, index: usize) {
        let at_ms = self.addresses[index].free_at_us.div_ceil(1000);
        self.addresses[index].wake_at_ms = Some(at_ms);
        self.queue.push(Reverse(Queued { at_ms, event: Event::AddressFree(index) }));
    }

    fn start(&mut self, now_ms: u64, id: TargetId) -> Start {
        let slot = &mut self.slots[id.0 as usize];
        let address = &mut self.addresses[slot.address];
        address.free_at_us =
            address.free_at_us.max(now_ms * 1000) + 1_000_000 / u64::from(self.limits.per_address_per_second);
        self.in_flight += 1;
        slot.running = true;
        let start = Start { id, generation: slot.generation, lag_ms: now_ms.saturating_sub(slot.due_ms) };
        if let Some(planned) = slot.planned {
            slot.due_ms = next_due(now_ms, planned);
        }
        let event = Event::Due(id, slot.generation);
        self.queue.push(Reverse(Queued { at_ms: slot.due_ms, event }));
        start
    }
}

/// The first point of the target's grid that is at least half an interval away. So the second probe follows the first after 0.5 to
/// 1.5 intervals, every later one exactly on the grid, and one that started late by more than half an interval gives up a turn.
fn next_due(now_ms: u64, planned: Planned) -> u64 {
    let interval = u64::from(planned.interval_ms.max(1));
    // 2³² divided by the golden ratio: multiples of it, modulo 2³², are spread as evenly as can be, however many are taken.
    let fraction = u64::from(planned.id.0.wrapping_mul(0x9e37_79b9));
    let phase = ((fraction * interval) >> 32) / STEP_MS * STEP_MS;
    let earliest = now_ms + interval / 2;
    if earliest <= phase { phase } else { phase + (earliest - phase).div_ceil(interval) * interval }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
