//! Rows of other places that stopped coming.

use super::{Finding, Remedy, Rule, Severity};
use crate::config::{Thresholds, show_duration};
use crate::observation::{Observation, SourceView};

/// A pull that goes on has not ended well for too long.
pub(super) struct StaleSources;

impl Rule for StaleSources {
    fn name(&self) -> &'static str {
        "stale_source"
    }

    fn explanation(&self) -> &'static str {
        "evaltop pull --follow takes rows from there, and has not ended well for three of its \
         rounds and two minutes. What that store has recorded since is not counted here. Look \
         whether the pull still runs and whether its host answers; it goes on where it ended, \
         and nothing is lost. Where it was ended on purpose, one pull without --follow says so."
    }

    fn findings(&self, seen: &Observation, _limits: &Thresholds) -> Vec<Finding> {
        let stale = seen.sources.iter().filter(|source| source.stale);
        let finding = |note: &SourceView| {
            let age = note.at.map_or_else(
                || "never pulled".to_owned(),
                |at| {
                    let age = seen.at.duration_since(at).as_secs_f64().max(0.0);
                    format!("last pulled {} ago", show_duration(age))
                },
            );
            let message = format!("{} {age}", note.name);
            let why = note.error.as_ref().map(|why| format!("{why}."));
            Finding::new(Severity::Warning, message, Remedy::None)
                .about(&note.name)
                .detail(why.unwrap_or_default())
        };
        stale.map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_source_that_stopped_is_named_with_its_age() {
        let at = Timestamp::from_second(1_769_860_800).unwrap();
        let find = |stale| {
            let seen = Observation {
                at: Timestamp::from_second(at.as_second() + 600).unwrap(),
                sources: vec![SourceView {
                    name: "node7:/runs".into(),
                    at: Some(at),
                    stale,
                    ..SourceView::default()
                }],
                ..Observation::default()
            };
            StaleSources.findings(&seen, &Thresholds::default())
        };
        assert_eq!(find(false), []);
        let found = find(true);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "node7:/runs last pulled 10m ago");
    }
}
