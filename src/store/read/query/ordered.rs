//! Several things worked on at once, with the results in the order of the things.
//!
//! Promises: no more than a bounded number of results waits to be taken; dropping it
//! stops the work; a thread that dies is an error, never a shorter result.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Results of one thing that wait to be taken; of all later ones as many for each further thread.
const AHEAD: usize = 4;

/// What is done with a thing: gives results until there are no more, or nobody wants them.
pub(crate) type Work<U, T> = dyn Fn(U, &mut dyn FnMut(T) -> bool) + Send + Sync;

/// Results on their way.
#[derive(Debug)]
pub(crate) struct Ordered<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// Things that nobody works on yet.
    left: usize,
    /// The others, from the one on whose turn it is.
    begun: VecDeque<Begun<T>>,
    /// Number of the one whose turn it is.
    turn: usize,
    /// Results of those after it, and how many there may be. A thing without results, of which
    /// a search has many, keeps nobody waiting.
    later: usize,
    most_later: usize,
    /// Nobody takes any more.
    over: bool,
}

/// What there is of a thing.
#[derive(Debug)]
struct Begun<T> {
    results: VecDeque<T>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    Working,
    Done,
    Died,
}

/// One thing that is worked on. Dropped, it is done.
struct Working<T> {
    shared: Arc<Shared<T>>,
    number: usize,
}

impl<T: Send + 'static> Ordered<T> {
    /// Begins to work on `things`.
    pub(crate) fn start<U: Send + 'static>(
        things: VecDeque<U>,
        threads: usize,
        work: &Arc<Work<U, T>>,
    ) -> io::Result<Self> {
        let state = State {
            left: things.len(),
            begun: VecDeque::new(),
            turn: 0,
            later: 0,
            most_later: AHEAD * threads.saturating_sub(1).max(1),
            over: false,
        };
        let ordered = Self(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }));
        let things = Arc::new(Mutex::new(things));
        for nth in 0..threads {
            let (shared, things, work) = (
                Arc::clone(&ordered.0),
                Arc::clone(&things),
                Arc::clone(work),
            );
            let started = std::thread::Builder::new().spawn(move || {
                while let Some((thing, working)) = next(&things, &shared) {
                    work(thing, &mut |result| working.give(result));
                }
            });
            match started {
                // One does it all, only slower.
                Err(_) if nth > 0 => break,
                started => started?,
            };
        }
        Ok(ordered)
    }

    /// The next result; an error when a thread died.
    pub(crate) fn next(&mut self) -> io::Result<Option<T>> {
        let mut state = self.0.lock();
        loop {
            let State { begun, left, .. } = &mut *state;
            match begun.front_mut() {
                None if *left == 0 => return Ok(None),
                Some(Begun { results, progress }) => match (results.pop_front(), progress) {
                    (Some(result), _) => {
                        self.0.changed.notify_all();
                        return Ok(Some(result));
                    }
                    (None, Progress::Done) => {
                        state.turn();
                        self.0.changed.notify_all();
                        continue;
                    }
                    (None, Progress::Died) => {
                        return Err(io::Error::other("a thread that was reading it died"));
                    }
                    (None, Progress::Working) => {}
                },
                None => {}
            }
            state = self
                .0
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_all();
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// The thing whose turn it was is taken whole: it is the next one's.
    fn turn(&mut self) {
        self.begun.pop_front();
        self.turn += 1;
        self.later -= self.begun.front().map_or(0, |next| next.results.len());
    }

    fn of(&mut self, number: usize) -> Option<&mut Begun<T>> {
        self.begun.get_mut(number.checked_sub(self.turn)?)
    }

    /// Whether a thing may have one more result.
    fn room(&mut self, number: usize) -> bool {
        let its_turn = number == self.turn;
        let later = self.later < self.most_later;
        self.of(number)
            .is_some_and(|own| own.results.len() < AHEAD && (its_turn || later))
    }
}

impl<T> Working<T> {
    /// Adds a result when there is room for it; false when nobody wants it.
    fn give(&self, result: T) -> bool {
        let full = |state: &mut State<T>| !state.over && !state.room(self.number);
        let waiting = self.shared.changed.wait_while(self.shared.lock(), full);
        let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return false;
        }
        if self.number != state.turn {
            state.later += 1;
        }
        if let Some(own) = state.of(self.number) {
            own.results.push_back(result);
        }
        self.shared.changed.notify_all();
        true
    }
}

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        let progress = if std::thread::panicking() {
            Progress::Died
        } else {
            Progress::Done
        };
        if let Some(own) = self.shared.lock().of(self.number) {
            own.progress = progress;
        }
        self.shared.changed.notify_all();
    }
}

/// The next thing, which is worked on from now on.
fn next<U, T>(things: &Mutex<VecDeque<U>>, shared: &Arc<Shared<T>>) -> Option<(U, Working<T>)> {
    // Held until it has its number: numbers are in the order of the things.
    let mut things = things.lock().unwrap_or_else(PoisonError::into_inner);
    let mut state = shared.lock();
    if state.over {
        return None;
    }
    let thing = things.pop_front()?;
    let number = state.turn + state.begun.len();
    state.left -= 1;
    state.begun.push_back(Begun {
        results: VecDeque::new(),
        progress: Progress::Working,
    });
    Some((
        thing,
        Working {
            shared: Arc::clone(shared),
            number,
        },
    ))
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
        let expected: Vec<u64> = (0..200)
            .flat_map(|thing| (0..thing % 30).map(move |at| thing * 100 + at))
            .collect();
        for threads in [1, 2, 5] {
            assert_eq!(all(threads, 200), expected);
        }
        assert!(all(3, 0).is_empty());
    }

    #[test]
    fn things_without_results_keep_nobody_waiting() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let receiver = Mutex::new(receiver);
        let work: Arc<Work<u64, bool>> = Arc::new(move |thing, give| match thing {
            0 => drop(give(
                receiver
                    .lock()
                    .unwrap()
                    .recv_timeout(std::time::Duration::from_secs(300))
                    .is_ok(),
            )),
            50 => sender.send(()).unwrap(),
            _ => {}
        });
        let mut ordered = Ordered::start((0..60).collect(), 2, &work).unwrap();
        assert_eq!(
            ordered.next().unwrap(),
            Some(true),
            "the other thread came to it meanwhile"
        );
        assert_eq!(ordered.next().unwrap(), None);
    }

    #[test]
    fn a_bounded_number_waits() {
        for threads in [1, 2, 4] {
            let made = Arc::new(Mutex::new((0_usize, 0_usize)));
            let counts = Arc::clone(&made);
            let work: Arc<Work<u64, ()>> = Arc::new(move |thing, give| {
                for _ in 0..thing % 20 {
                    give(());
                    let (given, taken) = &mut *counts.lock().unwrap();
                    *given += 1;
                    // One more is on its way to whoever counts it as taken.
                    assert!(*given <= *taken + AHEAD * threads.max(2) + 1);
                }
            });
            let mut ordered = Ordered::start((0..200).collect(), threads, &work).unwrap();
            while ordered.next().unwrap().is_some() {
                made.lock().unwrap().1 += 1;
            }
            assert_eq!(made.lock().unwrap().1, 200 / 20 * 190);
        }
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
        let taken: Vec<_> = std::iter::from_fn(|| ordered.next().transpose())
            .take(5)
            .collect();
        std::panic::set_hook(hook);
        assert!(
            taken[..4].iter().all(Result::is_ok) && taken[4].is_err(),
            "{taken:?}"
        );
    }
}
