//! Bare TCP checks: a connection is accepted. All of them on one thread, without a task, a timer or an allocation of their own.
//!
//! The caller owns the [`mio::Poll`], tells of its events, and of the time in microseconds on a clock that never goes back.
//! On Linux a probe is six system calls: socket, two options, connect, one registration, close. Closing a socket ends its
//! registration (epoll(7)), and success shows in the event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;

use super::{Ended, Outcome, after_sending, before_sending, tcp};
use crate::health::schedule::Start;
use crate::model::target::TargetId;

/// A token's lower bits are the slot, the others count its uses: an event of an earlier use, which a child process between fork and exec
/// could bring about while it holds a copy of the socket, is not the present one's.
const SLOT_BITS: u32 = 20;
const SLOTS: usize = 1 << SLOT_BITS;

/// Connections under way.
#[derive(Debug)]
pub struct BareProbes {
    registry: Registry,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// When each is given up, in microseconds, with its token; what has ended before is skipped.
    deadlines: BinaryHeap<Reverse<(u64, usize)>>,
    /// The token of each target's probe, by number.
    of_target: Vec<Option<Token>>,
}

#[derive(Debug)]
struct Slot {
    token: Token,
    probe: Option<Probe>,
}

#[derive(Debug)]
struct Probe {
    id: TargetId,
    generation: u32,
    started_us: u64,
    socket: Socket,
}

impl BareProbes {
    /// None yet; their sockets will be registered with `registry`. Tokens from [`BareProbes::FOREIGN`] up are the caller's.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BinaryHeap::new(),
            of_target: Vec::new(),
        }
    }

    /// The one token that is never a probe's.
    pub const FOREIGN: Token = Token(usize::MAX);

    /// Begins to connect. Returns the end at once where there is nothing to wait for.
    pub fn start(
        &mut self,
        start: Start,
        address: SocketAddr,
        timeout_ms: u32,
        now_us: u64,
    ) -> Option<Ended> {
        match self.begin(start, address, timeout_ms, now_us) {
            Ok(()) => None,
            Err(e) => Some(Ended {
                id: start.id,
                generation: start.generation,
                outcome: before_sending(&e),
                duration_us: 0,
            }),
        }
    }

    fn begin(&mut self, start: Start, address: SocketAddr, timeout_ms: u32, now_us: u64) -> io::Result<()> {
        let socket = tcp::begin_bare(address)?;
        let index = self.slot()?;
        let token = self.slots[index].token;
        if let Err(e) = self.registry.register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::WRITABLE)
        {
            self.free.push(index);
            return Err(e);
        }
        self.deadlines.push(Reverse((now_us + u64::from(timeout_ms) * 1000, token.0)));
        let target = start.id.0 as usize;
        if target >= self.of_target.len() {
            self.of_target.resize(target + 1, None);
        }
        self.of_target[target] = Some(token);
        let probe = Probe { id: start.id, generation: start.generation, started_us: now_us, socket };
        self.slots[index].probe = Some(probe);
        Ok(())
    }

    fn slot(&mut self) -> io::Result<usize> {
        if let Some(index) = self.free.pop() {
            return Ok(index);
        }
        let index = self.slots.len();
        // Beyond any limit of probes in flight that descriptors allow.
        if index == SLOTS {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        self.slots.push(Slot { token: Token(index), probe: None });
        Ok(index)
    }

    /// Takes an event; returns the end of the probe it belongs to.
    pub fn ready(&mut self, event: &Event, now_us: u64) -> Option<Ended> {
        let index = event.token().0 % SLOTS;
        let slot = self.slots.get(index).filter(|slot| slot.token == event.token())?;
        let socket = &slot.probe.as_ref()?.socket;
        // Linux says so in the event; elsewhere it must be asked for.
        let outcome = if cfg!(target_os = "linux") && !event.is_error() && !event.is_write_closed() {
            Outcome::Success
        } else {
            match socket.take_error() {
                Ok(None) => Outcome::Success,
                Ok(Some(e)) | Err(e) => after_sending(&e),
            }
        };
        self.end(index, outcome, now_us)
    }

    /// Gives up those whose time is over.
    pub fn expire(&mut self, now_us: u64, ended: &mut Vec<Ended>) {
        while let Some(deadline_us) = self.next_deadline_us()
            && deadline_us <= now_us
        {
            let Some(Reverse((_, token))) = self.deadlines.pop() else { break };
            ended.extend(self.end(token % SLOTS, Outcome::Failure("timed out".into()), now_us));
        }
    }

    /// When [`BareProbes::expire`] has something to do.
    pub fn next_deadline_us(&mut self) -> Option<u64> {
        while let Some(&Reverse((deadline_us, token))) = self.deadlines.peek() {
            let slot = &self.slots[token % SLOTS];
            if slot.probe.is_some() && slot.token.0 == token {
                return Some(deadline_us);
            }
            self.deadlines.pop();
        }
        None
    }

    /// Breaks off the probe of a target, if there is one.
    pub fn abort(&mut self, id: TargetId) {
        if let Some(token) = self.of_target.get(id.0 as usize).copied().flatten() {
            self.end(token.0 % SLOTS, Outcome::LocalError("broken off".into()), 0);
        }
    }

    fn end(&mut self, index: usize, outcome: Outcome, now_us: u64) -> Option<Ended> {
        let slot = &mut self.slots[index];
        // Dropping the socket closes it.
        let Probe { id, generation, started_us, socket: _ } = slot.probe.take()?;
        slot.token = Token(slot.token.0.wrapping_add(SLOTS));
        if slot.token == Self::FOREIGN {
            slot.token = Token(index);
        }
        self.free.push(index);
        self.of_target[id.0 as usize] = None;
        Some(Ended { id, generation, outcome, duration_us: now_us.saturating_sub(started_us) })
    }
}
