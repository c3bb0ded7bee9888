//! The engine as transports call it: a reader of the published snapshot and a worker's own scratch memory.

use std::sync::Arc;

use crate::answer::{self, Outcome, Query, Scratch, Settings};
use crate::snapshot::handle::{Published, Reader};
use crate::transport::Engine;

/// One worker's engine.
pub(super) struct Worker {
    reader: Reader,
    scratch: Scratch,
}

impl Worker {
    /// Makes engines for transports, one for each thread.
    pub(super) fn maker(
        published: &Arc<Published>,
        settings: &Arc<Settings>,
    ) -> impl Fn(usize) -> Self + Send + Sync + 'static {
        let (published, settings) = (Arc::clone(published), Arc::clone(settings));
        move |_| Self { reader: published.reader(), scratch: Scratch::new(Arc::clone(&settings)) }
    }
}

impl Engine for Worker {
    fn answer(&mut self, query: &Query<'_>, out: &mut [u8]) -> Outcome {
        answer::answer(self.reader.current(), &mut self.scratch, query, out)
    }

    fn idle(&mut self) {
        self.reader.release();
    }
}
