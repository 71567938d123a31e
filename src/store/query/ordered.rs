//! Several things worked on at once, with the results in the order of the things.
//!
//! Promises: no more than a bounded number of results waits to be taken; dropping it
//! stops the work; a thread that dies is an error, never a shorter result.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Results of one thing that wait to be taken.
const AHEAD: usize = 8;

/// What is done with a thing: gives results until there are no more, or nobody wants them.
pub(super) type Work<U, T> = dyn Fn(U, &mut dyn FnMut(T) -> bool) + Send + Sync;

/// Results on their way.
#[derive(Debug)]
pub(super) struct Ordered<T> {
    things: Receiver<Receiver<Step<T>>>,
    current: Option<Receiver<Step<T>>>,
}

#[derive(Debug)]
enum Step<T> {
    Result(T),
    End,
}

/// The things to come, with the way to tell who works on the next one.
#[derive(Debug)]
struct Queue<U, T> {
    left: VecDeque<U>,
    begun: SyncSender<Receiver<Step<T>>>,
}

impl<T: Send + 'static> Ordered<T> {
    /// Begins to work on `things`.
    pub(super) fn start<U: Send + 'static>(
        things: VecDeque<U>,
        threads: usize,
        work: &Arc<Work<U, T>>,
    ) -> io::Result<Self> {
        let (begun, order) = sync_channel(threads.saturating_sub(1).max(1));
        let queue = Arc::new(Mutex::new(Queue { left: things, begun }));
        for _ in 0..threads {
            let (queue, work) = (Arc::clone(&queue), Arc::clone(work));
            std::thread::Builder::new().spawn(move || {
                while let Some((thing, sender)) = next(&queue) {
                    work(thing, &mut |result| sender.send(Step::Result(result)).is_ok());
                    // Without this the thing counts as given up.
                    let _ = sender.send(Step::End);
                }
            })?;
        }
        Ok(Self { things: order, current: None })
    }

    /// The next result; an error when a thread died.
    pub(super) fn next(&mut self) -> io::Result<Option<T>> {
        loop {
            let Some(current) = &self.current else {
                match self.things.recv() {
                    Ok(next) => self.current = Some(next),
                    Err(_) => return Ok(None),
                }
                continue;
            };
            match current.recv() {
                Ok(Step::Result(result)) => return Ok(Some(result)),
                Ok(Step::End) => self.current = None,
                Err(_) => return Err(io::Error::other("a thread that was reading it died")),
            }
        }
    }
}

/// The next thing, and where its results go. Holding the queue while the taker is behind
/// keeps the others from beginning even later things.
fn next<U, T>(queue: &Mutex<Queue<U, T>>) -> Option<(U, SyncSender<Step<T>>)> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let thing = queue.left.pop_front()?;
    let (sender, receiver) = sync_channel(AHEAD);
    queue.begun.send(receiver).ok()?;
    Some((thing, sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(threads: usize, things: u64) -> Vec<u64> {
        let work: Arc<Work<u64, u64>> = Arc::new(|thing, give| {
            for at in 0..thing % 30 {
                if !give(thing * 100 + at) {
                    return;
                }
            }
        });
        let mut ordered = Ordered::start((0..things).collect(), threads, &work).unwrap();
        std::iter::from_fn(|| ordered.next().unwrap()).collect()
    }

    #[test]
    fn the_order_is_that_of_the_things() {
        let expected: Vec<u64> =
            (0..200).flat_map(|thing| (0..thing % 30).map(move |at| thing * 100 + at)).collect();
        for threads in [1, 2, 5] {
            assert_eq!(all(threads, 200), expected);
        }
        assert!(all(3, 0).is_empty());
    }

    #[test]
    fn whoever_stops_taking_stops_the_work() {
        let begun = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let count = Arc::clone(&begun);
        let work: Arc<Work<u64, u64>> = Arc::new(move |thing, give| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            while give(thing) {}
        });
        let mut ordered = Ordered::start((0..1_000).collect(), 2, &work).unwrap();
        assert_eq!(ordered.next().unwrap(), Some(0));
        drop(ordered);
        assert!(begun.load(std::sync::atomic::Ordering::Relaxed) <= 3);
    }

    #[test]
    fn a_thread_that_dies_is_an_error() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let work: Arc<Work<u64, u64>> = Arc::new(|thing, give| {
            give(thing);
            assert!(thing != 3, "dies");
        });
        let mut ordered = Ordered::start((0..10).collect(), 2, &work).unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| ordered.next().transpose()).take(5).collect();
        std::panic::set_hook(hook);
        assert!(taken[..4].iter().all(Result::is_ok) && taken[4].is_err(), "{taken:?}");
    }
}
