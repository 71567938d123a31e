//! `status --format tmux`: one short line for a status bar.

use super::text::symbol;
use crate::config::show_count;
use crate::formats::text::{sanitise, truncate};
use crate::health::worst;
use crate::observation::Observation;

/// Columns for the worst alert.
const ALERT: usize = 40;

/// "✓ 12,406 tests 51.8% 41.3/min", with the worst alert where there is one.
pub(in crate::cli) fn render(seen: &Observation) -> String {
    let mut parts = vec![symbol(worst(&seen.alerts)).to_owned()];
    if seen.has_figures() {
        parts.push(format!("{} tests", show_count(seen.totals.tests)));
        parts.extend(
            seen.totals
                .success_rate()
                .map(|rate| format!("{:.1}%", rate * 100.0)),
        );
        if seen.per_minute > 0.0 {
            parts.push(format!("{:.1}/min", seen.per_minute));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::sample;
    use crate::formats::text::width;

    #[test]
    fn is_one_short_line_that_steers_nothing() {
        let line = render(&sample::busy());
        assert!(
            line.starts_with("▲ 12,400 tests 50.0% 41.3/min writer 48213 (evil"),
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
