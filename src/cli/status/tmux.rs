//! `status --format tmux`: one short line for a status bar.

use super::text::symbol;
use crate::config::show_count;
use crate::health::worst;
use crate::observation::Observation;
use crate::text::sanitise::{sanitise, truncate};

/// Columns for the worst alert.
const ALERT: usize = 40;

/// "✓ 12,406 tests 51.8% 41.3/min", with the worst alert where there is one.
pub(crate) fn render(seen: &Observation) -> String {
    let mut parts = vec![symbol(worst(&seen.alerts)).to_owned()];
    if seen.has_figures() {
        parts.push(format!("{} tests", show_count(seen.totals.tests)));
        parts.extend(
            seen.totals
                .success_rate()
                .map(|rate| format!("{:.1}%", rate * 100.0)),
        );
        let cost = seen.spending.as_ref().and_then(|view| view.all.dollars());
        parts.extend(cost.map(crate::text::numbers::dollars));
        if seen.per_minute > 0.0 {
            parts.push(format!("{:.1}/min", seen.per_minute));
        }
        // One word for the writers, that of those who most need eyes.
        parts.extend(writers(seen));
    }
    if let Some((first, others)) = seen.alerts.split_first() {
        parts.push(truncate(&sanitise(&first.message), ALERT).into_owned());
        if !others.is_empty() {
            parts.push(format!("+{}", others.len()));
        }
    }
    // tmux reads #[…] as a style and #(…) as a command; doubled, it is a plain #.
    parts.join(" ").replace('#', "##") + "\n"
}

/// "7 live", "1 lost": the first state of those that need eyes, else of those at work.
fn writers(seen: &Observation) -> Option<String> {
    let state = seen.writers.iter().map(|writer| writer.state).min()?;
    let count = seen.writers.iter().filter(|w| w.state == state).count();
    Some(format!("{count} {}", <&str>::from(state)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::forms::sample;
    use crate::text::sanitise::width;

    #[test]
    fn is_one_short_line_that_steers_nothing() {
        let line = render(&sample::busy());
        assert!(
            line.starts_with("▲ 12,400 tests 50.0% 41.3/min 1 stalled node7:48213 (evil"),
            "{line}"
        );
        assert!(
            line.ends_with(" +1\n") && line.matches('\n').count() == 1,
            "{line}"
        );
        assert!(!line.trim_end().contains(char::is_control), "{line}");
        assert!(width(&line) < 90, "{line}");
        let mut seen = sample::busy();
        "#[bg=red]".clone_into(&mut seen.alerts[0].message);
        assert!(render(&seen).contains(" ##[bg=red] "));
    }

    #[test]
    fn without_figures_there_is_only_the_alert() {
        assert_eq!(
            render(&sample::torn()),
            "✗ test_results.parquet can't be read as P…\n"
        );
        assert_eq!(render(&Observation::default()), "✓ 0 tests\n");
    }
}
