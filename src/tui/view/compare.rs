//! Two models on the tests that both had: the verdict in a sentence, the difference
//! with its interval in figures and as a picture, and what had no partner.

use ratatui::text::{Line, Span};

use super::overlay::{Content, paragraph};
use crate::monitor::observation::ModelView;
use crate::stats::paired::{Comparison, Difference, Method, TIE, Verdict};
use crate::tui::format::{interval, percent, plural, thousands};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// Cells of the labels at the left.
const LABEL: usize = 20;

/// The comparison of two models.
pub(super) fn content(model: &Model, both: &[String; 2], width: u16) -> Content {
    let [first, second] = both.each_ref().map(|name| text::name(name).into_owned());
    let title = title(&first, &second, width);
    let compared = model
        .compared
        .as_ref()
        .filter(|compared| compared.both == *both);
    let mut lines =
        match compared.and_then(|compared| compared.result.as_ref().or(compared.shown.as_ref())) {
            None => vec![
                Line::default(),
                Line::from(model.span(Role::Dim, " reading their tests …")),
            ],
            Some(Err(why)) => {
                let cells = usize::from(width).saturating_sub(2);
                std::iter::once(Line::default())
                    .chain(paragraph(model, Role::Warning, why, cells))
                    .collect()
            }
            Some(Ok(found)) => figures(model, found, [&first, &second], width),
        };
    lines.extend(all_tests(model, both, width));
    let how = "Tests pair by their task_id, or by their test_id where they have none, within the same prompt \
               type, difficulty, task type and tool success rate. What is hard for both cancels out, so the \
               difference is surer than the two intervals suggest.";
    lines.push(Line::default());
    lines.extend(paragraph(
        model,
        Role::Dim,
        how,
        usize::from(width).saturating_sub(2).min(100),
    ));
    Content::new(title, lines)
}

/// Both names, cut where they would not both fit.
fn title(first: &str, second: &str, width: u16) -> String {
    const BETWEEN: &str = " AGAINST ";
    let room = usize::from(width).saturating_sub(2 + BETWEEN.len());
    let first = text::truncate_middle(
        first,
        room.saturating_sub(text::width(second)).max(room / 2),
    );
    let second = text::truncate_middle(second, room.saturating_sub(text::width(&first)));
    format!("{first}{BETWEEN}{second}")
}

fn figures(model: &Model, found: &Comparison, names: [&str; 2], width: u16) -> Vec<Line<'static>> {
    let cells = usize::from(width).saturating_sub(2);
    let mut lines = vec![Line::default()];
    lines.extend(paragraph(
        model,
        Role::Title,
        &sentence(found, names),
        cells,
    ));
    let mut pairs = plural(found.pairs, "pair");
    if found.tests < found.pairs {
        pairs = format!("{pairs} of {}", plural(found.tests, "test"));
    }
    if let Some(difference) = &found.difference {
        pairs.push_str(", ");
        pairs.push_str(&method(difference));
    }
    lines.extend(paragraph(model, Role::Dim, &pairs, cells));
    lines.push(Line::default());
    if let Some(difference) = &found.difference {
        lines.extend(picture(model, difference, names, width));
        lines.push(Line::default());
    }
    lines.push(row(
        model,
        "",
        [names[0].to_owned(), names[1].to_owned()],
        width,
    ));
    let rates = [found.first_rate, found.second_rate]
        .map(|rate| percent((found.pairs > 0).then_some(rate)));
    lines.push(row(model, "full success, pairs", rates, width));
    let only = [found.only_first, found.only_second].map(|n| thousands(n.round() as u64));
    lines.push(row(model, "only it passed", only, width));
    let unmatched = [found.unmatched_first, found.unmatched_second].map(thousands);
    lines.push(row(model, "tests unmatched", unmatched, width));
    lines
}

fn row(model: &Model, label: &str, figures: [String; 2], width: u16) -> Line<'static> {
    let cells = (usize::from(width).saturating_sub(LABEL + 6) / 2).clamp(8, 24);
    let mut line = Line::from(model.span(Role::Dim, format!(" {}", text::left(label, LABEL))));
    for figure in figures {
        line.push_span(model.span(
            Role::Text,
            text::right(&text::truncate_middle(&figure, cells), cells),
        ));
        line.push_span(Span::raw("  "));
    }
    line
}

fn points(rate: f64) -> String {
    format!("{:+.1}", rate * 100.0)
}

/// The verdict.
fn sentence(found: &Comparison, [first, second]: [&str; 2]) -> String {
    let Some(difference) = &found.difference else {
        return match found.pairs {
            0 => {
                "No test of the one has a partner among those of the other: they can't be compared."
                    .to_owned()
            }
            _ => "Both had a single task: that says nothing of others.".to_owned(),
        };
    };
    match difference.verdict {
        Verdict::Separated => {
            let (better, worse) = if difference.value > 0.0 {
                (first, second)
            } else {
                (second, first)
            };
            let by = difference.value.abs() * 100.0;
            format!("Separated: {better} passes {by:.1} points more than {worse}.")
        }
        Verdict::Tied => format!(
            "Tied: the difference is less than {:.0} points either way.",
            TIE * 100.0
        ),
        Verdict::More(n) => {
            let tests = if n == 1 { "test" } else { "tests" };
            format!(
                "Not decided: about {} more {tests} of both would do it.",
                thousands(rounded(n))
            )
        }
    }
}

/// How the interval was found.
fn method(difference: &Difference) -> String {
    match difference.method {
        Method::Normal => "one trial of each test".to_owned(),
        Method::Exact => match difference.p {
            Some(p) if p < 0.001 => "few of them differ: exact test, p < 0.001".to_owned(),
            Some(p) => format!("few of them differ: exact test, p = {p:.3}"),
            None => "few of them differ: exact test".to_owned(),
        },
        Method::Clustered => "clustered by task: some were tried more than once".to_owned(),
    }
}

/// Two significant digits: more would promise too much.
fn rounded(n: u64) -> u64 {
    let unit = 10_u64.pow(n.checked_ilog10().unwrap_or(0).saturating_sub(1));
    n.div_ceil(unit) * unit
}

/// The difference in figures, and its interval on a scale around zero.
fn picture(
    model: &Model,
    difference: &Difference,
    [first, second]: [&str; 2],
    width: u16,
) -> Vec<Line<'static>> {
    let (low, high) = (difference.interval.low, difference.interval.high);
    let figures = Line::from(vec![
        model.span(Role::Dim, format!(" {}", text::left("difference", LABEL))),
        model.span(Role::Title, points(difference.value)),
        model.span(Role::Dim, " points   95% CI "),
        model.span(Role::Text, format!("{} to {}", points(low), points(high))),
    ]);
    let cells = usize::from(width).saturating_sub(4).min(81) | 1;
    // The scale ends at a round number beyond the interval, the same on both sides.
    let most = [0.05, 0.1, 0.2, 0.5]
        .into_iter()
        .find(|end| low.abs().max(high.abs()) <= *end)
        .unwrap_or(1.0);
    let cell = |rate: f64| {
        ((f64::midpoint(rate / most, 1.0) * (cells - 1) as f64).round() as usize)
            .min(cells.saturating_sub(1))
    };
    let (low, at, high) = (cell(low), cell(difference.value), cell(high));
    let symbol = |x: usize| match x {
        x if x == at => (Role::Title, '●'),
        x if x == low => (Role::Bar, '├'),
        x if x == high => (Role::Bar, '┤'),
        x if x > low && x < high => (Role::Bar, '─'),
        x if x == cells / 2 => (Role::Dim, '│'),
        _ => (Role::Rest, '·'),
    };
    let mut scale = Line::from(" ");
    for x in 0..cells {
        let (role, symbol) = symbol(x);
        scale.push_span(model.span(role, symbol.to_string()));
    }
    let end = format!("{:.0}", most * 100.0);
    let half = cells / 2;
    let side = |name: &str| {
        let before = format!("{end} for ");
        format!(
            "{before}{}",
            text::truncate_middle(name, half.saturating_sub(before.len()))
        )
    };
    let left = text::left(&side(second), half);
    let right = text::right(&side(first), cells - half - 1);
    let ends = Line::from(model.span(Role::Dim, format!(" {left}0{right}")));
    vec![figures, Line::default(), scale, ends]
}

/// What the two have in all, paired or not.
fn all_tests(model: &Model, both: &[String; 2], width: u16) -> Vec<Line<'static>> {
    let views: Vec<Option<&ModelView>> = both
        .iter()
        .map(|name| {
            model
                .seen
                .iter()
                .flat_map(|seen| &seen.models)
                .find(|m| m.model == *name)
        })
        .collect();
    let figure = |view: Option<&ModelView>| {
        let Some(view) = view else {
            return "–".to_owned();
        };
        let ci = view
            .interval()
            .map(|i| format!(" ({})", interval(i.low, i.high)))
            .unwrap_or_default();
        format!("{}{ci}", percent(view.tally.success_rate()))
    };
    let [Some(first), Some(second)] = [views.first(), views.get(1)] else {
        return Vec::new();
    };
    vec![row(
        model,
        "full success, all",
        [figure(*first), figure(*second)],
        width,
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_leaves_room_for_the_other_one() {
        let long =
            "somebody/a-very-long-name-of-a-model-with-everything-in-it-2026-01-31-instruct-fp8";
        assert_eq!(title("a", "b", 40), "a AGAINST b");
        assert!(
            title(long, "gpt-4o", 80).ends_with("instruct-fp8 AGAINST gpt-4o"),
            "{}",
            title(long, "gpt-4o", 80)
        );
        for (first, second) in [(long, "gpt-4o"), ("gpt-4o", long), (long, long)] {
            let found = title(first, second, 80);
            assert!(
                text::width(&found) == 78 && found.contains(" AGAINST "),
                "{found}"
            );
            assert!(!found.ends_with('…'), "{found}");
        }
    }

    #[test]
    fn numbers_of_tests_are_rounded_up_to_two_digits() {
        for (n, shown) in [
            (1, 1),
            (9, 9),
            (99, 99),
            (101, 110),
            (1_234, 1_300),
            (98_765, 99_000),
        ] {
            assert_eq!(rounded(n), shown);
        }
    }
}
