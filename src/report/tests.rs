use std::process::Command;

use super::*;
use crate::store::testing::fixture::Fixture;
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Record};

fn record(model: &str, task: usize, session: &str, full: bool) -> Record {
    let mut record = Record {
        test_id: Some(format!("{session}-{task}")),
        model: model.to_owned(),
        task_id: Some(format!("task-{task}")),
        session_id: Some(session.to_owned()),
        success: full.into(),
        error_type: (!full).then(|| "timeout".to_owned()),
        error_message: (!full).then(|| "SECRET prompt".to_owned()),
        timestamp: Some(1_769_860_800_000_000 + task as i64 * 60_000_000),
        ..Record::default()
    };
    record.cost = Some(0.01);
    record
}

fn store(records: impl IntoIterator<Item = Record>) -> Fixture {
    let fixture = Fixture::new();
    let mut writer = Writer::open(&fixture.store, WriterOptions::default()).unwrap();
    for record in records {
        writer.append(record).unwrap();
    }
    writer.close().unwrap();
    fixture
}

fn report(fixture: &Fixture, request: Request) -> Report {
    let name = "nightly".to_owned();
    let made = jiff::Timestamp::UNIX_EPOCH;
    Report::new(
        &fixture.store,
        request,
        name,
        Vec::new(),
        made,
        &Control::default(),
    )
    .unwrap()
}

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[test]
fn the_policy_admits_this_style_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let style = folder.path().join("style.css");
    std::fs::write(&style, html::STYLE).unwrap();
    let sum = Command::new("sha256sum").arg(&style).output().unwrap();
    let hex = String::from_utf8(sum.stdout).unwrap();
    let bytes: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
        .collect();
    let mut base64 = String::new();
    for three in bytes.chunks(3) {
        let all = three
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * at) & 63) as usize] as char;
            base64.push(if at <= three.len() { letter } else { '=' });
        }
    }
    assert_eq!(html::STYLE_HASH, base64);
    let page = report(&store([record("a", 0, "s", true)]), Request::default()).html();
    assert!(
        page.contains(
            &format!("default-src 'none'; style-src 'sha256-{base64}'").replace('\'', "&#39;")
        ) || page.contains(&format!("style-src 'sha256-{base64}'")),
        "{page}"
    );
    assert!(
        !page.contains("<script")
            && !page.contains("style=\"")
            && !page.contains("http://")
            && !page.contains("https://")
    );
}

#[test]
fn a_hundred_models_on_fifty_tasks_fit() {
    let records = (0..100).flat_map(|model| {
        (0..50).map(move |task| {
            record(
                &format!("model-{model:03}"),
                task,
                "s",
                (task * 7 + model * 3) % 100 < model,
            )
        })
    });
    let fixture = store(records);
    let report = report(&fixture, Request::default());
    let page = report.html();
    assert!(page.len() < 1_000_000, "{}", page.len());
    assert_eq!(
        (report.models.len(), report.tasks.len(), report.heat.len()),
        (100, 50, 5_000)
    );
    assert_eq!(report.contrasts.len(), 4_950);
    assert!(
        page.contains("best or tied with the best"),
        "{:?}",
        words::sentences(&report)
    );
    assert!(
        page.contains("It cost $50.00"),
        "{:?}",
        words::sentences(&report)
    );
}

#[test]
fn hostile_names_stay_text() {
    let long = "x".repeat(5_000);
    let names = [
        "<script>alert(1)</script>",
        "\u{202e}evil",
        "a\"onload=\"x",
        &long,
        "=cmd()",
    ];
    let records = names
        .iter()
        .flat_map(|name| (0..3).map(|task| record(name, task, "s", task > 0)));
    let fixture = store(records.collect::<Vec<_>>());
    let report = report(&fixture, Request::default());
    let page = report.html();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
    assert!(!page.contains('\u{202e}') && !page.contains(&"x".repeat(200)));
    assert!(!page.contains("a\"onload"), "an attribute that a name made");
    assert!(!page.contains("SECRET"), "texts of results are asked for");
    let link = words::csv(&report);
    assert!(
        !link.contains(['"', '<', ' ']) && link.contains("%22%27%3Dcmd"),
        "{link}"
    );
    let markdown = report.markdown();
    assert!(
        markdown.contains("\\<script>") && !markdown.contains('\u{202e}'),
        "{markdown}"
    );
}

#[test]
fn tonight_against_last_night() {
    let night = |session: &'static str, broken: usize| {
        (0..40).map(move |task| record("m", task, session, task >= broken))
    };
    let fixture = store(night("monday", 4).chain(night("tuesday", 20)));
    let request = Request {
        session: Some("tuesday".to_owned()),
        baseline: Some("monday".to_owned()),
        ..Request::default()
    };
    let found = report(&fixture, request.clone());
    let said = words::sentences(&found);
    assert!(
        said[1].starts_with("Worse than the baseline: -40.0 points"),
        "{said:?}"
    );
    assert_eq!(found.flips.1, 16);
    assert_eq!(found.tests(), 40, "the session's own");
    let page = found.html();
    assert!(
        page.contains("broken") && !page.contains("SECRET"),
        "{page}"
    );
    let reported = report(
        &fixture,
        Request {
            with_texts: true,
            planned: Some(50),
            ..request
        },
    );
    assert!(reported.html().contains("SECRET prompt"));
    assert!(
        reported
            .html()
            .contains("Incomplete: 40 of 50 planned tests.")
    );
}
