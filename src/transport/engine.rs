//! The engine of the data plane: the answer function over whatever snapshot is published.

use std::sync::Arc;

use super::Engine;
use crate::answer::{Outcome, Query, Scratch, Settings, answer};
use crate::snapshot::handle::{Published, Reader};

/// Answers from the published snapshot. Each worker has one.
#[derive(Debug)]
pub struct SnapshotEngine {
    reader: Reader,
    scratch: Scratch,
}

impl SnapshotEngine {
    /// A reader of its own for one worker. `settings` announces, for edns-tcp-keepalive, no more than
    /// [`Limits::idle`](super::Limits::idle).
    pub fn new(published: &Arc<Published>, settings: Arc<Settings>) -> Self {
        Self { reader: published.reader(), scratch: Scratch::new(settings) }
    }
}

impl Engine for SnapshotEngine {
    #[inline]
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        answer(self.reader.current(), &mut self.scratch, query, out)
    }

    fn apex_octets(&self, zone: u32) -> Option<usize> {
        self.reader.seen()?.apex(zone).map(|apex| apex.wire().len())
    }

    fn idle(&mut self) {
        self.reader.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Transport;
    use crate::model::hash::HashKey;
    use crate::model::name::Name;
    use crate::snapshot::Snapshot;

    fn rcode(engine: &mut SnapshotEngine) -> u16 {
        let bytes = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";
        let peer = "192.0.2.1:53".parse().unwrap();
        let query = Query { bytes, peer, transport: Transport::Udp, now_s: 0 };
        match engine.answer(&query, &mut [0; 1232]) {
            Outcome::Reply(reply) => {
                let apex = reply.class.zone.and_then(|zone| engine.apex_octets(zone));
                assert_eq!(apex, (reply.class.rcode == 2).then_some(6), "test");
                reply.class.rcode
            }
            Outcome::Drop => panic!("dropped"),
        }
    }

    #[test]
    fn answers_follow_the_publication_and_idle_workers_hold_nothing() {
        let empty = Snapshot::empty(HashKey::new([1, 2]));
        let broken = empty.with_broken_zone(Name::parse_absolute("test").unwrap());
        let published = Published::new(empty);
        let mut engine = SnapshotEngine::new(&published, Arc::default());
        assert_eq!(rcode(&mut engine), 5);
        published.publish(broken.clone());
        assert_eq!(rcode(&mut engine), 2);
        published.publish(broken);
        assert_eq!(published.free_retired(), 1);
        engine.idle();
        assert_eq!(published.free_retired(), 0);
        assert_eq!(rcode(&mut engine), 2);
    }
}
