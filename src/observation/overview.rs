//! A store in one line, for the list of many.

use super::alert::Severity;
use super::{Observation, StoreState};
use crate::text::numbers::{count, dollars, percent};
use crate::text::sanitise::sanitise;

/// Cells of a number of tests.
const COUNT: usize = 8;

/// What stands above the line's columns.
pub const TITLES: [&str; 6] = ["STATE", "TESTS", "SUCCESS", "/MIN", "COST", "ALERTS"];

/// What one line says of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    /// What its session is doing: "running 61%".
    pub state: String,
    /// Tests, each once.
    pub tests: u64,
    /// The share of them that succeeded.
    pub success: Option<f64>,
    /// Rows a minute now.
    pub per_minute: f64,
    /// Dollars.
    pub cost: Option<f64>,
    /// How bad the worst alert is.
    pub severity: Severity,
    /// How many alerts there are.
    pub alerts: usize,
    /// The worst one.
    pub alert: Option<String>,
    /// Whether the figures mean anything.
    pub known: bool,
}

impl Overview {
    /// What one scan says.
    pub fn of(seen: &Observation) -> Self {
        let worst = seen.alerts.iter().max_by_key(|alert| alert.severity);
        Self {
            state: state(seen),
            tests: seen.totals.tests,
            success: seen.totals.success_rate(),
            per_minute: seen.per_minute,
            cost: seen.spending.as_ref().and_then(|view| view.all.dollars()),
            severity: worst.map(|alert| alert.severity).unwrap_or_default(),
            alerts: seen.alerts.len(),
            alert: worst.map(|alert| sanitise(&alert.message).into_owned()),
            known: seen.has_figures(),
        }
    }

    /// The texts of its columns, without that of the alerts.
    pub fn cells(&self) -> [String; 5] {
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        let known = |text: String| or_nothing(self.known.then_some(text));
        [
            self.state.clone(),
            known(count(self.tests, COUNT)),
            percent(self.success),
            or_nothing((self.per_minute > 0.0).then(|| format!("{:.1}", self.per_minute))),
            or_nothing(self.cost.map(dollars)),
        ]
    }

    /// The worst alert, and how many more there are.
    pub fn alarm(&self) -> String {
        let more = self.alerts.saturating_sub(1);
        match (&self.alert, more) {
            (None, _) => String::new(),
            (Some(alert), 0) => alert.clone(),
            (Some(alert), more) => format!("{alert}  +{more}"),
        }
    }
}

fn state(seen: &Observation) -> String {
    match (&seen.state, &seen.session) {
        (StoreState::Missing, _) => "no store".to_owned(),
        (StoreState::Unreadable(_), _) if !seen.has_figures() => "unreadable".to_owned(),
        (_, None) => "–".to_owned(),
        (_, Some(session)) => {
            let name: &str = session.state.into();
            let planned = session.planned.filter(|planned| *planned > 0);
            match planned {
                None => name.to_owned(),
                Some(planned) => {
                    let share = 100 * session.done.min(planned) / planned;
                    format!("{name} {share}%")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{SessionState, SessionView};

    #[test]
    fn a_line_says_state_figures_and_the_worst_alert() {
        let mut seen = Observation::default();
        seen.totals.tests = 1_214;
        seen.totals.full = 600;
        seen.session = Some(SessionView {
            state: SessionState::Running,
            id: None,
            planned: Some(2_000),
            done: 1_214,
            began: None,
            ended: None,
        });
        let line = Overview::of(&seen);
        assert_eq!(line.cells()[..2], ["running 60%", "1,214"]);
        assert_eq!((line.cells()[3].as_str(), line.alarm().as_str()), ("–", ""));
        seen.state = StoreState::Unreadable("why".into());
        let line = Overview::of(&seen);
        assert_eq!(line.cells()[..2], ["unreadable", "–"]);
    }
}
