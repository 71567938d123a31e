//! What tests cost.

use std::collections::BTreeMap;

pub use crate::stats::spent::Spent;

/// What the store's tests cost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SpendingView {
    /// All of them.
    pub all: Spent,
    /// By model.
    pub models: BTreeMap<String, Spent>,
    /// Dollars an hour, at the rate at which tests come now.
    pub per_hour: Option<f64>,
    /// Dollars when the plan is done, if the tests left cost what those so far did.
    pub forecast: Option<f64>,
    /// About how many dollars attempts cost that newer ones replaced.
    pub retried: Option<f64>,
    /// What they may cost, in dollars.
    pub limit: Option<f64>,
    /// The derived part is of an earlier scan, or is not known yet.
    pub behind: bool,
}

impl SpendingView {
    /// Models with tokens and without a price, and how many of their tests.
    pub fn unpriced(&self) -> impl Iterator<Item = (&str, u64)> {
        let unpriced = self.models.iter().filter(|(_, spent)| spent.unpriced > 0);
        unpriced.map(|(model, spent)| (model.as_str(), spent.unpriced))
    }
}
