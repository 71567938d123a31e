//! What main's footer tells about its rows, so that nobody has to read them: tallies by
//! cell, trials by task, what happened. It travels with the commit record, in the same
//! inode as the rows.
//!
//! Promises: it is believed only next to the commit record that it names, in this
//! version's format; what is too long is left out, and then the rows are read.

use serde::{Deserialize, Serialize};

use super::commit::CommitRecord;
use super::digest::{Activity, Digest};
use super::parquet_file::ParquetFile;
use crate::stats::clusters::Clusters;
use crate::stats::{Cell, Tally};

/// The footer's key.
pub(super) const KEY: &str = "evaltop.tallies";
/// The format that this version writes; any other one is passed over.
const FORMAT: u32 = 1;
/// A footer is read whenever the file is opened: beyond this many bytes it holds none.
const LIMIT: usize = 8 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    format: u32,
    commit_id: String,
    rows: u64,
    bad_times: u64,
    cells: Vec<(Cell, Tally)>,
    activity: Activity,
    clusters: Clusters,
}

/// The value for the footer of a main that a commit makes; `None` when it is too long.
pub(super) fn to_json(record: &CommitRecord, digest: &Digest) -> Option<String> {
    let mut activity = digest.activity.clone();
    activity.settle();
    let told = Told {
        format: FORMAT,
        commit_id: record.commit_id.clone(),
        rows: digest.records,
        bad_times: digest.bad_times,
        cells: digest.cells().map(|(cell, tally)| (cell.clone(), tally.clone())).collect(),
        activity,
        clusters: digest.clusters.clone(),
    };
    serde_json::to_string(&told).ok().filter(|text| text.len() <= LIMIT)
}

/// What the footer of a main tells; `None` where it does not, or not of this commit.
pub(super) fn of(main: &ParquetFile, record: &CommitRecord) -> Option<Digest> {
    parse(main.key_value(KEY)?, record, main.rows())
}

fn parse(text: &str, record: &CommitRecord, rows: u64) -> Option<Digest> {
    let told: Told = serde_json::from_str(text).ok()?;
    let ours = told.format == FORMAT && told.commit_id == record.commit_id;
    let counted: u64 = told.cells.iter().map(|(_, tally)| tally.tests).sum();
    if !ours || [told.rows, record.rows, rows] != [counted; 3] {
        return None;
    }
    let mut digest = Digest::of_cells(told.cells);
    digest.position = told.rows;
    digest.bad_times = told.bad_times;
    digest.activity = told.activity;
    digest.clusters = told.clusters;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::stats::{Rate, Sum};
    use crate::store::commit;

    fn record(rows: u64) -> CommitRecord {
        CommitRecord {
            format: commit::FORMAT,
            generation: 1,
            commit_id: "c".into(),
            parent_id: None,
            created: Timestamp::UNIX_EPOCH,
            zone: "UTC".into(),
            rows,
            summaries: Vec::new(),
            superseded: 0,
            repeated: 0,
            consumed: Vec::new(),
        }
    }

    fn cells() -> impl Strategy<Value = Vec<(Cell, Tally)>> {
        let one = (".{0,6}", 0..30_000_i64, 1..1_000_u64, any::<i128>(), any::<[u64; 9]>());
        let cell = one.prop_map(|(text, rate, tests, micros, errors)| {
            let cell = Cell {
                model: text.clone().into(),
                prompt_type: "p".into(),
                tool_success_rate: Rate::new(rate as f64 / 1e4),
                difficulty: text.into(),
                task_type: "t".into(),
            };
            let execution_time = Sum { n: tests, micros };
            (cell, Tally { tests, full: tests / 2, errors, execution_time, ..Tally::default() })
        });
        prop::collection::btree_map(any::<u16>(), cell, 0..20).prop_map(|cells| {
            let mut unique = std::collections::BTreeMap::new();
            unique.extend(cells.into_values());
            unique.into_iter().collect()
        })
    }

    proptest! {
        #[test]
        fn every_number_survives_the_footer(cells in cells()) {
            let digest = Digest::of_cells(cells.clone());
            let record = record(digest.records);
            let text = to_json(&record, &digest).unwrap();
            let read = parse(&text, &record, record.rows).unwrap();
            let mut found: Vec<_> = read.cells().map(|(cell, tally)| (cell.clone(), tally.clone())).collect();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(found, cells);
        }
    }

    #[test]
    fn only_what_belongs_to_the_commit_is_believed() {
        let cell = Cell {
            model: "m".into(),
            prompt_type: "p".into(),
            tool_success_rate: None,
            difficulty: "d".into(),
            task_type: "t".into(),
        };
        let digest = Digest::of_cells(vec![(cell, Tally { tests: 3, ..Tally::default() })]);
        let text = to_json(&record(3), &digest).unwrap();
        assert!(parse(&text, &record(3), 3).is_some());
        assert!(parse(&text, &CommitRecord { commit_id: "d".into(), ..record(3) }, 3).is_none());
        assert!(parse(&text, &record(3), 4).is_none());
        assert!(parse(&text, &record(4), 4).is_none());
        assert!(parse(&text.replace("\"format\":1", "\"format\":2"), &record(3), 3).is_none());
        assert!(parse("{", &record(3), 3).is_none());
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let cell = |at: u32| Cell {
            model: format!("{at}{}", "m".repeat(400)).into(),
            prompt_type: "p".into(),
            tool_success_rate: None,
            difficulty: "d".into(),
            task_type: "t".into(),
        };
        let cells = (0..15_000).map(|at| (cell(at), Tally { tests: 1, ..Tally::default() })).collect();
        let digest = Digest::of_cells(cells);
        assert!(to_json(&record(digest.records), &digest).is_none());
    }
}
