//! What other addresses have to say to a target's results: whether a host that cannot be reached is dead, and whether a proxy that has no route
//! is wrong.

use std::collections::HashMap;

use super::*;
use crate::model::target::CheckKind;

/// The latest success at each of two different addresses: enough to know, for any address, when another one last answered.
#[derive(Default)]
pub(super) struct Witnesses([Option<(IpAddr, u64)>; 2]);

impl Witnesses {
    pub(super) fn answered(&mut self, address: IpAddr, at_ms: u64) {
        if self.0[0].is_none_or(|(latest, _)| latest != address) {
            self.0[1] = self.0[0];
        }
        self.0[0] = Some((address, at_ms));
    }

    pub(super) fn other_than(&self, address: IpAddr) -> Option<u64> {
        self.0.iter().flatten().find(|(witness, _)| *witness != address).map(|&(_, at_ms)| at_ms)
    }
}

/// Whether a target fails since it has no route for its host, and what that is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unrouted {
    /// Its failure is that it has no route: other failures among them, fewer than `fall` in a row, change nothing of that.
    is_reason: bool,
    /// Other failures in a row.
    others: u32,
    /// Another address serves the host.
    is_served: bool,
}

impl Unrouted {
    /// Takes a result in.
    pub(super) fn note(&mut self, outcome: &Outcome, check: &Check) {
        match outcome {
            Outcome::Unrouted(_) => (self.is_reason, self.others) = (check.rules.needs_witness, 0),
            Outcome::Failure(_) => {
                self.others = self.others.saturating_add(1);
                self.is_reason &= self.others < check.fall;
            }
            Outcome::Success | Outcome::Warning(_) => (self.is_reason, self.others) = (false, 0),
            Outcome::HostUnreachable | Outcome::LocalError(_) => {}
        }
    }

    /// Whether its failures are no verdict: no address serves the host, so what is missing is the route.
    pub(super) fn says_nothing(self) -> bool {
        self.is_reason && !self.is_served
    }
}

/// The targets that ask for the same host, those alone whose check needs a witness ([`crate::model::target::VerdictRules`]).
#[derive(Default)]
pub(super) struct Peers(HashMap<Box<str>, Vec<Peer>>);

struct Peer {
    id: TargetId,
    /// It is up, and its latest result was a success.
    serves: bool,
}

/// The host that a target asks for, whatever its port, if its check needs a witness.
fn host(target: &Target) -> Option<&str> {
    let CheckKind::Http(http) = &target.check.kind else { return None };
    let host = http.tls.as_ref().map_or(&*http.host, |tls| &tls.sni);
    target.check.rules.needs_witness.then(|| host.split_once(':').map_or(host, |(host, _)| host))
}

impl Peers {
    /// Notes whether a target serves its host. Returns whether any of those who ask for it does, and the others if that has changed.
    fn note(&mut self, id: TargetId, host: &str, serves: bool) -> (bool, Vec<TargetId>) {
        let Some(peers) = self.0.get_mut(host) else {
            self.0.insert(host.into(), vec![Peer { id, serves }]);
            return (serves, Vec::new());
        };
        let was_served = peers.iter().any(|peer| peer.serves);
        match peers.iter_mut().find(|peer| peer.id == id) {
            Some(peer) => peer.serves = serves,
            None => peers.push(Peer { id, serves }),
        }
        let is_served = peers.iter().any(|peer| peer.serves);
        let others = peers.iter().map(|peer| peer.id).filter(|peer| *peer != id && is_served != was_served);
        (is_served, others.collect())
    }

    /// Forgets a target. What the failures of the others mean without it their own next results tell.
    pub(super) fn remove(&mut self, id: TargetId, target: &Target) {
        let Some(host) = host(target) else { return };
        if let Some(peers) = self.0.get_mut(host) {
            peers.retain(|peer| peer.id != id);
            if peers.is_empty() {
                self.0.remove(host);
            }
        }
    }
}

impl Ledger {
    /// What a result is worth: a host that the network calls unreachable has failed if another address has answered since this target's last result, or if
    /// no other address is probed that could; otherwise our own link or gateway is gone as likely as not, and the result says nothing.
    ///
    /// So when the gateway goes, each target has at most one failure from before it was seen that nobody answers. Where others are
    /// probed more rarely than this target, a host that is really dead takes longer to fall; but neighbour discovery takes 3 s to
    /// give up, so with the usual timeouts most of its results are plain timeouts anyway.
    pub(super) fn settle(&self, now_ms: u64, id: TargetId, outcome: Outcome) -> Outcome {
        let (Outcome::HostUnreachable, Some(entry)) = (&outcome, self.entry(id)) else { return outcome };
        let since_ms = match &entry.last {
            Some(last) => last.at_ms,
            None => now_ms.saturating_sub(self.brake.window_ms()),
        };
        let witness = self.witnesses.other_than(entry.target.address.ip());
        if witness.is_some_and(|at_ms| at_ms >= since_ms) || self.schedule.addresses() <= 1 {
            Outcome::Failure("no route to host".into())
        } else {
            Outcome::LocalError("no route to host, and no other address answers".into())
        }
    }

    /// Notes whether a target serves its host after its latest result. Returns the others whose failures may mean something else now.
    pub(super) fn note_peers(&mut self, id: TargetId) -> Vec<TargetId> {
        let Some(entry) = self.entry(id) else { return Vec::new() };
        let target = entry.target.clone();
        let Some(host) = host(&target) else { return Vec::new() };
        let serves = entry.hysteresis.verdict() == Verdict::Up && entry.hysteresis.failures() == 0;
        let (is_served, others) = self.peers.note(id, host, serves);
        for peer in others.iter().chain([&id]) {
            if let Some(entry) = self.entries.get_mut(peer.0 as usize).and_then(Option::as_mut) {
                entry.unrouted.is_served = is_served;
            }
        }
        others
    }
}
