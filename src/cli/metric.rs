//! Which metric a command means. Costs that were billed and costs that are derived from the prices
//! of tokens are never in one mean.

use anyhow::Result;

use crate::config::{Config, show_counted};
use crate::stats::metric::Metric;
use crate::store::read::query::aggregation::{Aggregate, Aggregation, aggregate, numbers};
use crate::store::read::query::{self, DERIVED_COST, Filter};
use crate::store::{Control, Result as StoreResult, Store};

/// The metric of that name for the matching records, and what it leaves out.
pub(super) fn chosen(
    config: &Config,
    store: &Store,
    filter: &Filter,
    name: &str,
    control: &Control,
) -> Result<(Metric, Option<String>)> {
    if name != "cost" {
        return Ok((config.metric(name), None));
    }
    let (billed, derived) = costs(store, filter, control)?;
    // Where nothing was billed there is one cost to speak of.
    if billed == 0 && derived > 0 {
        return Ok((config.metric(DERIVED_COST), None));
    }
    Ok((config.metric(name), beyond(derived)))
}

/// What a question about billed costs leaves out.
pub(super) fn beyond(derived: u64) -> Option<String> {
    (derived > 0).then(|| {
        format!(
            "cost is what rows were billed; {} without a bill {} a {DERIVED_COST} instead, which is not in it",
            show_counted(derived, "test"),
            if derived == 1 { "has" } else { "have" }
        )
    })
}

/// Tests that were billed, and tests whose cost can be derived.
pub(super) fn costs(store: &Store, filter: &Filter, control: &Control) -> StoreResult<(u64, u64)> {
    let there = query::columns(store, control)?;
    let names = ["cost", DERIVED_COST].into_iter();
    let names: Vec<&str> = names
        .filter(|name| there.iter().any(|own| own == name))
        .collect();
    if !names.contains(&DERIVED_COST) {
        return Ok((0, 0));
    }
    let list: Vec<String> = names.iter().map(|name| format!("count({name})")).collect();
    let aggregation = Aggregation {
        filter: filter.clone(),
        by: Vec::new(),
        aggregates: Aggregate::list(&list.join(","))?,
    };
    let batch = aggregate(store, &aggregation, control)?.batch;
    let count = |name: &str| {
        let column = batch.column_by_name(&format!("count_{name}"))?;
        (batch.num_rows() > 0).then(|| numbers(column)(0))?
    };
    let count = |name: &str| count(name).map_or(0, |count| count as u64);
    Ok((count("cost"), count(DERIVED_COST)))
}
