//! What the tests cost, live. What was billed comes with the tallies; what prices make of tokens
//! needs the rows, which are read again no more often than a tenth of the time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::observation::Observation;
use crate::observation::spending::{SpendingView, Spent};
use crate::store::read::query::Filter;
use crate::store::read::query::spending::spending;
use crate::store::{Control, Store};

/// The least time between two readings.
const LEAST: Duration = Duration::from_secs(2);
/// So many times as long as a reading took is waited before the next.
const SHARE: u32 = 10;

/// What the last reading of the rows found.
#[derive(Debug, Default)]
pub(super) struct Derived {
    models: BTreeMap<String, Spent>,
    /// What the store held then: generation, tests, attempts replaced.
    of: Option<(u64, u64, u64)>,
    read: Option<Instant>,
    took: Duration,
}

impl Derived {
    /// Fills in what the tests cost; nothing where no row speaks of money or tokens.
    pub(super) fn fill(
        &mut self,
        seen: &mut Observation,
        rows: (&Store, &Filter),
        config: &Config,
        control: &Control,
    ) {
        let totals = seen.totals.clone();
        if totals.billed().is_none() && totals.tokens.n == 0 {
            return;
        }
        let of = (seen.main.generation, totals.tests, seen.superseded);
        let may_derive = !config.price_table.is_empty() && totals.tokens.n > 0;
        let mut behind = false;
        if may_derive && self.of != Some(of) {
            let pause = LEAST.max(self.took * SHARE);
            if self.read.is_none_or(|read| read.elapsed() >= pause) {
                self.read(rows, config, of, control);
            }
            behind = self.of != Some(of);
        }
        let mut view = SpendingView {
            behind,
            limit: config.budget,
            ..SpendingView::default()
        };
        for model in &mut seen.models {
            let tally = &model.tally;
            let mut spent = Spent {
                tests: tally.tests,
                full: tally.full,
                billed: tally.cost,
                judge: tally.judge_cost,
                tokens: tally.tokens.total(),
                ..Spent::default()
            };
            if let Some(own) = self.models.get(&model.model).filter(|_| may_derive) {
                spent.derived = own.derived;
                spent.unpriced = own.unpriced;
            } else if !may_derive {
                spent.unpriced = tally.tokens.n.saturating_sub(tally.cost.n);
            }
            model.cost = spent.dollars();
            view.all.add(&spent);
            view.models.insert(model.model.clone(), spent);
        }
        let all = &view.all;
        let per_test = all.per_test();
        view.per_hour = per_test
            .filter(|_| seen.per_minute > 0.0)
            .map(|own| own * seen.per_minute * 60.0);
        view.retried = per_test
            .filter(|_| seen.superseded > 0)
            .map(|own| own * seen.superseded as f64);
        let left = match (config.target, &seen.session) {
            (Some(target), _) => Some(target.saturating_sub(totals.tests)),
            (None, Some(session)) => session
                .planned
                .map(|planned| planned.saturating_sub(session.done)),
            _ => None,
        };
        view.forecast = match (all.dollars(), per_test, left) {
            (Some(total), Some(each), Some(left)) if left > 0 => Some(total + each * left as f64),
            _ => None,
        };
        seen.spending = Some(Arc::new(view));
    }

    fn read(
        &mut self,
        (store, filter): (&Store, &Filter),
        config: &Config,
        of: (u64, u64, u64),
        control: &Control,
    ) {
        let began = Instant::now();
        let by = ["model".to_owned()];
        let prices = &config.price_table;
        match spending(store, filter, &by, prices, control) {
            Ok(found) => {
                let model =
                    |(key, spent): (Vec<String>, Spent)| Some((key.into_iter().next()?, spent));
                self.models = found.into_iter().filter_map(model).collect();
                self.of = Some(of);
            }
            // The next scan tries again; the figures are marked as old until then.
            Err(error) => tracing::debug!("what tests cost could not be read: {error}"),
        }
        self.read = Some(Instant::now());
        self.took = began.elapsed();
    }
}
