//! When each target is probed: no barriers, no waiting for others.
//!
//! Pure: time is passed in, in milliseconds on a clock that never goes back, and sockets are somebody else's. The driver asks
//! [`Schedule::start_next`] until it says `None`, sleeps until [`Schedule::wake_at`], and reports each end by [`Schedule::finish`].
//!
//! - The first probes of targets added together are spread over at most [`FIRST_SPREAD_MS`], one millisecond apart where they are few.
//! - Afterwards each target has a phase of its own within its interval, from the golden ratio of its number, so that phases are
//!   evenly spread without coordination. The grid `phase + k × interval` is kept: a late probe does not push the later ones back.
//! - A probe that falls due while the target's last one is still running starts when that one ends.
//! - Probes in flight are limited in all; what is due waits in the order of its due time. A quarter is kept for targets whose last probe
//!   ended within [`LONG_MS`]: however many others swallow their probes, those that answer are probed on time.
//! - Starts a second are limited for each address. Where its checks want more than that, all are planned at longer intervals
//!   ([`crate::model::probe_rate`]); what falls due together nevertheless waits in the address's own queue, where it delays nobody else.

mod addresses;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};
use std::net::IpAddr;

use crate::model::probe_rate::{AddressDemand, Scope};
use crate::model::target::TargetId;

use addresses::{AddressIndex, Addresses, Tenant};

/// First probes of targets that are added together start within this time, in milliseconds.
pub const FIRST_SPREAD_MS: u64 = 950;

/// Phases are multiples of this, in milliseconds: probes of one such step start in one go, and their ends are mostly taken in one go, which
/// at a thousand probes a second spares nine wake-ups of ten.
pub const STEP_MS: u64 = 10;

/// A probe that ran so long makes its target's next one count as long: it gets no slot of the quarter that is kept for the others.
pub const LONG_MS: u64 = 250;

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
    /// Milliseconds since it might have started: since it was due, or since its address was free.
    pub lag_ms: u64,
}

/// A target to schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number.
    pub id: TargetId,
    /// Where its probes go: the per-address limit counts by it.
    pub address: IpAddr,
    /// Whom its check speaks for: where an address is crowded, its own checks go before those of names.
    pub scope: Scope,
    /// Milliseconds from one start to the next.
    pub interval_ms: u32,
}

#[derive(Default)]
struct Slot {
    /// `None` where the number is not in use.
    planned: Option<Planned>,
    generation: u32,
    address: AddressIndex,
    /// When the next probe, or the one that waits, is due.
    due_ms: u64,
    running: Option<Running>,
    /// The queued probe fell due while another one ran.
    overdue: bool,
    /// The last probe ran for [`LONG_MS`] or longer.
    long: bool,
}

#[derive(Clone, Copy)]
struct Running {
    since_ms: u64,
    /// Whether it counts as a long one, from what was known when it started.
    long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A target's probe is due.
    Due(TargetId, u32),
    /// An address with waiting targets may be probed again.
    AddressFree(AddressIndex),
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
    in_flight_limit: usize,
    slots: Vec<Slot>,
    addresses: Addresses,
    queue: BinaryHeap<Reverse<Queued>>,
    in_flight: usize,
    long_in_flight: usize,
    /// Due, but there are as many long probes in flight as there may be.
    long_waiting: VecDeque<Tenant>,
    rate_limited: u64,
}

impl Schedule {
    /// A schedule without targets.
    pub fn new(limits: Limits) -> Self {
        Self {
            in_flight_limit: limits.in_flight.max(1),
            slots: Vec::new(),
            addresses: Addresses::new(limits.per_address_per_second),
            queue: BinaryHeap::new(),
            in_flight: 0,
            long_in_flight: 0,
            long_waiting: VecDeque::new(),
            rate_limited: 0,
        }
    }

    /// Lets so many probes be under way from now on; 0 counts as 1.
    pub fn set_in_flight_limit(&mut self, in_flight: usize) {
        self.in_flight_limit = in_flight.max(1);
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
        let address = self.addresses.hold(planned.address, planned.scope, planned.interval_ms);
        let slot = &mut self.slots[index];
        slot.planned = Some(planned);
        slot.address = address;
        slot.due_ms = due_ms;
        let event = Event::Due(planned.id, slot.generation);
        self.queue.push(Reverse(Queued { at_ms: due_ms, event }));
    }

    /// Stops probing a target. A probe of it that is running is no longer counted as in flight: the caller aborts it.
    pub fn remove(&mut self, id: TargetId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        let Some(planned) = slot.planned else { return };
        let (address, running) = (slot.address, slot.running);
        // The generation makes what is still queued for this number stale, so the heap need not be searched.
        *slot = Slot { generation: slot.generation.wrapping_add(1), ..Slot::default() };
        self.addresses.release(address, planned.scope, planned.interval_ms);
        if let Some(running) = running {
            self.ended(running);
        }
    }

    /// The next probe to start at this time, if any may.
    pub fn start_next(&mut self, now_ms: u64) -> Option<Start> {
        while self.in_flight < self.in_flight_limit {
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
        if self.in_flight >= self.in_flight_limit {
            return None;
        }
        self.queue.peek().map(|Reverse(next)| next.at_ms)
    }

    /// Notes the end of a probe; returns whether it belongs to a target that is still here.
    pub fn finish(&mut self, now_ms: u64, id: TargetId, generation: u32) -> bool {
        let Some(slot) = self.current(id, generation) else { return false };
        let Some(running) = slot.running.take() else { return false };
        slot.long = now_ms.saturating_sub(running.since_ms) >= LONG_MS;
        if std::mem::take(&mut slot.overdue) {
            self.queue.push(Reverse(Queued { at_ms: now_ms, event: Event::Due(id, generation) }));
        }
        self.ended(running);
        true
    }

    fn ended(&mut self, running: Running) {
        self.in_flight -= 1;
        if !running.long {
            return;
        }
        self.long_in_flight -= 1;
        while let Some((id, generation)) = self.long_waiting.pop_front() {
            if let Some(slot) = self.current(id, generation) {
                let at_ms = slot.due_ms;
                self.queue.push(Reverse(Queued { at_ms, event: Event::Due(id, generation) }));
                return;
            }
        }
    }

    /// Milliseconds until the target's next probe is due; 0 when it is overdue, `None` when the target is unknown.
    pub fn next_in_ms(&self, now_ms: u64, id: TargetId) -> Option<u64> {
        let slot = self.slots.get(id.0 as usize)?;
        slot.planned.map(|_| slot.due_ms.saturating_sub(now_ms))
    }

    /// The interval in milliseconds that a target has within its address's rate; `None` when the target is unknown.
    pub fn interval_ms(&self, id: TargetId) -> Option<u32> {
        let slot = self.slots.get(id.0 as usize)?;
        slot.planned.map(|planned| self.interval(slot.address, planned))
    }

    fn interval(&self, address: AddressIndex, planned: Planned) -> u32 {
        self.addresses.interval_ms(address, planned.scope, planned.interval_ms)
    }

    /// Probes running.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Distinct addresses that are probed.
    pub fn addresses(&self) -> usize {
        self.addresses.len()
    }

    /// The limit of starts of one address in a second.
    pub fn per_address_per_second(&self) -> u32 {
        self.addresses.per_second()
    }

    /// How many probes had to wait for the per-address limit, since the start.
    pub fn rate_limited(&self) -> u64 {
        self.rate_limited
    }

    /// Targets that are probed more rarely than their interval says, because their address has too many.
    pub fn stretched_targets(&self) -> usize {
        self.addresses.stretched_targets()
    }

    /// The addresses of those targets, with what their checks want.
    pub fn stretched(&self) -> impl Iterator<Item = (IpAddr, &AddressDemand)> {
        self.addresses.stretched()
    }

    fn current(&mut self, id: TargetId, generation: u32) -> Option<&mut Slot> {
        self.slots.get_mut(id.0 as usize).filter(|s| s.planned.is_some() && s.generation == generation)
    }

    fn due(&mut self, now_ms: u64, id: TargetId, generation: u32) -> Option<Start> {
        let slot = self.current(id, generation)?;
        if slot.running.is_some() {
            slot.overdue = true;
            return None;
        }
        let (address, due_ms, planned) = (slot.address, slot.due_ms, slot.planned?);
        if self.addresses.is_free(address, now_ms) {
            return self.start(now_ms, due_ms, (id, generation));
        }
        self.rate_limited += 1;
        self.addresses.wait(address, planned.scope, (id, generation));
        self.wake_for(address);
        None
    }

    fn address_free(&mut self, now_ms: u64, at_ms: u64, address: AddressIndex) -> Option<Start> {
        if !self.addresses.woken(address, at_ms) {
            return None;
        }
        let mut started = None;
        while started.is_none() {
            let Some((id, generation)) = self.addresses.next_waiting(address) else { break };
            if self.current(id, generation).is_some() {
                started = self.start(now_ms, at_ms, (id, generation));
            }
        }
        self.wake_for(address);
        started
    }

    fn wake_for(&mut self, address: AddressIndex) {
        if let Some(at_ms) = self.addresses.wake_up(address) {
            self.queue.push(Reverse(Queued { at_ms, event: Event::AddressFree(address) }));
        }
    }

    /// Starts a probe that might have started at `since_ms`, or lets it wait for the end of another long one.
    fn start(&mut self, now_ms: u64, since_ms: u64, (id, generation): Tenant) -> Option<Start> {
        let slot = &self.slots[id.0 as usize];
        let (address, long, planned) = (slot.address, slot.long, slot.planned?);
        if long {
            if self.long_in_flight >= self.in_flight_limit - self.in_flight_limit / 4 {
                self.long_waiting.push_back((id, generation));
                return None;
            }
            self.long_in_flight += 1;
        }
        self.in_flight += 1;
        self.addresses.start(address, now_ms);
        let due_ms = next_due(now_ms, id, self.interval(address, planned));
        let slot = &mut self.slots[id.0 as usize];
        slot.running = Some(Running { since_ms: now_ms, long });
        slot.due_ms = due_ms;
        self.queue.push(Reverse(Queued { at_ms: due_ms, event: Event::Due(id, generation) }));
        Some(Start { id, generation, lag_ms: now_ms.saturating_sub(since_ms) })
    }
}

/// The first point of the target's grid that is at least half an interval away. So the second probe follows the first after 0.5 to
/// 1.5 intervals, every later one exactly on the grid, and one that started late by more than half an interval gives up a turn.
fn next_due(now_ms: u64, id: TargetId, interval_ms: u32) -> u64 {
    let interval = u64::from(interval_ms.max(1));
    // 2³² divided by the golden ratio: multiples of it, modulo 2³², are spread as evenly as can be, however many are taken.
    let fraction = u64::from(id.0.wrapping_mul(0x9e37_79b9));
    let phase = ((fraction * interval) >> 32) / STEP_MS * STEP_MS;
    let earliest = now_ms + interval / 2;
    if earliest <= phase { phase } else { phase + (earliest - phase).div_ceil(interval) * interval }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
