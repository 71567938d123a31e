//! What was attempted, what was acknowledged, and what a view must therefore show.
//!
//! A *life* is one process that adds rows, from its start to its death. It numbers
//! its rows from 0 in the order in which it adds them, so that what may be seen of
//! it at any moment is a prefix.

use std::sync::Mutex;

use crate::view::View;

/// What is promised about a life's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Every view shows what was acknowledged before the view began.
    Always,
    /// The rows are in a file that its writer truncates and writes again: views miss
    /// them meanwhile, and a writer that dies meanwhile has destroyed them itself.
    Rewritten,
}

#[derive(Debug)]
struct Life {
    who: String,
    promise: Promise,
    attempted: u64,
    acknowledged: u64,
    /// Rows that every view that begins now must show.
    floor: u64,
}

/// All lives of a round.
#[derive(Debug, Default)]
pub struct Ledger {
    lives: Mutex<Vec<Life>>,
    violations: Mutex<Vec<String>>,
}

/// More would say no more.
const MOST_VIOLATIONS: usize = 20;

impl Ledger {
    /// A new life; its number.
    pub fn begin(&self, who: &str, promise: Promise) -> usize {
        let mut lives = self.lives.lock().unwrap();
        lives.push(Life {
            who: who.to_owned(),
            promise,
            attempted: 0,
            acknowledged: 0,
            floor: 0,
        });
        lives.len() - 1
    }

    /// Says who a new life is.
    pub fn rename(&self, life: usize, who: &str, promise: Promise) {
        let life = &mut self.lives.lock().unwrap()[life];
        who.clone_into(&mut life.who);
        life.promise = promise;
    }

    /// Its next rows are about to be added; the number of the first.
    pub fn attempt(&self, life: usize, rows: u64) -> u64 {
        let mut lives = self.lives.lock().unwrap();
        lives[life].attempted += rows;
        lives[life].attempted - rows
    }

    /// All rows attempted so far are acknowledged.
    pub fn acknowledge(&self, life: usize) {
        let life = &mut self.lives.lock().unwrap()[life];
        life.acknowledged = life.attempted;
        if life.promise == Promise::Always {
            life.floor = life.acknowledged;
        }
    }

    pub fn violation(&self, what: String) {
        let mut violations = self.violations.lock().unwrap();
        if violations.len() < MOST_VIOLATIONS {
            violations.push(what);
        }
    }

    pub fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap().clone()
    }

    /// What a view that begins now must show of each life.
    pub fn floors(&self) -> Vec<u64> {
        self.lives
            .lock()
            .unwrap()
            .iter()
            .map(|life| life.floor)
            .collect()
    }

    /// The same at the end, when nobody writes any more.
    pub fn last_floors(&self) -> Vec<u64> {
        let lives = self.lives.lock().unwrap();
        let whole =
            |life: &&Life| life.promise == Promise::Always || life.attempted == life.acknowledged;
        lives
            .iter()
            .map(|life| {
                if whole(&life) {
                    life.acknowledged.max(life.floor)
                } else {
                    0
                }
            })
            .collect()
    }

    /// Checks a view that began when `floors` were what they are.
    pub fn check(&self, reader: &str, view: &View, floors: &[u64]) {
        let mut lives = self.lives.lock().unwrap();
        let mut found = Vec::new();
        for (number, floor) in floors.iter().enumerate().filter(|(_, floor)| **floor > 0) {
            let seen = view.lives.get(&number).copied().unwrap_or_default();
            if seen.prefix < *floor {
                found.push((
                    number,
                    format!("lost: {floor} rows were acknowledged or seen before, {seen:?}"),
                ));
            }
        }
        for (number, seen) in &view.lives {
            let Some(life) = lives.get_mut(*number) else {
                found.push((*number, "nobody attempted it".to_owned()));
                continue;
            };
            if seen.count > seen.distinct {
                found.push((*number, format!("doubled: {seen:?}")));
            } else if seen.distinct > seen.prefix {
                found.push((*number, format!("has a hole: {seen:?}")));
            }
            if seen.count > life.attempted {
                found.push((
                    *number,
                    format!("{} rows attempted, {seen:?}", life.attempted),
                ));
            }
            if life.promise == Promise::Always {
                life.floor = life.floor.max(seen.prefix);
            }
        }
        if view.replaced > 0 {
            found.push((
                0,
                format!("{} rows are called superseded or repeated", view.replaced),
            ));
        }
        let reported: Vec<String> = found
            .into_iter()
            .map(|(number, what)| {
                let life = lives.get(number).map(|life| format!("{life:?}"));
                format!(
                    "{reader}, life {number}: {what}; {}",
                    life.unwrap_or_default()
                )
            })
            .collect();
        drop(lives);
        for what in reported {
            self.violation(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(promise: Promise, rows: &[u64], replaced: u64) -> Vec<String> {
        let ledger = Ledger::default();
        let life = ledger.begin("writer", promise);
        ledger.attempt(life, 3);
        ledger.acknowledge(life);
        ledger.attempt(life, 2);
        let mut view = View {
            replaced,
            ..View::default()
        };
        view.add(life, rows.to_vec());
        ledger.check("reader", &view, &ledger.floors());
        ledger.violations()
    }

    #[test]
    fn the_oracle_knows_right_from_wrong() {
        for rows in [&[0, 1, 2][..], &[2, 1, 0, 3], &[4, 3, 2, 1, 0]] {
            assert_eq!(
                violations(Promise::Always, rows, 0),
                [] as [&str; 0],
                "{rows:?}"
            );
        }
        assert_eq!(violations(Promise::Rewritten, &[], 0), [] as [&str; 0]);
        for (rows, replaced, said) in [
            (&[0, 1][..], 0, "lost"),
            (&[], 0, "lost"),
            (&[0, 1, 2, 2], 0, "doubled"),
            (&[0, 1, 2, 4], 0, "hole"),
            (&[0, 1, 2, 3, 4, 5], 0, "attempted"),
            (&[0, 1, 2], 1, "repeated"),
        ] {
            let found = violations(Promise::Always, rows, replaced);
            assert!(
                found.len() == 1 && found[0].contains(said),
                "{rows:?}: {found:?}"
            );
        }
    }

    #[test]
    fn what_was_seen_once_must_stay() {
        let ledger = Ledger::default();
        let life = ledger.begin("writer", Promise::Always);
        ledger.attempt(life, 2);
        let mut view = View::default();
        view.add(life, vec![0, 1]);
        ledger.check("reader", &view, &ledger.floors());
        ledger.check("reader", &View::default(), &ledger.floors());
        assert!(ledger.violations()[0].contains("lost"));
    }
}
