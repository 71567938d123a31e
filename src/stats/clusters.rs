//! How much fewer tests there are than it seems where tasks repeat: trials of one task
//! tend to end alike, so that a hundred trials of ten tasks say less than a hundred tasks.
//!
//! With s̄ = full/n, the clustered standard error is
//! `SE_c = √(C/(C−1) · Σ_c (Σ_{i∈c} (s_i − s̄))²) / n` over C tasks, the plain one
//! `SE = √(s̄(1−s̄)/n)`, and the effective number of tests n / max(1, (SE_c/SE)²)
//! (Miller 2024, arXiv 2411.00640).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::collections::Hashed;
use super::paired::Trials;

/// Tasks over all models; beyond it none are kept, and intervals are the plain ones.
const LIMIT: usize = 100_000;

/// Trials by model and task, in bounded memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Packed", from = "Packed")]
pub struct Clusters {
    models: BTreeMap<Arc<str>, Arc<Hashed<u64, Trials>>>,
    tasks: usize,
    overflown: bool,
}

/// The same with each task named once.
#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    tasks: Vec<u64>,
    models: Vec<PackedModel>,
    overflown: bool,
}

/// A model's tasks as distances in that list, with their trials and full successes.
#[derive(Debug, Serialize, Deserialize)]
struct PackedModel {
    model: Arc<str>,
    steps: Vec<usize>,
    n: Vec<u64>,
    full: Vec<u64>,
}

impl From<Clusters> for Packed {
    fn from(clusters: Clusters) -> Self {
        let all: BTreeSet<u64> = clusters
            .models
            .values()
            .flat_map(|tasks| tasks.keys().copied())
            .collect();
        let tasks: Vec<u64> = all.into_iter().collect();
        let pack = |(model, trials): (Arc<str>, Arc<Hashed<u64, Trials>>)| {
            let mut sorted: Vec<_> = trials
                .iter()
                .map(|(task, trials)| (*task, *trials))
                .collect();
            sorted.sort_unstable_by_key(|(task, _)| *task);
            let mut last = 0;
            let step = |(task, trials): (u64, Trials)| {
                let at = tasks.partition_point(|other| *other < task);
                (at - std::mem::replace(&mut last, at), trials.n, trials.full)
            };
            let (steps, n, full) = sorted.into_iter().map(step).collect();
            PackedModel {
                model,
                steps,
                n,
                full,
            }
        };
        let models = clusters.models.into_iter().map(pack).collect();
        Self {
            tasks,
            models,
            overflown: clusters.overflown,
        }
    }
}

impl From<Packed> for Clusters {
    fn from(packed: Packed) -> Self {
        let mut clusters = Self {
            overflown: packed.overflown,
            ..Self::default()
        };
        for PackedModel {
            model,
            steps,
            n,
            full,
        } in packed.models
        {
            let at = steps.into_iter().scan(0_usize, |at, step| {
                *at = at.saturating_add(step);
                Some(*at)
            });
            let trials = n.into_iter().zip(full).map(|(n, full)| Trials { n, full });
            let tasks = at
                .zip(trials)
                .filter_map(|(at, trials)| Some((*packed.tasks.get(at)?, trials)));
            let tasks: Hashed<u64, Trials> = tasks.collect();
            clusters.tasks += tasks.len();
            clusters.models.insert(model, Arc::new(tasks));
        }
        clusters
    }
}

impl Clusters {
    /// Takes in trials of a task, which a hash stands for.
    pub fn add(&mut self, model: &Arc<str>, task: u64, trials: Trials) {
        self.add_all(model, [(task, trials)]);
    }

    /// Takes in trials of many tasks of one model.
    pub fn add_all(&mut self, model: &Arc<str>, trials: impl IntoIterator<Item = (u64, Trials)>) {
        let mut trials = trials.into_iter().peekable();
        if self.overflown || trials.peek().is_none() {
            return;
        }
        let tasks = match self.models.get_mut(model) {
            Some(tasks) => tasks,
            None => self.models.entry(model.clone()).or_default(),
        };
        let tasks = Arc::make_mut(tasks);
        let before = tasks.len();
        for (task, trials) in trials {
            let sum = tasks.entry(task).or_default();
            sum.n += trials.n;
            sum.full += trials.full;
        }
        self.tasks += tasks.len() - before;
        if self.tasks > LIMIT {
            *self = Self {
                overflown: true,
                ..Self::default()
            };
        }
    }

    /// Takes out trials that were added before.
    pub fn subtract(&mut self, model: &str, task: u64, trials: Trials) {
        let Some(tasks) = self.models.get_mut(model).map(Arc::make_mut) else {
            return;
        };
        let Some(sum) = tasks.get_mut(&task) else {
            return;
        };
        sum.n = sum.n.saturating_sub(trials.n);
        sum.full = sum.full.saturating_sub(trials.full);
        if sum.n == 0 {
            tasks.remove(&task);
            self.tasks -= 1;
        }
    }

    /// The tasks of each model with their trials.
    pub fn models(&self) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = (u64, Trials)>)> {
        let trials = |(task, trials): (&u64, &Trials)| (*task, *trials);
        self.models
            .iter()
            .map(move |(model, tasks)| (model, tasks.iter().map(trials)))
    }

    /// Whether there were too many tasks to keep any.
    pub fn is_overflown(&self) -> bool {
        self.overflown
    }

    /// Adds others.
    pub fn merge(&mut self, other: &Self) {
        for (model, tasks) in &other.models {
            self.add_all(model, tasks.iter().map(|(task, trials)| (*task, *trials)));
        }
        if other.overflown {
            *self = Self {
                overflown: true,
                ..Self::default()
            };
        }
    }

    /// The effective number of a model's tests, of which there are `n`, `full` of them
    /// with full success; those without a task are a task each. `None` where no task
    /// repeats. Where all tests end alike it is the number of tasks, since nothing
    /// shows how far the trials of one depend on each other.
    pub fn effective(&self, model: &str, full: u64, n: u64) -> Option<f64> {
        let tasks = self.models.get(model)?;
        if tasks.values().all(|trials| trials.n < 2) {
            return None;
        }
        let known = tasks
            .values()
            .fold(Trials::default(), |sum, trials| Trials {
                n: sum.n + trials.n,
                full: sum.full + trials.full,
            });
        let (n, full) = (n.max(known.n), full.max(known.full));
        let (passed, failed) = (
            full - known.full,
            (n - known.n).saturating_sub(full - known.full),
        );
        let size = n as f64;
        let mean = full as f64 / size;
        let count = (tasks.len() as u64 + passed + failed) as f64;
        let plain = mean * (1.0 - mean) / size;
        if plain <= 0.0 || count < 2.0 {
            return Some(count);
        }
        let clustered: f64 = tasks
            .values()
            .map(|trials| (trials.full as f64 - trials.n as f64 * mean).powi(2))
            .sum();
        let single = passed as f64 * (1.0 - mean).powi(2) + failed as f64 * mean * mean;
        let squared = count / (count - 1.0) * (clustered + single) / (size * size);
        Some(size / (squared / plain).max(1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn trials(n: u64, full: u64) -> Trials {
        Trials { n, full }
    }

    #[test]
    fn agrees_with_real_trials_of_fifty_tasks() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/data/tau_bench_gpt4o_airline.jsonl");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            return;
        };
        let mut clusters = Clusters::default();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let full = u64::from(row["reward"].as_f64().unwrap() >= 1.0);
            clusters.add(
                &"gpt-4o".into(),
                row["task_id"].as_u64().unwrap(),
                trials(1, full),
            );
        }
        let effective = clusters.effective("gpt-4o", 84, 200).unwrap();
        // Naive 0.034900, clustered 0.052216.
        assert!(
            (effective - 200.0 * (0.034_9_f64 / 0.052_216).powi(2)).abs() < 0.01,
            "{effective}"
        );
    }

    #[test]
    fn tasks_that_do_not_repeat_leave_n_as_it_is() {
        let mut clusters = Clusters::default();
        for task in 0..10 {
            clusters.add(&"m".into(), task, trials(1, task % 2));
        }
        assert_eq!(clusters.effective("m", 5, 10), None);
        assert_eq!(clusters.effective("other", 5, 10), None);
        clusters.add(&"m".into(), 3, trials(1, 1));
        assert!(clusters.effective("m", 6, 11).unwrap() <= 11.0);
    }

    #[test]
    fn trials_that_always_agree_count_once_a_task() {
        let mut clusters = Clusters::default();
        for task in 0..40 {
            clusters.add(&"m".into(), task, trials(5, if task < 20 { 5 } else { 0 }));
        }
        let effective = clusters.effective("m", 100, 200).unwrap();
        assert!((effective - 39.0).abs() < 0.1, "{effective}");
        clusters.add(&"sure".into(), 0, trials(30, 30));
        assert_eq!(clusters.effective("sure", 30, 30), Some(1.0));
    }

    #[test]
    fn too_many_tasks_are_given_up_and_stay_so() {
        let mut clusters = Clusters::default();
        for task in 0..=LIMIT as u64 {
            clusters.add(&"m".into(), task / 2, trials(1, 1));
        }
        assert!(clusters.effective("m", 1, LIMIT as u64 + 1).is_some());
        let mut other = Clusters::default();
        for task in 0..=LIMIT as u64 {
            other.add(&"m".into(), task, trials(2, 1));
        }
        clusters.merge(&other);
        clusters.add(&"m".into(), 1, trials(2, 1));
        assert_eq!(
            clusters,
            Clusters {
                overflown: true,
                ..Clusters::default()
            }
        );
    }

    proptest! {
        #[test]
        fn taking_out_undoes_taking_in(tasks in prop::collection::vec((0_u64..9, 1_u64..4, 0_u64..4), 1..30), cut: prop::sample::Index) {
            let of = |tasks: &[(u64, u64, u64)]| {
                let mut clusters = Clusters::default();
                for (task, n, full) in tasks {
                    clusters.add(&"m".into(), *task, trials(*n, *full.min(n)));
                }
                clusters
            };
            let (one, rest) = tasks.split_at(cut.index(tasks.len()).max(1));
            let mut both = of(one);
            both.merge(&of(rest));
            prop_assert_eq!(&both, &of(&tasks));
            let text = serde_json::to_string(&both).unwrap();
            prop_assert_eq!(serde_json::from_str::<Clusters>(&text).unwrap(), both.clone());
            for (task, n, full) in rest {
                both.subtract("m", *task, trials(*n, *full.min(n)));
            }
            prop_assert_eq!(&both, &of(one));
        }
    }
}
