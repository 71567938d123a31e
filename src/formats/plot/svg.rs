//! Bars as SVG: a scale from 0 to 100 %, whiskers for the intervals, figures behind.
//! Plain elements and a system font, so that every viewer and LaTeX converter shows it.

use std::fmt::Write as _;

use super::Bar;
use crate::config::show_count;
use crate::text::sanitise::{sanitise, width};

const ROW: usize = 24;
const SCALE: usize = 400;
const TOP: usize = 48;
const BOTTOM: usize = 28;
/// Pixels that a character takes at most at this size of the font.
pub(super) const CHARACTER: usize = 8;
const FIGURES: usize = 150;

/// A whole SVG document. `title` says what is shown, `below` of which store, when, and of how many
/// tests.
pub fn render(bars: &[Bar], title: &str, below: &str) -> String {
    let labels: Vec<_> = bars
        .iter()
        .map(|bar| sanitise(&bar.label).into_owned())
        .collect();
    let left = labels.iter().map(|label| width(label)).max().unwrap_or(0) * CHARACTER + 16;
    let bottom = TOP + bars.len() * ROW;
    let mut svg = head(title, below, [left + SCALE + FIGURES, bottom + BOTTOM]);
    // Writing to a string can't fail.
    for per_cent in [0, 25, 50, 75, 100] {
        let x = left + SCALE * per_cent / 100;
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{per_cent}%</text>",
            bottom + 18
        );
    }
    for (at, (bar, label)) in bars.iter().zip(&labels).enumerate() {
        let (top, middle) = (TOP + at * ROW + 5, TOP + at * ROW + ROW / 2);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 8,
            middle + 5,
            escape(label)
        );
        let x = |share: f64| left as f64 + SCALE as f64 * share;
        if let (Some(rate), Some((low, high))) = (bar.rate, bar.interval) {
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" fill=\"#4878a8\"/>",
                SCALE as f64 * rate,
                ROW - 10
            );
            let (from, to) = (x(low), x(high));
            let (upper, lower) = (middle - 4, middle + 4);
            let _ = writeln!(
                svg,
                "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {upper}V{lower}M{to:.1} {upper}V{lower}\" \
                 stroke=\"#111\" stroke-width=\"1.5\" fill=\"none\"/>"
            );
        }
        let figures = match bar.rate {
            Some(rate) => format!("{:.1}%, n = {}", rate * 100.0, show_count(bar.tests)),
            None => "n = 0".to_owned(),
        };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\">{figures}</text>",
            left + SCALE + 10,
            middle + 5
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// How a document of this size begins, wide enough for its words.
pub(super) fn head(title: &str, below: &str, [wide, high]: [usize; 2]) -> String {
    let (title, below) = (escape(&sanitise(title)), escape(&sanitise(below)));
    let words = width(&title).max(width(&below)) * CHARACTER + 16;
    let wide = wide.max(words);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         viewBox=\"0 0 {wide} {high}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"8\" y=\"38\" fill=\"#555\">{below}</text>\n"
    )
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_with_its_whiskers() {
        let bar = Bar {
            label: "a<b & c".to_owned(),
            rate: Some(0.5),
            interval: Some((0.25, 0.75)),
            tests: 48,
        };
        let none = Bar {
            label: "none".to_owned(),
            rate: None,
            interval: None,
            tests: 0,
        };
        let svg = render(&[bar, none], "success_rate by <model>", "my_store, n = 48");
        assert!(svg.contains("<title>success_rate by &lt;model&gt;</title>"));
        assert!(svg.contains(">my_store, n = 48</text>"));
        let left = 7 * CHARACTER + 16;
        assert!(
            svg.contains("a&lt;b &amp; c")
                && svg.contains("50.0%, n = 48")
                && svg.contains("n = 0")
        );
        assert!(svg.contains("width=\"200.0\""), "half the scale");
        assert!(
            svg.contains(&format!("M{}.0 60H{}.0", left + 100, left + 300)),
            "{svg}"
        );
        assert_eq!(svg.matches("<path").count(), 1);
    }
}
