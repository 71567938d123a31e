//! Columns that rows do not bring: made of their other columns while they are read, and stored
//! nowhere. They are named in a question and never part of a whole row.
//!
//! - `derived_cost`: what the tokens of a test come to by the price files, where its row brings
//!   tokens and no cost. What was billed stays in `cost`; no column holds both.
//! - `meta.KEY`: what was said of the row's session (`run --meta KEY=VALUE`, Python, Inspect).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use foldhash::{HashMap, HashMapExt};
use jiff::Timestamp;

use super::{Result, Store};
use crate::stats::prices::Prices;
use crate::store::aggregate::Columns;
use crate::store::write::session_notes;

/// The cost of tests that bring none.
pub(crate) const DERIVED_COST: &str = "derived_cost";
/// Before the name of what was said of a session.
const META: &str = "meta.";
/// What a cost is derived of.
const PRICED: [&str; 8] = [
    "model",
    "timestamp",
    "cost",
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
];
const TRILLION: f64 = 1e12;

/// The columns that can be made for a store.
#[derive(Debug, Default)]
pub(super) struct Computed {
    /// None where no cost can be derived.
    prices: Option<Arc<Prices>>,
    /// By column, what holds of each session.
    meta: BTreeMap<String, HashMap<String, String>>,
}

impl Computed {
    /// Those of a store whose files have these columns.
    pub(super) fn of(store: &Store, stored: &Schema) -> Self {
        let there = |name: &str| stored.field_with_name(name).is_ok();
        let has_tokens = PRICED
            .iter()
            .any(|name| name.ends_with("_tokens") && there(name));
        let derives = !store.prices.is_empty() && has_tokens && !there(DERIVED_COST);
        let mut computed = Self {
            prices: derives.then(|| Arc::clone(&store.prices)),
            ..Self::default()
        };
        if !there("session_id") {
            return computed;
        }
        // Notes that can't be read say nothing; a question that needs them names a column that
        // is then unknown.
        for (session, said) in session_notes::metadata(store).unwrap_or_default() {
            for (key, value) in said {
                let name = format!("{META}{key}");
                if !there(&name) {
                    let own = computed.meta.entry(name).or_default();
                    own.insert(session.clone(), value);
                }
            }
        }
        computed
    }

    /// All columns: those of files and those that can be made.
    pub(super) fn with(&self, stored: &SchemaRef) -> SchemaRef {
        let names = self.prices.iter().map(|_| DERIVED_COST);
        let names = names.chain(self.meta.keys().map(String::as_str));
        let made: Vec<Field> = names.filter_map(|name| self.field(name)).collect();
        if made.is_empty() {
            return Arc::clone(stored);
        }
        let all = stored.fields().iter().cloned();
        let all = all.chain(made.into_iter().map(Arc::new));
        let all = Schema::new(all.collect::<Vec<_>>());
        Arc::new(all.with_metadata(stored.metadata().clone()))
    }

    /// The column of that name; `None` where it is not one of these.
    pub(super) fn field(&self, name: &str) -> Option<Field> {
        let of = if name == DERIVED_COST {
            self.prices.as_ref().map(|_| DataType::Float64)
        } else {
            self.meta.get(name).map(|_| DataType::Utf8)
        };
        Some(Field::new(name, of?, true))
    }

    /// What it is made of.
    pub(super) fn needs(&self, name: &str) -> &'static [&'static str] {
        match name {
            DERIVED_COST if self.prices.is_some() => &PRICED,
            name if self.meta.contains_key(name) => &["session_id"],
            _ => &[],
        }
    }

    /// Its values for the rows of a batch.
    pub(super) fn column(&self, name: &str, batch: &RecordBatch) -> Result<ArrayRef> {
        if let (DERIVED_COST, Some(prices)) = (name, &self.prices) {
            return Ok(Arc::new(derived(prices, &Columns::new(batch)?, batch)));
        }
        let sessions = super::contrast::texts(batch, "session_id")?;
        let said = self.meta.get(name);
        let value = |session: Option<&str>| said?.get(session?).map(String::as_str);
        Ok(Arc::new(
            sessions.iter().map(value).collect::<StringArray>(),
        ))
    }
}

/// What each row comes to by the prices of its tokens; null where it was billed, and where it has
/// no tokens or its model no price.
fn derived(prices: &Prices, columns: &Columns, batch: &RecordBatch) -> Float64Array {
    // Only where a price has a date does the moment of a row matter.
    let dated = prices.iter().any(|price| price.from.is_some());
    let mut known = HashMap::new();
    let cost = |row| {
        let billed = columns.number("cost", row);
        let tokens = columns.tokens(row);
        if billed.is_some_and(f64::is_finite) || tokens.n == 0 {
            return None;
        }
        let model = columns.model(row);
        let price = if dated {
            let at = columns.timestamp(row);
            let at = at.and_then(|at| Timestamp::from_microsecond(at).ok());
            prices.of(model, at)
        } else {
            *known.entry(model).or_insert_with(|| prices.of(model, None))
        };
        Some(price?.cost(&tokens) as f64 / TRILLION)
    };
    (0..batch.num_rows()).map(cost).collect()
}
