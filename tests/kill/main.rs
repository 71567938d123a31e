//! Real processes against one folder, killed at random: writers, legacy rewriters,
//! consolidators, cleanup and readers, while another program deletes increments.
//! What was acknowledged is never lost and never counted twice, in every reader's
//! view all along and at the end.
//!
//! The same with writers behind one mount and consolidators behind another, where neither
//! sees the other's locks.
//!
//! `EVALTOP_KILL_SECONDS` (18), `EVALTOP_KILL_MOUNT_SECONDS` (8 for each kind of mount),
//! `EVALTOP_KILL_WRITERS` (8) and `EVALTOP_KILL_SEED` make it longer, larger, and choose
//! other victims.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "../it/mounting.rs"]
mod mounting;
#[path = "../it/support.rs"]
mod support;

mod drive;
mod ledger;
mod legacy;
mod look;
mod random;
mod round;
mod settings;
mod slot;
mod view;
mod worker;

use std::io::Write;

use settings::Settings;

/// What this binary does when a test starts it again as one of its processes.
#[test]
fn worker() {
    if let Some(role) = std::env::var_os(worker::ROLE) {
        worker::run(&role.to_string_lossy());
    }
}

#[test]
fn whatever_dies_nothing_is_lost_and_nothing_doubled() {
    if std::env::var_os(worker::ROLE).is_some() {
        return;
    }
    let settings = Settings::from_environment();
    let mut sum = round::Report::default();
    for length in settings.rounds() {
        sum.add(round::run(&settings, length, sum.rounds, None));
        if !sum.violations.is_empty() {
            break;
        }
    }
    // Not through `println!`, which the test harness keeps to itself.
    let _ = writeln!(std::io::stderr(), "\nkill: {sum} (seed {})", settings.seed);
    assert!(sum.violations.is_empty(), "{}", sum.violations.join("\n"));
    assert!(
        sum.kills() > 0 && sum.rows > 0 && sum.views > 0 && sum.commits > 0,
        "too little happened: {sum}"
    );
}

#[test]
fn behind_mounts_that_show_no_locks_nothing_is_lost_and_nothing_doubled() {
    if std::env::var_os(worker::ROLE).is_some() {
        return;
    }
    let settings = Settings::from_environment();
    for behind in [round::Behind::Bindfs, round::Behind::Sshfs] {
        let mut sum = round::Report::default();
        for length in settings.mounted_rounds() {
            let number = (1 << 16) + sum.rounds;
            sum.add(round::run(&settings, length, number, Some(behind)));
            if !sum.violations.is_empty() {
                break;
            }
        }
        // There is no mounting here, which was said.
        if sum.rounds == 0 {
            return;
        }
        let _ = writeln!(
            std::io::stderr(),
            "\nkill behind {behind:?}: {sum} (seed {})",
            settings.seed
        );
        assert!(sum.violations.is_empty(), "{}", sum.violations.join("\n"));
        assert!(
            sum.kills() > 0 && sum.rows > 0 && sum.views > 0,
            "too little happened: {sum}"
        );
    }
}
