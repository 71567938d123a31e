//! What the matching tests cost: as billed in their rows, else by the prices of their tokens.
//!
//! A derived cost is made here, at reading, and stored nowhere: another price file gives another
//! one. The sums are whole numbers, so the order of the rows does not matter.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::datatypes::SchemaRef;
use foldhash::{HashMap, HashMapExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Control, Filter, Result, Selection, Store, rows_chosen};
use crate::stats::money::Money;
use crate::stats::prices::{Prices, in_billionths};
use crate::stats::spent::Spent;
use crate::store::Error;
use crate::store::aggregate::Columns;
use crate::text::suggest::did_you_mean;

/// Groups beyond which a question is refused: they are held in memory.
const MOST_GROUPS: usize = 1 << 18;

/// What is added up of a group: derived costs in trillionths, rounded once in the end.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    spent: Spent,
    trillionths: i128,
}

type Groups = BTreeMap<Vec<String>, Sum>;

/// What the tests of each group cost: by the values of columns, which may be any.
pub fn spending(
    store: &Store,
    filter: &Filter,
    by: &[String],
    prices: &Arc<Prices>,
    control: &Control,
) -> Result<BTreeMap<Vec<String>, Spent>> {
    let choose = |schema: &SchemaRef, _: &TimeZone| {
        let there: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        if let Some(unknown) = by.iter().find(|name| !there.contains(&name.as_str())) {
            let meant = did_you_mean(unknown, there.iter().copied());
            return Err(Error::Refused(format!("no column '{unknown}'{meant}")));
        }
        let needed = [
            "model",
            "success",
            "timestamp",
            "cost",
            "judge_cost",
            "input_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
        ];
        let wanted = |name: &&str| needed.contains(name) || by.iter().any(|own| own == name);
        let columns = there.into_iter().filter(wanted).map(str::to_owned);
        Ok(Selection {
            filter: filter.clone(),
            columns: Some(columns.collect()),
            ..Selection::default()
        })
    };
    let rows = rows_chosen(store, filter, false, &choose, control)?;
    let (by, prices) = (by.to_vec(), Arc::clone(prices));
    let mut all = Groups::new();
    for part in rows.through(move |batch| part(batch, &by, &prices))? {
        let (_, part) = part?;
        for (key, own) in part {
            let sum = all.entry(key).or_default();
            sum.spent.add(&own.spent);
            sum.trillionths += own.trillionths;
        }
        if all.len() > MOST_GROUPS {
            return Err(Error::Refused(format!(
                "more than {MOST_GROUPS} groups: choose fewer rows with --where, or another column"
            )));
        }
    }
    let finish = |(key, mut sum): (Vec<String>, Sum)| {
        sum.spent.derived.billionths = in_billionths(sum.trillionths);
        (key, sum.spent)
    };
    Ok(all.into_iter().map(finish).collect())
}

fn part(batch: &arrow::array::RecordBatch, by: &[String], prices: &Prices) -> Result<Groups> {
    let columns = Columns::new(batch)?;
    let keys = by
        .iter()
        .map(|name| super::contrast::texts(batch, name))
        .collect::<Result<Vec<StringArray>>>()?;
    // Only where a price has a date does the moment of a row matter.
    let dated = prices.iter().any(|price| price.from.is_some());
    let mut known: HashMap<&str, Option<&crate::stats::prices::Price>> = HashMap::new();
    let mut found: HashMap<Vec<&str>, Sum> = HashMap::new();
    for row in 0..batch.num_rows() {
        let key: Vec<&str> = keys
            .iter()
            .map(|own| {
                if own.is_valid(row) {
                    own.value(row)
                } else {
                    ""
                }
            })
            .collect();
        let sum = found.entry(key).or_default();
        let spent = &mut sum.spent;
        spent.tests += 1;
        spent.full += u64::from(columns.truth("success", row) == Some(true));
        let tokens = columns.tokens(row);
        spent.tokens = spent.tokens.saturating_add(tokens.total());
        if let Some(judge) = columns.number("judge_cost", row) {
            spent.judge.push(judge);
        }
        if let Some(cost) = columns.number("cost", row).filter(|own| own.is_finite()) {
            spent.billed.push(cost);
            continue;
        }
        if tokens.n == 0 {
            continue;
        }
        let model = columns.model(row);
        let price = if dated {
            let at = columns.timestamp(row);
            prices.of(
                model,
                at.and_then(|at| Timestamp::from_microsecond(at).ok()),
            )
        } else {
            *known.entry(model).or_insert_with(|| prices.of(model, None))
        };
        match price {
            Some(price) => {
                sum.trillionths += price.cost(&tokens);
                spent.derived.add(&Money {
                    n: 1,
                    billionths: 0,
                });
            }
            None => spent.unpriced += 1,
        }
    }
    let owned = |(key, sum): (Vec<&str>, Sum)| (key.into_iter().map(str::to_owned).collect(), sum);
    Ok(found.into_iter().map(owned).collect())
}
