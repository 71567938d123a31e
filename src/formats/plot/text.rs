//! Bars of characters: solid up to the interval's lower end, lighter up to the rate,
//! lightest up to the upper end. The figures stand behind, since no bar is exact.

use super::Bar;
use crate::config::show_count;
use crate::text::sanitise::{sanitise, truncate, width};

/// The narrowest scale that still shows anything.
const NARROWEST: usize = 10;
/// Labels take no more than this share of a line.
const LABELS: usize = 3;

/// Characters for what lies surely below the rate, up to it, above it, beyond.
const SHADES: [char; 4] = ['█', '▓', '░', '·'];
/// The same where nothing but ASCII can be shown.
const ASCII: [char; 4] = ['#', '=', '-', '.'];

/// The bars, one a line of at most `columns` cells.
pub fn render(bars: &[Bar], columns: usize, ascii: bool) -> String {
    let shades = if ascii { ASCII } else { SHADES };
    let labels: Vec<_> = bars
        .iter()
        .map(|bar| sanitise(&bar.label).into_owned())
        .collect();
    let label = labels
        .iter()
        .map(|label| width(label))
        .max()
        .unwrap_or(0)
        .min(columns / LABELS);
    let figures: Vec<_> = bars.iter().map(|bar| figures(bar, ascii)).collect();
    let behind = figures
        .iter()
        .map(|figures| width(figures))
        .max()
        .unwrap_or(0);
    let scale = columns.saturating_sub(label + behind + 4).max(NARROWEST);
    let mut text = String::new();
    for ((bar, name), figures) in bars.iter().zip(&labels).zip(&figures) {
        let name = truncate(name, label);
        let drawn: String = (0..scale).map(|at| shade(bar, at, scale, shades)).collect();
        let pad = label.saturating_sub(width(&name));
        let line = format!("{name}{:pad$}  {drawn}  {figures:>behind$}", "");
        text.push_str(truncate(line.trim_end(), columns).as_ref());
        text.push('\n');
    }
    text
}

fn shade(bar: &Bar, at: usize, scale: usize, [sure, up_to, above, beyond]: [char; 4]) -> char {
    // The middle of the cell decides.
    let here = (at as f64 + 0.5) / scale as f64;
    let rate = bar.rate.unwrap_or(-1.0);
    let (low, high) = bar.interval.unwrap_or((rate, rate));
    match () {
        () if here < low => sure,
        () if here < rate => up_to,
        () if here < high => above,
        () => beyond,
    }
}

fn figures(bar: &Bar, ascii: bool) -> String {
    let tests = show_count(bar.tests);
    let dash = if ascii { '-' } else { '–' };
    match (bar.rate, bar.interval) {
        (Some(rate), Some((low, high))) => {
            format!(
                "{:.1}%  {:.0}{dash}{:.0}  n {tests}",
                rate * 100.0,
                low * 100.0,
                high * 100.0
            )
        }
        _ => format!("n {tests}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bars() -> Vec<Bar> {
        let bar = |label: &str, rate: f64, low: f64, high: f64, tests| Bar {
            label: label.to_owned(),
            rate: Some(rate),
            interval: Some((low, high)),
            tests,
        };
        vec![
            bar("claude-opus-4.1", 0.776, 0.75, 0.8, 1_302),
            bar(
                "模型 with a name that is far too long to be shown in full",
                0.2,
                0.05,
                0.5,
                9,
            ),
            Bar {
                label: "none\u{1b}[31m".to_owned(),
                rate: None,
                interval: None,
                tests: 0,
            },
        ]
    }

    #[test]
    fn bars_and_figures() {
        insta::assert_snapshot!(render(&bars(), 72, false), @r"
        claude-opus-4.1           █████████████████▓·····  77.6%  75–80  n 1,302
        模型 with a name that i…  █▓▓▓▓░░░░░░············       20.0%  5–50  n 9
        none�[31m                 ·······················                    n 0
        ");
        let ascii = render(&bars()[..1], 72, true);
        assert!(ascii.is_ascii() && ascii.contains("#=-."), "{ascii}");
        for columns in [20, 40, 80, 200] {
            assert!(
                render(&bars(), columns, false)
                    .lines()
                    .all(|line| width(line) <= columns),
                "{columns}"
            );
        }
    }
}
