//! A model fails far more often than it usually does.

use super::{Finding, Remedy, Rule, Severity};
use crate::config::Thresholds;
use crate::observation::{ModelView, Observation};

/// A failure burst ([`crate::stats::burst`]).
pub(super) struct FailureBurst;

impl Rule for FailureBurst {
    fn name(&self) -> &'static str {
        "failure_burst"
    }

    fn explanation(&self) -> &'static str {
        "A sudden run of failures is more often a rate limit, an expired key or a changed endpoint than the model. \
         Tests that fail like this count against the model, so stop its runner, mend the cause and run them again: \
         the newest attempt counts."
    }

    fn findings(&self, seen: &Observation, _: &Thresholds) -> Vec<Finding> {
        seen.models.iter().filter_map(finding).collect()
    }
}

fn finding(model: &ModelView) -> Option<Finding> {
    let burst = model.burst.as_ref()?;
    let message = format!(
        "{}: {} of last {} failed (usual {:.0}%)",
        model.model,
        burst.failed,
        burst.of,
        burst.usual * 100.0
    );
    let detail = burst.category.map(|category| {
        let name: &'static str = category.into();
        format!("Most of these failures are of the category {name}.")
    });
    let found = Finding::new(Severity::Warning, message, Remedy::Errors).about(&model.model);
    Some(found.detail(detail.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Burst;
    use crate::stats::ErrorCategory;

    #[test]
    fn names_the_model_and_what_is_usual() {
        let burst = Burst {
            failed: 31,
            of: 40,
            usual: 0.343,
            category: Some(ErrorCategory::Infrastructure),
        };
        let bursting = ModelView {
            model: "DeepSeek-V3-0324".into(),
            burst: Some(burst),
            ..ModelView::default()
        };
        let models = vec![
            ModelView {
                model: "calm".into(),
                ..ModelView::default()
            },
            bursting,
        ];
        let seen = Observation {
            models,
            ..Observation::default()
        };
        let found = FailureBurst.findings(&seen, &Thresholds::default());
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "DeepSeek-V3-0324: 31 of last 40 failed (usual 34%)"
        );
        assert_eq!(found[0].subject.as_deref(), Some("DeepSeek-V3-0324"));
        assert_eq!(
            found[0].detail,
            "Most of these failures are of the category infrastructure."
        );
    }
}
