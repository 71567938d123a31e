use std::sync::Mutex;

use super::missing::Again;
use super::plan::{Dimensions, product};
use super::*;
use crate::store::read::query::{Filter, grouped};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("store"));
    (folder, store)
}

fn spec(script: &str) -> Spec {
    Spec {
        command: ["sh", "-c", script].map(OsString::from).into(),
        workers: 4,
        timeout: None,
        retries: 0,
        backoff: Duration::from_millis(1),
        limits: Limits::default(),
        infrastructure_exits: vec![75],
        stop_on_burst: false,
        again: Again::Nothing,
        shard: None,
        guard: None,
        adopts: false,
        session: None,
        writer: WriterOptions::default(),
        others: Vec::new(),
    }
}

fn rows(models: &[&str], instances: u64) -> Vec<Row> {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    product(
        &Dimensions {
            models,
            ..Dimensions::default()
        },
        instances,
        None,
    )
    .unwrap()
}

fn start(store: &Store, rows: &[Row], spec: &Spec, stop: &Stop) -> Result<Summary> {
    run(store, rows, spec, stop, &Control::default(), &|_, _| {})
}

/// Tests, full successes.
fn counted(store: &Store) -> (u64, u64) {
    let groups = grouped(store, &Filter::default(), &[], &Control::default()).unwrap();
    groups
        .first()
        .map_or((0, 0), |group| (group.tally.tests, group.tally.full))
}

#[test]
fn every_test_once_and_a_second_start_only_what_is_missing() {
    let (folder, store) = store();
    let log = folder.path().join("log");
    let script = format!(
        "read line; echo \"$EVALTOP_MODEL $EVALTOP_INSTANCE $EVALTOP_TEST_ID $line\" >> {}; test $EVALTOP_MODEL = a",
        log.display()
    );
    let (spec, stop) = (spec(&script), Stop::new().unwrap());
    let first = start(&store, &rows(&["a", "b"], 3), &spec, &stop).unwrap();
    assert_eq!(
        (first.counts.done, first.counts.success, first.early),
        (6, 3, None)
    );
    let again = start(&store, &rows(&["a", "b"], 5), &spec, &stop).unwrap();
    assert_eq!((again.counts.there, again.counts.done), (6, 4));
    assert_eq!(counted(&store), (10, 5));
    let log = std::fs::read_to_string(log).unwrap();
    let distinct: BTreeSet<&str> = log.lines().collect();
    assert_eq!((log.lines().count(), distinct.len()), (10, 10));
    for line in distinct {
        let (_, json) = line.split_once('{').unwrap();
        let reported: Value = serde_json::from_str(&format!("{{{json}")).unwrap();
        let expected = format!(
            "{} {} {} ",
            reported["model"].as_str().unwrap(),
            reported["instance"],
            reported["test_id"].as_str().unwrap()
        );
        assert!(line.starts_with(&expected), "{line}");
    }
}

#[test]
fn a_timeout_ends_the_whole_group() {
    let (folder, store) = store();
    let left = folder.path().join("left");
    // The child's child would write long after.
    let script = format!(
        "(trap '' TERM; sleep 600; touch {}) & sleep 600",
        left.display()
    );
    let spec = Spec {
        timeout: Some(Duration::from_millis(200)),
        ..spec(&script)
    };
    let begun = Instant::now();
    let summary = start(&store, &rows(&["m"], 1), &spec, &Stop::new().unwrap()).unwrap();
    assert_eq!((summary.counts.done, summary.counts.timeouts), (1, 1));
    assert!(
        begun.elapsed() < Duration::from_secs(300),
        "it did not wait for what was left behind"
    );
    assert_eq!(counted(&store), (1, 0));
}

#[test]
fn what_is_broken_is_tried_again() {
    let (_folder, store) = store();
    let spec = Spec {
        retries: 2,
        ..spec("test $EVALTOP_ATTEMPT = 3 || exit 75")
    };
    let summary = start(&store, &rows(&["m"], 2), &spec, &Stop::new().unwrap()).unwrap();
    assert_eq!(
        (
            summary.counts.done,
            summary.counts.success,
            summary.counts.retried
        ),
        (2, 2, 4)
    );
    let spec = Spec { retries: 1, ..spec };
    let summary = start(&store, &rows(&["other"], 1), &spec, &Stop::new().unwrap()).unwrap();
    assert_eq!(
        (summary.counts.success, summary.counts.infrastructure),
        (0, 1)
    );
}

#[test]
fn what_the_infrastructure_failed_is_run_again_when_asked() {
    let (_folder, store) = store();
    let stop = Stop::new().unwrap();
    let first = spec("test $EVALTOP_INSTANCE = 1 && exit 75; test $EVALTOP_INSTANCE = 2");
    start(&store, &rows(&["a", "b"], 3), &first, &stop).unwrap();
    let again = start(&store, &rows(&["a"], 3), &spec("true"), &stop).unwrap();
    assert_eq!((again.counts.there, again.counts.done), (3, 0));
    let asked = Spec {
        again: Again::Infrastructure,
        ..spec("true")
    };
    let again = start(&store, &rows(&["a"], 3), &asked, &stop).unwrap();
    assert_eq!((again.counts.there, again.counts.done), (2, 1));
    assert_eq!(counted(&store), (6, 3), "the newer attempt counts");
    let again = start(&store, &rows(&["a"], 3), &asked, &stop).unwrap();
    assert_eq!(again.counts.there, 3);
}

#[test]
fn two_runs_at_once_never_share_a_test() {
    let (_folder, store) = store();
    let (spec, stop) = (
        spec("test $EVALTOP_INSTANCE = 1 || sleep 600"),
        Stop::new().unwrap(),
    );
    let seen = Mutex::new(Vec::new());
    let report = |counts: &Counts, event: &Event<'_>| {
        if !matches!(event, Event::Recorded(_)) || counts.done > 1 {
            return;
        }
        let other = |models: &[&str]| start(&store, &rows(models, 1), &self::spec("true"), &stop);
        seen.lock()
            .unwrap()
            .push(other(&["a", "b"]).map_err(|error| error.to_string()));
        seen.lock()
            .unwrap()
            .push(other(&["c"]).map_err(|error| error.to_string()));
        stop.ask(Urgency::Kill);
    };
    run(
        &store,
        &rows(&["a"], 2),
        &spec,
        &stop,
        &Control::default(),
        &report,
    )
    .unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(
        seen[0]
            .as_ref()
            .is_err_and(|said| said.contains("being run already, by process")),
        "{seen:?}"
    );
    assert_eq!(seen[1].as_ref().map(|summary| summary.counts.done), Ok(1));
    let after = start(
        &store,
        &rows(&["a", "b"], 1),
        &self::spec("true"),
        &Stop::new().unwrap(),
    )
    .unwrap();
    assert_eq!((after.counts.there, after.counts.done), (1, 1));
}

#[test]
fn an_interrupted_run_records_what_ended_and_goes_on_the_next_time() {
    let (_folder, store) = store();
    let (spec, stop) = (
        spec("test $EVALTOP_INSTANCE -le 2 || sleep 600"),
        Stop::new().unwrap(),
    );
    let report = |counts: &Counts, _: &Event<'_>| {
        if counts.done == 2 && counts.running == 4 {
            stop.ask(Urgency::Interrupt);
        }
    };
    let begun = Instant::now();
    let summary = run(
        &store,
        &rows(&["m"], 20),
        &spec,
        &stop,
        &Control::default(),
        &report,
    )
    .unwrap();
    assert_eq!((summary.counts.done, summary.counts.running), (2, 0));
    assert_eq!(summary.early, Some(Early::Asked));
    assert!(begun.elapsed() < Duration::from_secs(300));
    let again = start(
        &store,
        &rows(&["m"], 20),
        &self::spec("true"),
        &Stop::new().unwrap(),
    )
    .unwrap();
    assert_eq!((again.counts.there, again.counts.done), (2, 18));
}

#[test]
fn a_burst_ends_the_run_when_asked() {
    let (_folder, store) = store();
    let spec = Spec {
        workers: 1,
        stop_on_burst: true,
        ..spec("test $EVALTOP_INSTANCE -le 20")
    };
    let summary = start(&store, &rows(&["m"], 200), &spec, &Stop::new().unwrap()).unwrap();
    assert!(
        matches!(&summary.early, Some(Early::Burst(model, _)) if model == "m"),
        "{summary:?}"
    );
    assert!(summary.counts.done < 40 && counted(&store).0 == summary.counts.done);
}

#[test]
fn a_program_that_is_not_there_is_an_error_and_no_result() {
    let (_folder, store) = store();
    let spec = Spec {
        command: vec!["no-such-program-anywhere".into()],
        ..spec("")
    };
    let error = start(&store, &rows(&["m"], 50), &spec, &Stop::new().unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot start 'no-such-program-anywhere'"),
        "{error}"
    );
    assert_eq!(counted(&store), (0, 0));
}

#[test]
fn much_output_and_unread_input_stop_nobody() {
    let (_folder, store) = store();
    let big = "x".repeat(300_000);
    let mut rows = rows(&["m"], 1);
    rows[0].fields.insert("prompt".to_owned(), big.into());
    // Floods both, never reads, leaves a child that holds the pipes open.
    let script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; echo; echo '{\"turns\":4}'; sleep 600 &";
    let seen = Mutex::new(Vec::new());
    let report = |_: &Counts, event: &Event<'_>| {
        if let Event::Recorded(record) = event {
            seen.lock().unwrap().push(record.turns);
        }
    };
    let begun = Instant::now();
    run(
        &store,
        &rows,
        &spec(script),
        &Stop::new().unwrap(),
        &Control::default(),
        &report,
    )
    .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(300));
    assert_eq!(*seen.lock().unwrap(), [Some(4)]);
}
