//! What tests cost, as billed and as derived from the prices of their tokens.

use super::money::{Money, dollars};

/// What some tests cost, in billionths of a dollar. All sums are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Tests.
    pub tests: u64,
    /// Those that succeeded in full.
    pub full: u64,
    /// What their rows say that they were billed.
    pub billed: Money,
    /// The same of judging them.
    pub judge: Money,
    /// What tests that bring no cost come to by the prices of their tokens.
    pub derived: Money,
    /// Tests with tokens, but neither a cost nor a price.
    pub unpriced: u64,
    /// Tokens, reasoning as a part of the output.
    pub tokens: u64,
}

impl Spent {
    /// All of it; `None` where no test says anything of money.
    pub fn total(&self) -> Option<i128> {
        let parts = [self.billed, self.judge, self.derived];
        parts
            .iter()
            .any(|part| part.n > 0)
            .then(|| parts.iter().map(|part| part.billionths).sum())
    }

    /// The same in dollars.
    pub fn dollars(&self) -> Option<f64> {
        self.total().map(dollars)
    }

    /// Tests of which it is known what they cost.
    pub fn priced(&self) -> u64 {
        self.billed.n.saturating_add(self.derived.n).min(self.tests)
    }

    /// Tests of which it is not.
    pub fn unknown(&self) -> u64 {
        self.tests.saturating_sub(self.priced())
    }

    /// Dollars a success.
    pub fn per_pass(&self) -> Option<f64> {
        let total = self.dollars()?;
        (self.full > 0).then(|| total / self.full as f64)
    }

    /// Dollars a test, of those with a cost.
    pub fn per_test(&self) -> Option<f64> {
        let total = self.dollars()?;
        (self.priced() > 0).then(|| total / self.priced() as f64)
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.tests += other.tests;
        self.full += other.full;
        self.billed.add(&other.billed);
        self.judge.add(&other.judge);
        self.derived.add(&other.derived);
        self.unpriced += other.unpriced;
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}
