//! Addresses that are probed: how many probes a second each may get, and who waits for his turn at one.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use crate::model::probe_rate::{AddressDemand, Scope};
use crate::model::target::TargetId;

/// A target's number, and which tenancy of it.
pub(super) type Tenant = (TargetId, u32);

/// An address in [`Addresses`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressIndex(u32);

struct AddressSlot {
    address: IpAddr,
    demand: AddressDemand,
    /// The earliest time for the next start, in microseconds.
    free_at_us: u64,
    /// Who is due and waits, by [`Scope`].
    waiting: [VecDeque<Tenant>; Scope::COUNT],
    /// Whose turn it is where both scopes wait.
    names_turn: bool,
    /// When the queued event that the address is free fires; others are leftovers of an earlier tenant.
    wake_at_ms: Option<u64>,
}

/// See the module's documentation.
pub(super) struct Addresses {
    per_second: u32,
    slots: Vec<AddressSlot>,
    index: HashMap<IpAddr, AddressIndex>,
    free: Vec<AddressIndex>,
    stretched_targets: u32,
}

impl Addresses {
    /// No addresses yet, each of which may be probed so many times a second; 0 counts as 1.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
            slots: Vec::new(),
            index: HashMap::new(),
            free: Vec::new(),
            stretched_targets: 0,
        }
    }

    /// Adds a target to an address.
    pub(super) fn hold(&mut self, address: IpAddr, scope: Scope, interval_ms: u32) -> AddressIndex {
        let index = self.index.get(&address).copied().unwrap_or_else(|| self.add(address));
        self.change_demand(index, |demand| demand.add(scope, interval_ms));
        index
    }

    fn add(&mut self, address: IpAddr) -> AddressIndex {
        let fresh = AddressSlot {
            address,
            demand: AddressDemand::default(),
            free_at_us: 0,
            waiting: Default::default(),
            names_turn: false,
            wake_at_ms: None,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index.0 as usize] = fresh;
                index
            }
            None => {
                self.slots.push(fresh);
                AddressIndex(self.slots.len() as u32 - 1)
            }
        };
        self.index.insert(address, index);
        index
    }

    /// Takes a target from its address; without targets the address is forgotten.
    pub(super) fn release(&mut self, index: AddressIndex, scope: Scope, interval_ms: u32) {
        self.change_demand(index, |demand| demand.remove(scope, interval_ms));
        let slot = &mut self.slots[index.0 as usize];
        if slot.demand.targets() == 0 {
            slot.waiting = Default::default();
            self.index.remove(&slot.address);
            self.free.push(index);
        }
    }

    fn change_demand(&mut self, index: AddressIndex, change: impl FnOnce(&mut AddressDemand)) {
        let demand = &mut self.slots[index.0 as usize].demand;
        let before = demand.stretched_targets(self.per_second);
        change(demand);
        self.stretched_targets = self.stretched_targets - before + demand.stretched_targets(self.per_second);
    }

    /// The interval that a check of the address has within its rate.
    pub(super) fn interval_ms(&self, index: AddressIndex, scope: Scope, interval_ms: u32) -> u32 {
        self.slots[index.0 as usize].demand.interval_ms(scope, interval_ms, self.per_second)
    }

    /// Whether a probe of the address may start now, and nobody else waits for it.
    pub(super) fn is_free(&self, index: AddressIndex, now_ms: u64) -> bool {
        let slot = &self.slots[index.0 as usize];
        slot.wake_at_ms.is_none() && slot.free_at_us <= now_ms * 1000
    }

    /// Notes that a probe starts.
    pub(super) fn start(&mut self, index: AddressIndex, now_ms: u64) {
        let slot = &mut self.slots[index.0 as usize];
        slot.free_at_us = slot.free_at_us.max(now_ms * 1000) + 1_000_000 / u64::from(self.per_second);
    }

    /// Lets a target wait for its address.
    pub(super) fn wait(&mut self, index: AddressIndex, scope: Scope, tenant: Tenant) {
        self.slots[index.0 as usize].waiting[scope as usize].push_back(tenant);
    }

    /// When the next one may start, if somebody waits and no event is queued for it yet; the caller queues one.
    pub(super) fn wake_up(&mut self, index: AddressIndex) -> Option<u64> {
        let slot = &mut self.slots[index.0 as usize];
        if slot.wake_at_ms.is_some() || slot.waiting.iter().all(VecDeque::is_empty) {
            return None;
        }
        slot.wake_at_ms = Some(slot.free_at_us.div_ceil(1000));
        slot.wake_at_ms
    }

    /// Whether the event that was queued for this time is still wanted; it is used up.
    pub(super) fn woken(&mut self, index: AddressIndex, at_ms: u64) -> bool {
        let wake_at_ms = &mut self.slots[index.0 as usize].wake_at_ms;
        let wanted = *wake_at_ms == Some(at_ms);
        if wanted {
            *wake_at_ms = None;
        }
        wanted
    }

    /// Who has waited longest; where checks of the address and of names wait, they take turns.
    pub(super) fn next_waiting(&mut self, index: AddressIndex) -> Option<Tenant> {
        let slot = &mut self.slots[index.0 as usize];
        let [own, named] = &mut slot.waiting;
        let named_first = slot.names_turn || own.is_empty();
        let (first, second) = if named_first { (named, own) } else { (own, named) };
        let (tenant, from_first) = match first.pop_front() {
            Some(tenant) => (tenant, true),
            None => (second.pop_front()?, false),
        };
        slot.names_turn = named_first != from_first;
        Some(tenant)
    }

    /// How many times a second each may be probed.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// How many addresses there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Targets that are probed more rarely than their interval says.
    pub(super) fn stretched_targets(&self) -> usize {
        self.stretched_targets as usize
    }

    /// Addresses whose checks want more than their rate, with what they want.
    pub(super) fn stretched(&self) -> impl Iterator<Item = (IpAddr, &AddressDemand)> {
        let demands = self.index.values().map(|index| &self.slots[index.0 as usize]);
        demands
            .filter(|slot| slot.demand.stretched_targets(self.per_second) > 0)
            .map(|slot| (slot.address, &slot.demand))
    }
}
