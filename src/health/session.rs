//! The session as a whole, and models whose requests are turned away.

use super::{Finding, Remedy, Rule, Severity};
use crate::config::show_count;
use crate::observation::{Observation, SessionState};
use crate::text::numbers::span;

/// A session that ended with tests missing.
pub(super) struct IncompleteSession;

impl Rule for IncompleteSession {
    fn name(&self) -> &'static str {
        "incomplete_session"
    }

    fn explanation(&self) -> &'static str {
        "All writers of the session have ended, and fewer tests are there than were planned. Start the runner again: \
         what is there already need not be run."
    }

    fn findings(&self, seen: &Observation, _: &crate::config::Thresholds) -> Vec<Finding> {
        let Some(session) = &seen.session else {
            return Vec::new();
        };
        let over = !matches!(
            session.state,
            SessionState::Running | SessionState::Finishing
        );
        match session
            .planned
            .filter(|planned| over && session.done < *planned)
        {
            Some(planned) => {
                let state: &str = session.state.into();
                let (done, planned) = (show_count(session.done), show_count(planned));
                let message = format!("session {state} with {done} of {planned} tests");
                vec![Finding::new(Severity::Warning, message, Remedy::Writer)]
            }
            None => Vec::new(),
        }
    }
}

/// Models that wait more than they work.
pub(super) struct Throttled;

impl Rule for Throttled {
    fn name(&self) -> &'static str {
        "throttled"
    }

    fn explanation(&self) -> &'static str {
        "Requests of this model are turned away, mostly for a rate limit, and its tests wait to be tried again. \
         Nothing is lost, but the run takes longer: run fewer at once, or ask for a higher limit."
    }

    fn findings(&self, seen: &Observation, _: &crate::config::Thresholds) -> Vec<Finding> {
        let finding = |view: &crate::observation::ThrottleView| {
            let status = view
                .status
                .map_or_else(String::new, |status| format!(" ({status})"));
            let since = seen.at.duration_since(view.since).as_secs_f64();
            let message = format!(
                "{} throttled{status} for {}: {:.0} retries/min, {:.0}% of the time waiting",
                view.model,
                span(since),
                view.per_minute,
                view.share * 100.0
            );
            Finding::new(Severity::Warning, message, Remedy::Errors).about(&view.model)
        };
        let much = seen.throttled.iter().filter(|view| view.is_much());
        much.map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::Thresholds;
    use crate::observation::{SessionView, ThrottleView};

    #[test]
    fn a_session_with_tests_missing_is_a_warning_once_it_is_over() {
        use SessionState as S;
        let mut seen = Observation::default();
        let mut messages = |state, planned, done| {
            seen.session = Some(SessionView {
                state,
                id: None,
                planned,
                done,
                began: None,
                ended: None,
            });
            let found = IncompleteSession.findings(&seen, &Thresholds::default());
            found
                .into_iter()
                .map(|finding| finding.message)
                .collect::<Vec<_>>()
        };
        assert!(messages(S::Running, Some(600), 10).is_empty());
        assert!(messages(S::Finished, Some(600), 600).is_empty());
        assert!(messages(S::Dead, None, 600).is_empty());
        assert_eq!(
            messages(S::Dead, Some(600), 590),
            ["session dead with 590 of 600 tests"]
        );
    }

    #[test]
    fn a_few_retries_are_no_throttling() {
        let of = |per_minute, share| {
            let view = ThrottleView {
                model: "m".into(),
                per_minute,
                share,
                status: Some(429),
                since: Timestamp::UNIX_EPOCH,
            };
            let seen = Observation {
                at: Timestamp::from_second(540).unwrap(),
                throttled: vec![view],
                ..Observation::default()
            };
            Throttled
                .findings(&seen, &Thresholds::default())
                .pop()
                .map(|finding| finding.message)
        };
        assert_eq!(of(0.5, 0.9), None);
        assert_eq!(of(3.0, 0.1), None);
        let said = of(38.0, 0.61);
        assert_eq!(
            said.as_deref(),
            Some("m throttled (429) for 9m: 38 retries/min, 61% of the time waiting")
        );
        assert!(of(1.0, 0.3).is_some());
    }
}
