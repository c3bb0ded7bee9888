//! Work shared out among threads for as long as it lasts.

use std::sync::mpsc::{Sender, channel};
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
        let mut batches: Vec<(usize, Vec<R>)> = Vec::new();
        self.run_into(items, worth, work, |number, results| batches.push((number, results)));
        batches.sort_unstable_by_key(|(number, _)| *number);
        batches.into_iter().flat_map(|(_, results)| results).collect()
    }

    /// Does `work` on each item likewise, and has `take` called on this thread with what came of each batch, while the others are still at
    /// work: batches come as they are done, each with its number.
    pub(super) fn run_into<T: Send, R: Send>(
        self,
        items: Vec<T>,
        worth: usize,
        work: impl Fn(T) -> R + Sync,
        mut take: impl FnMut(usize, Vec<R>),
    ) {
        let total = items.len();
        if self.threads < 2 || total < worth {
            if total > 0 {
                take(0, items.into_iter().map(work).collect());
            }
            return;
        }
        let queue = Mutex::new((0, items.into_iter()));
        let next = || {
            let (number, batch) = {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.0 += 1;
                (queue.0, queue.1.by_ref().take(BATCH).collect::<Vec<T>>())
            };
            (!batch.is_empty()).then(|| (number, batch.into_iter().map(&work).collect::<Vec<R>>()))
        };
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let member = |sender: Sender<(usize, Vec<R>)>| {
                // This thread takes what is sent for as long as it lives.
                std::iter::from_fn(next).for_each(|batch| drop(sender.send(batch)));
            };
            let others: Vec<_> = (1..self.threads.min(total.div_ceil(BATCH)))
                .map(|_| {
                    let sender = sender.clone();
                    scope.spawn(move || member(sender))
                })
                .collect();
            drop(sender);
            while let Some((number, results)) = next() {
                take(number, results);
                receiver.try_iter().for_each(|(number, results)| take(number, results));
            }
            receiver.iter().for_each(|(number, results)| take(number, results));
            for other in others {
                // A panic is a bug; it goes on where it would have gone without threads.
                other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        });
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
