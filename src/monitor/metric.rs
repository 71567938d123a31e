//! The metric that somebody chose instead of the success rate: its mean by model and over time.
//! Only rows say it; they are read again no more often than a tenth of the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use crate::observation::{Measured, MetricView, Observation};
use crate::stats::history::{Bucket, History};
use crate::stats::metric::Metric;
use crate::store::read::query::Filter;
use crate::store::read::query::aggregation::{Aggregate, Aggregation, aggregate, numbers};
use crate::store::read::query::contrast::means;
use crate::store::{Control, Error, Store};

/// The least time between two readings.
const LEAST: Duration = Duration::from_secs(2);
/// So many times as long as a reading took is waited before the next.
const SHARE: u32 = 10;
/// Stretches of the history.
const STRETCHES: i64 = 400;

/// A metric, as it was last read.
#[derive(Debug)]
pub(super) struct Chosen {
    metric: Metric,
    view: Option<Arc<MetricView>>,
    of: Option<(u64, u64, u64)>,
    read: Option<Instant>,
    took: Duration,
}

impl Chosen {
    pub(super) fn new(metric: Metric) -> Self {
        Self {
            metric,
            view: None,
            of: None,
            read: None,
            took: Duration::ZERO,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.metric.name
    }

    /// Fills in what is known of it.
    pub(super) fn fill(
        &mut self,
        seen: &mut Observation,
        store: &Store,
        filter: &Filter,
        control: &Control,
    ) {
        let of = (seen.main.generation, seen.totals.tests, seen.superseded);
        let pause = LEAST.max(self.took * SHARE);
        if self.of != Some(of) && self.read.is_none_or(|read| read.elapsed() >= pause) {
            let began = Instant::now();
            let view = self.view(seen, store, filter, control);
            self.view = Some(Arc::new(view.unwrap_or_else(|error| MetricView {
                metric: self.metric.clone(),
                failed: Some(error.to_string()),
                ..MetricView::default()
            })));
            self.of = Some(of);
            self.took = began.elapsed();
            self.read = Some(Instant::now());
        }
        seen.metric.clone_from(&self.view);
        for model in &mut seen.models {
            model.measured = self
                .view
                .as_ref()
                .and_then(|view| view.models.get(&model.model).copied());
        }
    }

    /// The same where any test has a value, else nothing.
    pub(super) fn fill_known(
        &mut self,
        seen: &mut Observation,
        store: &Store,
        filter: &Filter,
        control: &Control,
    ) {
        self.fill(seen, store, filter, control);
        if seen.metric.as_ref().is_some_and(|view| view.n == 0) {
            seen.metric = None;
        }
    }

    fn view(
        &self,
        seen: &Observation,
        store: &Store,
        filter: &Filter,
        control: &Control,
    ) -> Result<MetricView, Error> {
        let found = means(store, filter, ("model", &self.metric), control)?;
        let mut view = MetricView {
            metric: self.metric.clone(),
            ..MetricView::default()
        };
        let (mut sum, mut n) = (0.0, 0);
        for (model, mean) in found {
            sum += mean.mean * mean.n as f64;
            n += mean.n;
            let measured = Measured {
                n: mean.n,
                mean: mean.mean,
                gain: self.metric.gain(mean.mean),
                interval: mean.interval,
            };
            view.models.insert(model, measured);
        }
        view.n = n;
        view.mean = (n > 0).then(|| sum / n as f64);
        // Where the range is not known, bars and lines go from the least to the greatest mean.
        view.range = self.metric.range.or_else(|| {
            let ends = view.models.values().map(|own| own.mean);
            let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), own| {
                (low.min(own), high.max(own))
            });
            (high > low).then_some((low, high))
        });
        view.history = self.history(seen, store, filter, &view, control)?;
        Ok(view)
    }

    /// Means over time, as shares of the range.
    fn history(
        &self,
        seen: &Observation,
        store: &Store,
        filter: &Filter,
        view: &MetricView,
        control: &Control,
    ) -> Result<History, Error> {
        let mut history = History::default();
        let (Some(first), Some((low, high))) = (seen.history.first(), view.range) else {
            return Ok(history);
        };
        let width = ((seen.at.as_second() - first) / STRETCHES / 60 + 1) * 60;
        let refuse = |error: crate::expr::Error| Error::Refused(error.to_string());
        let bucket = format!("bucket(timestamp, {width})");
        let name = &self.metric.name;
        let aggregation = Aggregation {
            filter: filter.clone(),
            by: vec![bucket.parse().map_err(refuse)?],
            aggregates: Aggregate::list(&format!("count({name}),mean({name})"))?,
        };
        let batch = aggregate(store, &aggregation, control)?.batch;
        let [times, counts, means] = batch.columns() else {
            return Ok(history);
        };
        let (Some(times), Some(counts)) = (
            times.as_primitive_opt::<TimestampMicrosecondType>(),
            counts.as_primitive_opt::<Int64Type>(),
        ) else {
            return Ok(history);
        };
        let mean = numbers(means);
        for (row, time) in times.iter().enumerate() {
            if let (Some(time), Some(mean)) = (time, mean(row)) {
                let rows = counts.value(row) as f64;
                let share = ((mean - low) / (high - low)).clamp(0.0, 1.0);
                let bucket = Bucket {
                    rows,
                    full: rows * share,
                    unscored: 0.0,
                };
                history.add_bucket(time / 1_000_000 + width / 2, bucket);
            }
        }
        Ok(history)
    }
}
