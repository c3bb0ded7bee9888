//! Work shared out among threads for as long as it lasts.

use std::sync::{Mutex, PoisonError};

/// Items that a thread takes at once.
const BATCH: usize = 8;

/// How many threads do the work of a commit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crew {
    pub(super) threads: usize,
}

impl Crew {
    /// Does `work` on each item, on this thread alone if there are fewer than `worth` of them; what came of it, in the order of the items.
    pub(super) fn run<T: Send, R: Send>(
        self,
        items: Vec<T>,
        worth: usize,
        work: impl Fn(T) -> R + Sync,
    ) -> Vec<R> {
        if self.threads < 2 || items.len() < worth {
            return items.into_iter().map(work).collect();
        }
        let total = items.len();
        let queue = Mutex::new((0, items.into_iter()));
        let take = || {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.0 += 1;
            (queue.0, queue.1.by_ref().take(BATCH).collect::<Vec<T>>())
        };
        let member = || {
            let mut done: Vec<(usize, Vec<R>)> = Vec::new();
            loop {
                let (number, batch) = take();
                if batch.is_empty() {
                    return done;
                }
                done.push((number, batch.into_iter().map(&work).collect()));
            }
        };
        let mut batches = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..self.threads.min(total.div_ceil(BATCH))).map(|_| scope.spawn(member)).collect();
            let mut batches = member();
            for other in others {
                // A panic is a bug; it goes on where it would have gone without threads.
                batches.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            batches
        });
        batches.sort_unstable_by_key(|(number, _)| *number);
        batches.into_iter().flat_map(|(_, results)| results).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_does_the_work() {
        for threads in [1, 2, 5] {
            for count in [0, 1, 7, 8, 9, 1000] {
                let doubled = Crew { threads }.run((0..count).collect(), 8, |n: usize| 2 * n);
                assert_eq!(doubled, (0..count).map(|n| 2 * n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_is_not_lost() {
        Crew { threads: 2 }.run((0..100).collect(), 1, |n: usize| assert_ne!(n, 50, "on purpose"));
    }
}
