//! Differences with their intervals as SVG: a line for each, around the one at zero.

use std::fmt::Write as _;

use super::svg::{CHARACTER, escape, head};
use crate::text::sanitise::{sanitise, width};

const ROW: usize = 24;
const SCALE: f64 = 400.0;
const TOP: usize = 48;
const BOTTOM: usize = 28;
const FIGURES: usize = 190;

/// A difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Whisker {
    /// Whose it is.
    pub label: String,
    /// The difference and its interval; `None` where nothing can be said.
    pub found: Option<(f64, [f64; 2])>,
    /// Whether it is significant.
    pub significant: bool,
    /// What stands behind it.
    pub figures: String,
}

/// A whole SVG document; `show` writes a number of the scale.
pub fn render(
    whiskers: &[Whisker],
    title: &str,
    below: &str,
    show: impl Fn(f64) -> String,
) -> String {
    let labels: Vec<_> = whiskers.iter().map(|of| sanitise(&of.label)).collect();
    let left = labels.iter().map(|label| width(label)).max().unwrap_or(0) * CHARACTER + 16;
    let bottom = TOP + whiskers.len() * ROW;
    let wide = left + SCALE as usize + FIGURES;
    let mut svg = head(title, below, [wide, bottom + BOTTOM]);
    let ends = whiskers.iter().filter_map(|of| of.found);
    let ends = ends.flat_map(|(value, [low, high])| [value, low, high]);
    let most = ends
        .map(f64::abs)
        .filter(|end| end.is_finite())
        .fold(0.0, f64::max);
    let most = if most > 0.0 { most } else { 1.0 };
    let x = |value: f64| {
        let share = (value / most).clamp(-1.0, 1.0);
        left as f64 + SCALE / 2.0 * (1.0 + share)
    };
    // Writing to a string can't fail.
    for share in [-1.0, -0.5, 0.0, 0.5, 1.0] {
        let (at, colour) = (x(share * most), if share == 0.0 { "#888" } else { "#ddd" });
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            bottom + 18,
            escape(&show(share * most))
        );
    }
    for (at, (of, label)) in whiskers.iter().zip(&labels).enumerate() {
        let middle = TOP + at * ROW + ROW / 2;
        let (upper, lower) = (middle - 4, middle + 4);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            left - 8,
            middle + 5,
            escape(label),
            left + SCALE as usize + 10,
            middle + 5,
            escape(&sanitise(&of.figures))
        );
        if let Some((value, [low, high])) = of.found {
            let (from, to, value) = (x(low), x(high), x(value));
            let colour = if of.significant { "#1f5f9e" } else { "#777" };
            let _ = writeln!(
                svg,
                "<path d=\"M{from:.1} {middle}H{to:.1}M{from:.1} {upper}V{lower}M{to:.1} {upper}V{lower}\" \
                 stroke=\"{colour}\" stroke-width=\"1.5\" fill=\"none\"/>\
                 <circle cx=\"{value:.1}\" cy=\"{middle}\" r=\"4\" fill=\"{colour}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_lie_around_zero() {
        let whisker = Whisker {
            label: "a – b<c".to_owned(),
            found: Some((0.1, [-0.1, 0.2])),
            significant: false,
            figures: "+10.0, n = 48".to_owned(),
        };
        let none = Whisker {
            found: None,
            ..whisker.clone()
        };
        let svg = render(
            &[whisker, none],
            "by <model>",
            "my_store, n = 48",
            |value| format!("{:+.0}", value * 100.0),
        );
        let left = 7 * CHARACTER + 16;
        assert!(
            svg.contains(&format!("M{}.0 60H{}.0", left + 100, left + 400)),
            "{svg}"
        );
        assert!(
            svg.contains(&format!("<circle cx=\"{}.0\"", left + 300)),
            "{svg}"
        );
        assert!(
            svg.contains("b&lt;c") && svg.contains(">+20</text>") && svg.contains(">-20</text>")
        );
        assert_eq!(svg.matches("<circle").count(), 1);
    }
}
