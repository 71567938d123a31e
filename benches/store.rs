//! What the store's operations cost in this process: `cargo bench --bench store`.
//! Ratios to other tools are measured by `benches/peers`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark that fails may panic"
)]

use std::fs;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use evaltop::internals::store::commit::consolidate;
use evaltop::internals::store::read::snapshot::Scanner;
use evaltop::internals::store::write::writer::{Writer, WriterOptions};
use evaltop::internals::store::{Control, Record, Store};
use jiff::Timestamp;

/// Rows in main.
const MAIN: usize = 200_000;
/// Increments that wait, and the rows in each.
const WAITING: (usize, usize) = (50, 200);

fn record(at: usize) -> Record {
    Record {
        test_id: Some(format!(
            "{:032x}",
            at as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060
        )),
        model: format!("model-{:02}", at % 12),
        task_type: Some(["simple", "pipeline", "integration"][at / 12 % 3].into()),
        prompt_type: Some(["baseline", "cot", "flawed"][at / 36 % 3].into()),
        difficulty: Some(["easy", "hard"][at / 108 % 2].into()),
        tool_success_rate: Some([0.6, 0.8, 1.0][at / 216 % 3]),
        success: Some(at * 7 % 10 < 6),
        partial_success: Some(at * 7 % 10 >= 8),
        execution_time: Some(2.0 + (at % 977) as f64 / 10.0),
        turns: Some(3 + at as i64 % 17),
        task_id: Some(format!("task_{:03}", at % 500)),
        timestamp: Some(1_767_225_600_000_000 + at as i64 * 250_000),
        ..Record::default()
    }
}

/// Adds rows in increments of `each`.
fn add(store: &Store, mut from: usize, files: usize, each: usize) {
    let mut writer = Writer::open(store, WriterOptions::default()).unwrap();
    for _ in 0..files {
        writer
            .append_all((from..from + each).map(record).collect())
            .unwrap();
        writer.publish().unwrap();
        from += each;
    }
    writer.close().unwrap();
}

fn merge(store: &Store) {
    consolidate::run(
        store,
        &consolidate::Options::default(),
        Timestamp::now(),
        &Control::default(),
    )
    .unwrap();
}

/// A store with a main and increments that wait.
fn made(folder: &Path) -> Store {
    let store = Store::new(folder);
    add(&store, 0, 1, MAIN);
    merge(&store);
    add(&store, MAIN, WAITING.0, WAITING.1);
    store
}

/// The same store again; what is in it is never written in place.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

fn store(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let made = made(&folder.path().join("store"));
    let look = |scanner: &mut Scanner| {
        scanner
            .scan(&made, Timestamp::now(), &Control::default())
            .unwrap()
            .cells
            .keys()
            .count()
    };
    let mut group = c.benchmark_group("snapshot");
    group.sample_size(20);
    group.bench_function("cold", |b| {
        b.iter_with_large_drop(|| look(&mut Scanner::new()));
    });
    let mut scanner = Scanner::new();
    group.bench_function("again, nothing changed", |b| b.iter(|| look(&mut scanner)));
    group.finish();

    let mut group = c.benchmark_group("consolidate");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((WAITING.0 * WAITING.1) as u64));
    let mut run = 0;
    group.bench_function("50 increments of 200 into 200,000", |b| {
        b.iter_batched(
            || {
                run += 1;
                let target = folder.path().join(format!("run_{run}"));
                copy(made.layout.root(), &target);
                Store::new(&target)
            },
            |store| merge(&store),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn append(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(&Store::new(folder.path()), WriterOptions::default()).unwrap();
    let mut group = c.benchmark_group("append");
    for together in [1, 1000] {
        let mut at = 0;
        group.throughput(Throughput::Elements(together as u64));
        group.bench_function(format!("{together} at once"), |b| {
            b.iter_batched(
                || {
                    at += together;
                    (at - together..at).map(record).collect::<Vec<_>>()
                },
                |records| writer.append_all(records).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, append, store);
criterion_main!(benches);
