//! The figures of one session alone: what the tallies can't say, the rows do. They are read
//! again no more often than a tenth of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strum::IntoEnumIterator;

use crate::observation::{ModelView, Observation};
use crate::stats::{Cell, Cells, ErrorCategory, Rate, Tally};
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::query::{Filter, Group, GroupValue, grouped};
use crate::store::{Control, Error, Store};

/// The least time between two readings.
const LEAST: Duration = Duration::from_secs(2);
/// So many times as long as a reading took is waited before the next.
const SHARE: u32 = 10;

/// One session, as it was last read.
#[derive(Debug)]
pub(super) struct Narrow {
    session: String,
    cells: Arc<Cells>,
    of: Option<(u64, u64, u64)>,
    read: Option<Instant>,
    took: Duration,
}

/// The condition that rows of a session fulfil.
pub(super) fn filter(session: &str) -> Result<Filter, Error> {
    let condition = format!("session_id = '{}'", session.replace('\'', "''"));
    let condition = condition
        .parse()
        .map_err(|error: crate::expr::Error| Error::Refused(error.to_string()))?;
    Ok(Filter {
        condition: Some(Box::new(condition)),
        ..Filter::default()
    })
}

impl Narrow {
    pub(super) fn new(session: String) -> Self {
        Self {
            session,
            cells: Arc::default(),
            of: None,
            read: None,
            took: Duration::ZERO,
        }
    }

    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// Puts the session's tests in the place of all.
    pub(super) fn fill(
        &mut self,
        seen: &mut Observation,
        store: &Store,
        control: &Control,
    ) -> Result<(), Error> {
        let of = (seen.main.generation, seen.totals.tests, seen.superseded);
        let pause = LEAST.max(self.took * SHARE);
        let due = self.read.is_none_or(|read| read.elapsed() >= pause);
        if self.of != Some(of) && due {
            let began = Instant::now();
            let by = DIMENSIONS.map(str::to_owned);
            let groups = grouped(store, &filter(&self.session)?, &by, control)?;
            self.cells = Arc::new(groups.into_iter().map(cell).collect());
            self.of = Some(of);
            self.took = began.elapsed();
            self.read = Some(Instant::now());
        }
        seen.cells = Arc::clone(&self.cells);
        let mut before = std::mem::take(&mut seen.models);
        seen.totals = Tally::default();
        for (model, cells) in self.cells.models() {
            let tally = cells.sum().clone();
            seen.totals.add(&tally);
            let known = before.iter().position(|own| *own.model == **model);
            let own = known.map(|at| before.swap_remove(at)).unwrap_or_default();
            seen.models.push(ModelView {
                model: model.to_string(),
                tally,
                // Trials by task are known of all sessions together only.
                effective: None,
                ..own
            });
        }
        seen.errors = ErrorCategory::iter()
            .zip(seen.totals.errors)
            .filter(|(_, count)| *count > 0)
            .collect();
        seen.only_session = Some(self.session.clone());
        Ok(())
    }
}

fn cell(group: Group) -> (Cell, Tally) {
    let mut values = group.values.into_iter();
    let mut cell = Cell {
        model: "".into(),
        prompt_type: "".into(),
        tool_success_rate: None,
        difficulty: "".into(),
        task_type: "".into(),
    };
    for name in DIMENSIONS {
        match (name, values.next()) {
            ("model", Some(GroupValue::Text(text))) => cell.model = text.into(),
            ("prompt_type", Some(GroupValue::Text(text))) => cell.prompt_type = text.into(),
            ("difficulty", Some(GroupValue::Text(text))) => cell.difficulty = text.into(),
            ("task_type", Some(GroupValue::Text(text))) => cell.task_type = text.into(),
            (_, Some(GroupValue::Rate(rate))) => {
                cell.tool_success_rate = rate.and_then(Rate::new);
            }
            _ => {}
        }
    }
    (cell, group.tally)
}
