//! What the tests cost against what they may.

use super::{Finding, Remedy, Rule, Severity};
use crate::config::Thresholds;
use crate::observation::Observation;
use crate::text::numbers::dollars;

/// The budget is spent, or will be before the plan is done.
pub(super) struct Budget;

impl Rule for Budget {
    fn name(&self) -> &'static str {
        "budget"
    }

    fn explanation(&self) -> &'static str {
        "What the tests cost, as billed in their rows and by the prices of their tokens, against the limit of \
         --budget or of the settings. The forecast takes the tests that are left at the mean of those so far. \
         'run --max-cost' stops starting tests; other runners have to be stopped by hand."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        let Some(view) = &seen.spending else {
            return Vec::new();
        };
        let (Some(limit), Some(spent)) = (view.limit, view.all.dollars()) else {
            return Vec::new();
        };
        let [so_far, limit_shown] = [spent, limit].map(dollars);
        let message = if spent >= limit {
            format!("{so_far} spent, the budget is {limit_shown}")
        } else if let Some(forecast) = view.forecast.filter(|forecast| *forecast > limit) {
            let end = dollars(forecast);
            format!("{so_far} spent, {end} at the end of the plan, the budget is {limit_shown}")
        } else {
            return Vec::new();
        };
        vec![Finding::new(Severity::Warning, message, Remedy::None)]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::spending::{SpendingView, Spent};
    use crate::stats::money::Money;

    #[test]
    fn a_budget_that_is_spent_or_will_be_is_a_warning() {
        let of = |billionths: i128, forecast, limit| {
            let view = SpendingView {
                all: Spent {
                    tests: 1,
                    billed: Money { n: 1, billionths },
                    ..Spent::default()
                },
                forecast,
                limit,
                ..SpendingView::default()
            };
            let seen = Observation {
                spending: Some(Arc::new(view)),
                ..Observation::default()
            };
            let found = Budget.findings(&seen, &Thresholds::default());
            found.into_iter().map(|own| own.message).next()
        };
        let spent = 50_000_000_000;
        assert_eq!(of(spent, None, None), None);
        assert_eq!(of(spent - 1, Some(49.9), Some(50.0)), None);
        let at = of(spent, Some(60.0), Some(50.0));
        assert_eq!(at.as_deref(), Some("$50.00 spent, the budget is $50.00"));
        let ahead = of(14_200_000_000, Some(61.4), Some(50.0));
        assert_eq!(
            ahead.as_deref(),
            Some("$14.20 spent, $61.40 at the end of the plan, the budget is $50.00")
        );
    }
}
