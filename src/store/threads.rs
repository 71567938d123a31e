//! Work on several threads, with results that do not depend on how many there are.

use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use crate::limits::LIMITS;

/// Threads that work at once; the run on this machine wants cores too.
const MOST: usize = 4;

/// How many threads work on so many rows.
pub(crate) fn for_rows(rows: u64) -> usize {
    cores()
        .min(usize::try_from(rows / LIMITS.thread_rows).unwrap_or(MOST))
        .max(1)
}

/// How many threads may work at once. Asked once: on Linux the answer is in several files.
#[cfg(not(test))]
pub(crate) fn cores() -> usize {
    static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *CORES.get_or_init(|| {
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOST)
    })
}

/// As many as a test wants.
#[cfg(test)]
pub(crate) fn cores() -> usize {
    CORES.get()
}

#[cfg(test)]
thread_local! {
    static CORES: std::cell::Cell<usize> = const { std::cell::Cell::new(2) };
}

/// Does something on so many cores.
#[cfg(test)]
pub(crate) fn with_cores<T>(cores: usize, then: impl FnOnce() -> T) -> T {
    let before = CORES.replace(cores);
    let result = then();
    CORES.set(before);
    result
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work for a thread that is to do as this one does.
#[cfg(not(test))]
fn alike<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    work
}

/// Work for a thread that is to do as this one does, also where a test wants smaller sizes.
#[cfg(test)]
fn alike<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    use super::parquet::table::{group_bytes, group_rows, with_groups};
    let (rows, bytes) = (group_rows(), group_bytes());
    move || with_groups(rows, bytes, work)
}

/// What `work` returns on this thread, first, and on up to `threads - 1` further ones. A panic of
/// any of them goes on here as it was, so that a refusal of the system is still known as one.
pub(crate) fn together<R: Send>(threads: usize, work: impl Fn() -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            .map_while(|_| helper(scope, alike(&work)))
            .collect();
        let mut results = vec![work()];
        let others = others.into_iter().map(ScopedJoinHandle::join);
        results.extend(others.map(|ended| ended.unwrap_or_else(|panic| resume_unwind(panic))));
        results
    })
}

/// A further thread for work that this one shares; `None` where the system has none left:
/// then those that there are do it all.
pub(crate) fn helper<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Option<ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().spawn_scoped(scope, work).ok()
}

/// What `work` makes of each job, in the order of the jobs.
pub(crate) fn each<J: Send, R: Send>(
    threads: usize,
    jobs: Vec<J>,
    work: impl Fn(J) -> R + Sync,
) -> Vec<R> {
    until(threads, &mut jobs.into_iter(), work, |_| false)
}

/// The same, until `enough` says so of a result. The results are those of the first jobs,
/// because they are begun in their order, and all that were begun are done.
pub(crate) fn until<J: Send, R: Send>(
    threads: usize,
    jobs: &mut (impl ExactSizeIterator<Item = J> + Send),
    work: impl Fn(J) -> R + Sync,
    enough: impl FnMut(&R) -> bool + Send,
) -> Vec<R> {
    struct Queue<'j, I, E> {
        jobs: &'j mut I,
        begun: usize,
        enough: E,
        over: bool,
    }
    let threads = threads.min(jobs.len());
    let queue = Mutex::new(Queue {
        jobs,
        begun: 0,
        enough,
        over: false,
    });
    let done = Mutex::new(Vec::new());
    let turn = || {
        loop {
            let mut queue_now = lock(&queue);
            let Some(job) = (!queue_now.over).then(|| queue_now.jobs.next()).flatten() else {
                return;
            };
            let at = queue_now.begun;
            queue_now.begun += 1;
            drop(queue_now);
            let result = work(job);
            let mut queue_now = lock(&queue);
            queue_now.over = (queue_now.enough)(&result) || queue_now.over;
            drop(queue_now);
            lock(&done).push((at, result));
        }
    };
    together(threads, turn);
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Sorts by a key that no two have.
pub(crate) fn sort<T: Send, K: Ord>(threads: usize, all: &mut [T], key: impl Fn(&T) -> K + Sync) {
    fn part<T: Send, K: Ord>(threads: usize, all: &mut [T], key: &(impl Fn(&T) -> K + Sync)) {
        if threads <= 1 || all.len() <= LIMITS.sort_items {
            return all.sort_unstable_by_key(key);
        }
        let middle = all.len() / 2;
        all.select_nth_unstable_by_key(middle, key);
        let (low, high) = all.split_at_mut(middle);
        // For the thread that comes first.
        let high = Mutex::new(Some(high));
        let sort_high = || {
            let taken = lock(&high).take();
            if let Some(high) = taken {
                part(threads.div_ceil(2), high, key);
            }
        };
        std::thread::scope(|scope| {
            let other = helper(scope, sort_high);
            part(threads.div_ceil(2), low, key);
            sort_high();
            if let Some(Err(panic)) = other.map(ScopedJoinHandle::join) {
                resume_unwind(panic);
            }
        });
    }
    part(threads, all, &key);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        for threads in [1, 2, 7] {
            let slow_first = |job: u64| {
                std::thread::sleep(std::time::Duration::from_millis(if job == 0 {
                    20
                } else {
                    0
                }));
                job * 2
            };
            assert_eq!(
                each(threads, (0..40).collect(), slow_first),
                (0..80).step_by(2).collect::<Vec<_>>()
            );
            assert!(each(threads, Vec::new(), slow_first).is_empty());
        }
    }

    #[test]
    fn what_was_begun_when_it_was_enough_is_done_and_the_rest_stays() {
        for threads in [1, 3] {
            let (mut jobs, begun) = (vec![1_usize; 100].into_iter(), AtomicUsize::new(0));
            let mut sum = 0;
            let work = |job| {
                begun.fetch_add(1, Ordering::Relaxed);
                job
            };
            let results = until(threads, &mut jobs, work, |result| {
                sum += result;
                sum >= 10
            });
            assert!(
                (10..10 + threads).contains(&results.len()),
                "{}",
                results.len()
            );
            assert_eq!(results.len(), begun.into_inner());
            assert_eq!(jobs.len(), 100 - results.len());
        }
    }

    #[test]
    fn a_helpers_panic_goes_on_as_it_was() {
        let (own, both) = (std::thread::current().id(), std::sync::Barrier::new(2));
        let work = || {
            both.wait();
            assert!(std::thread::current().id() == own, "no more memory");
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| together(2, work)));
        let said = ended.unwrap_err();
        assert_eq!(said.downcast_ref::<&str>(), Some(&"no more memory"));
    }

    #[test]
    fn sorts_as_one_thread_does() {
        let mut all: Vec<u64> = (0..1_000_u64)
            .map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let mut expected = all.clone();
        expected.sort_unstable();
        sort(3, &mut all, |value| *value);
        assert_eq!(all, expected);
    }
}
