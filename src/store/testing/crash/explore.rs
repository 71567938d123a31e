//! Stops a scenario at every step that it takes, and checks every state that the
//! machine could wake up with.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::mutant::Mutant;
use super::oracle::{self, Expected};
use super::{Case, Ledger, Scenario, World, now};
use crate::store::disk::sim::{SimDisk, Survival};
use crate::store::format::layout::MAIN;

/// What is wrong with the code that runs, on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Change {
    /// Nothing.
    #[default]
    None,
    /// The fsyncs of this name are left out.
    Unsynced(&'static str),
    /// Steps are swapped or left out.
    Mutant(Mutant),
}

impl Change {
    fn world(self, disk: SimDisk, ledger: Ledger) -> World {
        let mutant = match self {
            Self::None => None,
            Self::Unsynced(sync) => {
                disk.skip(sync);
                None
            }
            Self::Mutant(mutant) => Some(mutant),
        };
        World::new(disk, mutant, ledger)
    }
}

/// A case with its set-up done, on a disk where all of that is durable.
#[derive(Debug)]
pub(crate) struct Prepared {
    case: Case,
    change: Change,
    effort: Effort,
    start: SimDisk,
    /// Main at the start.
    main: Option<u64>,
    ledger: Ledger,
    steps: u64,
}

/// How many states are looked at where power is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Pending operations up to which every subset is tried.
    subsets: usize,
    /// Where more is pending: so many of them, whichever they are, survive and are lost in
    /// every combination (2 or 3).
    strength: u32,
    /// And so many states at random.
    seeds: u64,
}

fn seeds() -> Option<u64> {
    std::env::var("EVALTOP_CRASH_STATES")
        .ok()
        .and_then(|n| n.parse().ok())
}

/// Whether this is a long run.
pub(crate) fn is_long() -> bool {
    seeds().is_some()
}

/// Everything that time allows.
pub(crate) fn thorough() -> Effort {
    let seeds = seeds();
    Effort {
        subsets: 8,
        strength: 3,
        seeds: seeds.unwrap_or(0),
    }
}

/// Enough to notice a fault.
pub(crate) const BRIEF: Effort = Effort {
    subsets: 4,
    strength: 2,
    seeds: 0,
};

/// For each of many pairs of deaths.
const TWICE: Effort = Effort {
    subsets: 2,
    strength: 2,
    seeds: 0,
};

fn main_of(disk: &SimDisk) -> Option<u64> {
    let files = disk.files();
    let main = files
        .iter()
        .find(|(path, _)| path.ends_with(MAIN) && path.parent() == Some(Path::new("/store")));
    main.map(|(_, bytes)| oracle::hash(bytes))
}

/// A small generator of which pending operations survive: the same for the same seed.
fn survivals(mut seed: u64) -> impl FnMut() -> Survival {
    move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        match (seed >> 33) % 6 {
            0 | 1 => Survival::Kept,
            2 | 3 => Survival::Lost,
            4 => Survival::Torn,
            _ => Survival::Hollow,
        }
    }
}

/// Rows of so many choices each, in which any `strength` of them are made in every combination:
/// the codewords of the Reed-Muller code of first order, and for 3 their complements too.
fn covering(choices: usize, strength: u32) -> impl Iterator<Item = Vec<bool>> {
    // Position 0 is the same in all rows without complements.
    let first = usize::from(strength < 3);
    let width = (choices + first).next_power_of_two().max(2);
    let complements = 0..=usize::from(strength >= 3);
    let rows = (0..width).flat_map(move |row| complements.clone().map(move |all| (row, all)));
    rows.map(move |(row, all)| {
        let parity = |at: usize| ((row & at).count_ones() as usize + all) % 2 == 1;
        (first..first + choices).map(parity).collect()
    })
}

/// What may become of the operations that are pending when power is lost: all subsets of them
/// where they are few, else those of a covering; each one alone lost, torn or hollow among those
/// that survive, and torn or hollow among those that don't.
fn fates(writes: &[bool], effort: Effort) -> BTreeSet<Vec<Survival>> {
    let kept = |kept: bool| if kept { Survival::Kept } else { Survival::Lost };
    let pending = writes.len();
    let mut fates: BTreeSet<Vec<Survival>> = if pending <= effort.subsets {
        let bit = |subset: u32| {
            (0..pending)
                .map(move |at| kept(subset >> at & 1 == 1))
                .collect()
        };
        (0..1_u32 << pending).map(bit).collect()
    } else {
        let covering = covering(pending, effort.strength);
        covering
            .map(|row| row.into_iter().map(kept).collect())
            .collect()
    };
    if pending > effort.subsets {
        fates.extend((0..effort.seeds).map(|seed| {
            let mut next = survivals(seed);
            writes.iter().map(|_| next()).collect()
        }));
    }
    for (at, is_write) in writes.iter().enumerate() {
        let mut all_but = |special, others| {
            let mut fate = vec![others; pending];
            fate[at] = special;
            fates.insert(fate);
        };
        all_but(Survival::Lost, Survival::Kept);
        if *is_write {
            for others in [Survival::Kept, Survival::Lost] {
                all_but(Survival::Torn, others);
                all_but(Survival::Hollow, others);
            }
        }
    }
    fates
}

/// The states in which the machine could wake up after it lost power.
fn after_power_loss(disk: &SimDisk, effort: Effort) -> impl Iterator<Item = SimDisk> + '_ {
    fates(&disk.pending(), effort).into_iter().map(|fate| {
        let mut fate = fate.into_iter();
        disk.after_power_loss(|| fate.next().unwrap_or(Survival::Kept))
    })
}

impl Prepared {
    pub(crate) fn new(case: Case, change: Change, effort: Effort) -> Result<Self, String> {
        let disk = SimDisk::new(now().as_nanosecond() - 3_600_000_000_000);
        let mut world = World::new(disk, None, Ledger::default());
        (case.setup)(&mut world).map_err(|error| format!("the set-up fails: {error}"))?;
        let World {
            disk, mut ledger, ..
        } = world;
        ledger.all_durable();
        let start = disk.after_kill().after_power_loss(|| Survival::Kept);
        let mut prepared = Self {
            case,
            change,
            effort,
            main: main_of(&start),
            start,
            ledger,
            steps: 0,
        };
        let mut world = prepared.world(prepared.start.after_kill());
        (case.run)(&mut world).map_err(|error| format!("the scenario fails: {error}"))?;
        prepared.steps = world.disk.steps();
        prepared.check_all(&world.disk, &world.ledger, effort, "at its end")?;
        Ok(prepared)
    }

    fn world(&self, disk: SimDisk) -> World {
        self.change.world(disk, self.ledger.clone())
    }

    fn expected<'a>(&self, ledger: &'a Ledger, power: bool) -> Expected<'a> {
        let must = if power {
            &ledger.durable
        } else {
            &ledger.acknowledged
        };
        Expected {
            must,
            may: &ledger.attempted,
            kept: &ledger.kept,
            made: &ledger.made,
            damaged: self.case.damaged,
            remedy: self.case.remedy,
        }
    }

    /// The fsyncs that a whole scenario asks for.
    pub(crate) fn syncs(case: Case) -> BTreeSet<String> {
        let disk = SimDisk::new(now().as_nanosecond() - 3_600_000_000_000);
        let mut world = World::new(disk, None, Ledger::default());
        (case.setup)(&mut world).unwrap();
        (case.run)(&mut world).unwrap();
        world.disk.syncs()
    }

    /// Checks what the death of the process and what a loss of power leave.
    fn check_all(
        &self,
        disk: &SimDisk,
        ledger: &Ledger,
        effort: Effort,
        when: &str,
    ) -> Result<(), String> {
        let killed = std::iter::once((false, disk.after_kill()));
        let lost = after_power_loss(disk, effort).map(|state| (true, state));
        for (power, state) in killed.chain(lost) {
            let expected = self.expected(ledger, power);
            let other = self.is_under_way(&state).then(|| state.after_kill());
            let other = || other.map_or(Ok(()), |other| expected.check_after_other_code(&other));
            expected
                .check(&state)
                .and_then(|()| other())
                .map_err(|why| {
                    let how = if power { "power lost" } else { "killed" };
                    format!("{}: {why} ({how} {when})", self.case.name)
                })?;
        }
        Ok(())
    }

    /// Whether a commit happened: it matters then who speaks for main.
    fn is_under_way(&self, disk: &SimDisk) -> bool {
        self.case.says_when_done && main_of(disk) != self.main
    }

    /// Lets the process die at each of its steps.
    pub(crate) fn explore(&self) -> Result<(), String> {
        let disk = self.start.after_kill();
        disk.record();
        let mut world = self.world(disk);
        (self.case.run)(&mut world).map_err(|error| format!("the scenario fails: {error}"))?;
        for (step, (moment, what)) in (0..).zip(world.disk.moments().iter().zip(world.disk.log())) {
            let when = format!("at step {step}: {what}");
            self.check_all(moment, world.promised(step), self.effort, &when)?;
        }
        Ok(())
    }

    /// Lets the process die at every `stride`-th step, lets `then` follow on what it
    /// leaves, and that one die at each of its steps too.
    pub(crate) fn explore_twice(&self, then: Scenario, stride: usize) -> Result<(), String> {
        let disk = self.start.after_kill();
        disk.record();
        let mut first = self.world(disk);
        (self.case.run)(&mut first).map_err(|error| format!("the scenario fails: {error}"))?;
        for (step, moment) in (0..).zip(first.disk.moments()).step_by(stride) {
            let disk = moment.after_kill();
            disk.record();
            let mut world = self.change.world(disk, first.promised(step).clone());
            then(&mut world).map_err(|error| format!("what follows step {step} fails: {error}"))?;
            for (second, (moment, what)) in
                (0..).zip(world.disk.moments().iter().zip(world.disk.log()))
            {
                let when =
                    format!("at step {step}, and again at step {second} of what followed: {what}");
                self.check_all(moment, world.promised(second), TWICE, &when)?;
            }
            let when = format!("at step {step}, and again at the end of what followed");
            self.check_all(&world.disk, &world.ledger, TWICE, &when)?;
        }
        Ok(())
    }

    /// Lets the disk fail at every step, in turn because it is full and for another
    /// reason: the scenario may fail with a clear error, nothing is lost, and the next
    /// consolidation succeeds.
    pub(crate) fn fail(&self, first: u64) -> Result<(), String> {
        for step in 0..self.steps {
            let full = (step + first).is_multiple_of(2);
            let kind = if full {
                ErrorKind::StorageFull
            } else {
                ErrorKind::Other
            };
            let disk = self.start.after_kill();
            disk.fault(step, kind);
            let mut world = self.world(disk);
            let ended = (self.case.run)(&mut world);
            let context = format!("{}: {kind} at step {step}", self.case.name);
            if let Err(error) = &ended {
                let text = error.to_string();
                let clear = text.contains(" /")
                    && (kind != ErrorKind::StorageFull || text.contains("free some space"));
                if !clear {
                    return Err(format!("{context}: '{text}' says too little"));
                }
            }
            let expected = self.expected(&world.ledger, false);
            expected.check(&world.disk.after_kill()).map_err(|why| {
                format!(
                    "{context} ({ended:?}): {why}\n{}",
                    world.disk.log().join("\n")
                )
            })?;
        }
        Ok(())
    }
}

/// What is left in the end when several programs have taken turns.
pub(crate) fn check_end(disk: &SimDisk, ledger: &Ledger) -> Result<(), String> {
    let mut ledger = ledger.clone();
    let late = std::mem::take(&mut ledger.late);
    ledger.acknowledge(&late);
    let expected = Expected::among(&ledger.acknowledged, &ledger.attempted);
    expected
        .check(&disk.after_kill())
        .map_err(|why| format!("in the end: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covering_has_every_combination_of_any_few_choices() {
        for (choices, strength) in [(2, 2), (7, 2), (12, 2), (5, 3), (8, 3), (17, 3)] {
            let rows: Vec<Vec<bool>> = covering(choices, strength).collect();
            for some in 0..1_usize << choices {
                if some.count_ones() == strength {
                    let of = |row: &Vec<bool>| -> Vec<bool> {
                        (0..choices)
                            .filter(|at| some >> at & 1 == 1)
                            .map(|at| row[at])
                            .collect()
                    };
                    let found: BTreeSet<Vec<bool>> = rows.iter().map(of).collect();
                    assert_eq!(found.len(), 1 << strength, "{choices} {strength} {some:b}");
                }
            }
        }
    }
}
