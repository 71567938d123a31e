//! Made-up test results that look like those of a real run: models of different
//! strength, tasks that repeat across models, execution times from seconds to
//! minutes, timeouts, outages. The same seed and writer give the same results.

use std::time::Duration;

use jiff::Timestamp;

use self::cast::{
    DIFFICULTIES, ERRORS, FLAWED, MODELS, Model, OUTAGES, PROMPTS, Prompt, TASKS, TOOL_RATES, Task,
};
use self::random::Random;
use crate::store::Record;

mod cast;
mod random;

/// Tests are ended after this many seconds.
const TIME_LIMIT: f64 = 300.0;
/// Conversations are ended after this many turns.
const MAX_TURNS: f64 = 30.0;
/// Tasks of one kind and difficulty.
const TASK_POOL: u64 = 20;
/// Share of tests that an outage ends.
const OUTAGE: f64 = 0.006;

/// The results of one simulated writer.
#[derive(Debug, Clone)]
pub struct Simulation {
    random: Random,
    seed: u64,
    session: String,
    /// A model whose provider answers HTTP 429.
    limited: Option<String>,
    /// A test that an outage ended, to be tried again under its own id.
    retry: Option<Test>,
}

/// One test before it is run.
#[derive(Debug, Clone)]
struct Test {
    id: String,
    task_id: String,
    model: &'static Model,
    task: &'static Task,
    prompt: &'static Prompt,
    difficulty: (&'static str, f64, f64),
    tool_rate: (f64, f64),
}

impl Simulation {
    /// The simulated writer number `writer_index` of the run `seed`.
    pub fn new(seed: u64, writer_index: u64) -> Self {
        Self {
            random: Random::new(seed, writer_index + 1),
            seed,
            session: format!("demo-{seed}"),
            limited: None,
            retry: None,
        }
    }

    /// The simulated models' names, strongest first.
    pub fn models() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|model| model.name)
    }

    /// The session of its results.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// From now on this model's provider answers HTTP 429 to every test.
    pub fn limit(&mut self, model: &str) {
        self.limited = Some(model.to_owned());
    }

    /// No provider turns anybody away any more.
    pub fn lift(&mut self) {
        self.limited = None;
    }

    /// The next result, which ends at `at`, and the time that its test took.
    pub fn next(&mut self, at: Timestamp) -> (Record, Duration) {
        let test = self.retry.take().or_else(|| self.draw(None));
        let Some(test) = test else {
            return (Record::default(), Duration::from_secs(1));
        };
        if self.limited.as_deref() == Some(test.model.name) {
            return self.outage(&test, OUTAGES.first().copied().unwrap_or_default(), at);
        }
        if self.random.chance(OUTAGE) {
            let message = self
                .random
                .weighted(&OUTAGES, |_| 1.0)
                .copied()
                .unwrap_or_default();
            let outcome = self.outage(&test, message, at);
            self.retry = self.random.chance(0.3).then_some(test);
            return outcome;
        }
        self.play(&test, at)
    }

    /// A test of one model that its provider turned away with HTTP 429.
    pub fn rate_limited(&mut self, model: &str, at: Timestamp) -> Record {
        let message = OUTAGES.first().copied().unwrap_or_default();
        self.draw(Some(model))
            .map(|test| self.outage(&test, message, at).0)
            .unwrap_or_default()
    }

    fn draw(&mut self, model: Option<&str>) -> Option<Test> {
        let random = &mut self.random;
        let model = match model {
            Some(name) => MODELS.iter().find(|model| model.name == name)?,
            None => random.weighted(&MODELS, |_| 1.0)?,
        };
        let task = random.weighted(&TASKS, |_| 1.0)?;
        let difficulty = *random.weighted(&DIFFICULTIES, |_| 1.0)?;
        let number = random.bits() % TASK_POOL + 1;
        Some(Test {
            id: format!("{:016x}", random.bits()),
            task_id: format!("{}_{}_{number:03}", task.name, difficulty.0),
            model,
            task,
            prompt: random.weighted(&PROMPTS, |prompt| prompt.weight)?,
            difficulty,
            tool_rate: *random.weighted(&TOOL_RATES, |_| 1.0)?,
        })
    }

    /// Runs a test that nothing disturbs.
    fn play(&mut self, test: &Test, at: Timestamp) -> (Record, Duration) {
        let random = &mut self.random;
        let seconds = test.task.seconds
            * test.model.pace
            * test.difficulty.2
            * (0.55 * random.normal()).exp();
        let odds = test.model.strength
            + test.task.effect
            + test.prompt.effect
            + test.difficulty.1
            + test.tool_rate.1
            + task_effect(self.seed, &test.task_id);
        let full_chance = 1.0 / (1.0 + (-odds).exp());
        let timeout = seconds >= TIME_LIMIT;
        let full = !timeout && random.chance(full_chance);
        let partial = !timeout && !full && random.chance(0.15 + 0.3 * full_chance);

        let struggle = if full { 1.0 } else { 1.25 };
        let turns =
            (test.task.turns * test.difficulty.2 * struggle * (0.25 * random.normal()).exp())
                .round();
        let turns = turns.clamp(1.0, MAX_TURNS);
        let calls = (turns * random.between(0.6, 0.95) / test.tool_rate.0.sqrt()).round();
        let (coverage, score) = match (full, partial) {
            (true, _) => (
                random.between(0.9, 1.15).min(1.0),
                random.between(0.82, 1.0),
            ),
            (_, true) => (random.between(0.6, 1.0), random.between(0.5, 0.8)),
            _ => (random.between(0.0, 0.8), random.between(0.0, 0.5)),
        };
        let mut jitter = |score: f64| Some(round((score + 0.05 * random.normal()).clamp(0.0, 1.0)));
        let (workflow, phase2, quality) = (jitter(score), jitter(score), jitter(score));
        let failure = (!full && !partial).then(|| {
            if timeout {
                timed_out()
            } else {
                self.failure(test)
            }
        });
        let turns = if failure
            .as_ref()
            .is_some_and(|(kind, _)| kind == "max_turns")
        {
            MAX_TURNS
        } else {
            turns
        };

        let seconds = seconds.min(TIME_LIMIT + 0.2);
        let (error_type, error_message) = failure.unzip();
        let record = Record {
            success: Some(full),
            partial_success: Some(partial),
            execution_time: Some(round(seconds)),
            turns: Some(turns as i64),
            tool_calls: Some(calls as i64),
            tool_coverage_rate: Some(round(coverage)),
            workflow_score: workflow,
            phase2_score: phase2,
            quality_score: quality,
            final_score: Some(round(score)),
            error_type,
            error_message,
            ..self.record(test, at)
        };
        (record, Duration::from_secs_f64(seconds))
    }

    /// What a test that was played to its end failed of.
    fn failure(&mut self, test: &Test) -> (String, String) {
        let provoked = test.prompt.provokes;
        let weight = |kind: &str, weight: f64| {
            if provoked == Some(kind) {
                weight * 4.0
            } else {
                weight
            }
        };
        let error = self
            .random
            .weighted(&ERRORS, |(kind, w, _)| weight(kind, *w));
        let Some((kind, _, messages)) = error else {
            return timed_out();
        };
        let message = self
            .random
            .weighted(messages, |_| 1.0)
            .copied()
            .unwrap_or_default();
        ((*kind).to_owned(), message.to_owned())
    }

    /// A test that ended before the model could show anything.
    fn outage(&mut self, test: &Test, message: &str, at: Timestamp) -> (Record, Duration) {
        let seconds = self.random.between(0.8, 4.0);
        let record = Record {
            success: Some(false),
            partial_success: Some(false),
            execution_time: Some(round(seconds)),
            turns: Some(0),
            tool_calls: Some(0),
            error_type: Some("infrastructure".to_owned()),
            error_message: Some(message.to_owned()),
            ..self.record(test, at)
        };
        (record, Duration::from_secs_f64(seconds))
    }

    fn record(&self, test: &Test, at: Timestamp) -> Record {
        let flaw = test.prompt.name.strip_prefix(FLAWED);
        Record {
            test_id: Some(test.id.clone()),
            model: test.model.name.to_owned(),
            task_type: Some(test.task.name.to_owned()),
            prompt_type: Some(test.prompt.name.to_owned()),
            difficulty: Some(test.difficulty.0.to_owned()),
            tool_success_rate: Some(test.tool_rate.0),
            is_flawed: Some(flaw.is_some()),
            flaw_type: flaw.map(str::to_owned),
            task_id: Some(test.task_id.clone()),
            session_id: Some(self.session.clone()),
            timestamp: Some(at.as_microsecond()),
            ..Record::default()
        }
    }
}

fn timed_out() -> (String, String) {
    (
        "timeout".to_owned(),
        format!("no answer within {TIME_LIMIT} s"),
    )
}

/// Some tasks are harder than others, for every model and writer alike.
fn task_effect(seed: u64, task_id: &str) -> f64 {
    Random::new(seed, xxhash_rust::xxh3::xxh3_64(task_id.as_bytes())).normal() * 0.6
}

fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn results(seed: u64, n: usize) -> Vec<(Record, Duration)> {
        let mut simulation = Simulation::new(seed, 0);
        (0..n)
            .map(|_| simulation.next(Timestamp::UNIX_EPOCH))
            .collect()
    }

    #[test]
    fn the_same_seed_and_writer_give_the_same_results() {
        assert_eq!(results(7, 200), results(7, 200));
        assert_ne!(results(7, 200), results(8, 200));
        let mut other = Simulation::new(7, 1);
        assert_ne!(other.next(Timestamp::UNIX_EPOCH), results(7, 1)[0]);
    }

    #[test]
    fn models_come_in_the_order_of_their_strength() {
        let mut tally: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for (record, _) in results(7, 60_000) {
            let (full, tests) = tally.entry(record.model).or_default();
            *full += u32::from(record.success == Some(true));
            *tests += 1;
        }
        let rates: Vec<_> = Simulation::models()
            .map(|m| f64::from(tally[m].0) / f64::from(tally[m].1))
            .collect();
        assert!(rates.is_sorted_by(|a, b| a > b), "{rates:?}");
        assert!(rates[0] > 0.7 && rates[11] < 0.3, "{rates:?}");
        let counts = tally.values().map(|(_, n)| n);
        assert!(
            counts.clone().all(|n| (4_500..5_500).contains(n)),
            "{tally:?}"
        );
        let (full, all) = tally
            .values()
            .fold((0, 0), |sum, t| (sum.0 + t.0, sum.1 + t.1));
        assert!(
            (0.45..0.6).contains(&(f64::from(full) / f64::from(all))),
            "{full} of {all}"
        );
    }

    #[test]
    fn records_are_plausible_one_by_one() {
        let results = results(3, 20_000);
        let mut tasks: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (record, took) in &results {
            let partial = record.partial_success == Some(true);
            assert!(!(record.success == Some(true) && partial), "{record:?}");
            assert_eq!(
                record.error_type.is_some(),
                record.success == Some(false) && !partial,
                "{record:?}"
            );
            assert_eq!(record.is_flawed, Some(record.flaw_type.is_some()));
            assert!(
                (0.1..=300.2).contains(&record.execution_time.unwrap()),
                "{record:?}"
            );
            assert!((took.as_secs_f64() - record.execution_time.unwrap()).abs() < 1e-3);
            let shares = [
                record.tool_coverage_rate,
                record.workflow_score,
                record.final_score,
            ];
            assert!(
                shares
                    .into_iter()
                    .flatten()
                    .all(|s| (0.0..=1.0).contains(&s)),
                "{record:?}"
            );
            assert!((0..=30).contains(&record.turns.unwrap()));
            let models = tasks.entry(record.task_id.clone().unwrap()).or_default();
            models.insert(record.model.clone());
        }
        assert_eq!(tasks.len(), 5 * 3 * 20);
        assert!(
            tasks.values().all(|models| models.len() >= 10),
            "tasks repeat across models"
        );

        let share = |is: &dyn Fn(&Record) -> bool| {
            results.iter().filter(|(r, _)| is(r)).count() as f64 / results.len() as f64
        };
        let error = |kind: &'static str| share(&|r: &Record| r.error_type.as_deref() == Some(kind));
        assert!((0.08..0.2).contains(&share(&|r| r.partial_success == Some(true))));
        assert!(
            (0.001..0.05).contains(&error("timeout")),
            "{}",
            error("timeout")
        );
        assert!((0.002..0.012).contains(&error("infrastructure")));
        assert!(
            (0.38..0.5).contains(&share(&|r| r.is_flawed == Some(true))),
            "seven of sixteen"
        );
        let ids: BTreeSet<_> = results.iter().map(|(r, _)| &r.test_id).collect();
        let retried = results.len() - ids.len();
        assert!(
            (1..results.len() / 200).contains(&retried),
            "{retried} tests were tried again"
        );
    }

    #[test]
    fn a_limited_model_fails_and_no_other() {
        let mut simulation = Simulation::new(7, 0);
        simulation.limit("quartz-xl");
        for _ in 0..2_000 {
            let (record, _) = simulation.next(Timestamp::UNIX_EPOCH);
            let limited = record.model == "quartz-xl";
            assert!(!limited || record.error_message.unwrap().contains("HTTP 429"));
        }
        let record = simulation.rate_limited("quartz-xl", Timestamp::UNIX_EPOCH);
        assert_eq!(
            (record.model.as_str(), record.success),
            ("quartz-xl", Some(false))
        );
        assert_eq!(record.error_type.as_deref(), Some("infrastructure"));
    }
}
