//! Bars as SVG: a scale from 0 to 100 %, whiskers for the intervals, figures behind.
//! Plain elements and a system font, so that every viewer and LaTeX converter shows it.

use std::fmt::Write as _;

use super::Bar;
use crate::config::show_count;
use crate::formats::text::{sanitise, width};

const ROW: usize = 24;
const SCALE: usize = 400;
const TOP: usize = 12;
const BOTTOM: usize = 28;
/// Pixels that a character takes at most at this size of the font.
const CHARACTER: usize = 8;
const FIGURES: usize = 150;

/// A whole SVG document.
pub fn render(bars: &[Bar]) -> String {
    let labels: Vec<_> = bars
        .iter()
        .map(|bar| sanitise(&bar.label).into_owned())
        .collect();
    let left = labels.iter().map(|label| width(label)).max().unwrap_or(0) * CHARACTER + 16;
    let bottom = TOP + bars.len() * ROW;
    let (wide, high) = (left + SCALE + FIGURES, bottom + BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{high}\" \
         viewBox=\"0 0 {wide} {high}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Success rates with 95 % intervals</title>\n\
         <rect width=\"{wide}\" height=\"{high}\" fill=\"white\"/>\n"
    );
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

fn escape(text: &str) -> String {
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
        let svg = render(&[bar, none]);
        let left = 7 * CHARACTER + 16;
        assert!(
            svg.contains("a&lt;b &amp; c")
                && svg.contains("50.0%, n = 48")
                && svg.contains("n = 0")
        );
        assert!(svg.contains("width=\"200.0\""), "half the scale");
        assert!(
            svg.contains(&format!("M{}.0 24H{}.0", left + 100, left + 300)),
            "{svg}"
        );
        assert_eq!(svg.matches("<path").count(), 1);
    }
}
