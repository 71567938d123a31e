//! Two models on the tests that both had: the verdict in a sentence, the difference
//! with its interval in figures and as a picture, and what had no partner.

use ratatui::text::{Line, Span};

use super::overlay::{Content, paragraph};
use crate::observation::ModelView;
use crate::stats::metric::Metric;
use crate::stats::paired::{Comparison, Difference, HARDLY, Method, TIE, Verdict};
use crate::text::numbers::{interval, percent, plural, thousands};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// Cells of the labels at the left.
const LABEL: usize = 20;

/// The comparison of two models.
pub(super) fn content(model: &Model, both: &[String; 2], width: u16) -> Content {
    let [first, second] = both.each_ref().map(|name| width::name(name).into_owned());
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
    let first = width::truncate_middle(
        first,
        room.saturating_sub(width::width(second)).max(room / 2),
    );
    let second = width::truncate_middle(second, room.saturating_sub(width::width(&first)));
    format!("{first}{BETWEEN}{second}")
}

fn figures(model: &Model, found: &Comparison, names: [&str; 2], width: u16) -> Vec<Line<'static>> {
    let cells = usize::from(width).saturating_sub(2);
    let mut lines = vec![Line::default()];
    lines.extend(paragraph(
        model,
        Role::Title,
        &sentence(&metric_of(model, found), found, names),
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
        lines.extend(picture(
            model,
            difference,
            &metric_of(model, found),
            names,
            width,
        ));
        lines.push(Line::default());
    }
    lines.push(row(
        model,
        "",
        [names[0].to_owned(), names[1].to_owned()],
        width,
    ));
    let metric = metric_of(model, found);
    let rates = [found.first_rate, found.second_rate].map(|rate| {
        if found.pairs > 0 {
            metric.show(rate)
        } else {
            "–".to_owned()
        }
    });
    let only = [found.only_first, found.only_second].map(|n| thousands(n.round() as u64));
    if metric.is_success() {
        lines.push(row(model, "full success, pairs", rates, width));
        lines.push(row(model, "only it passed", only, width));
    } else {
        lines.push(row(model, "mean, pairs", rates, width));
        lines.push(row(model, "higher in", only, width));
    }
    let unmatched = [found.unmatched_first, found.unmatched_second].map(thousands);
    lines.push(row(model, "tests unmatched", unmatched, width));
    lines
}

fn row(model: &Model, label: &str, figures: [String; 2], width: u16) -> Line<'static> {
    let cells = (usize::from(width).saturating_sub(LABEL + 6) / 2).clamp(8, 24);
    let mut line = Line::from(model.span(Role::Dim, format!(" {}", width::left(label, LABEL))));
    for figure in figures {
        line.push_span(model.span(
            Role::Text,
            width::right(&width::truncate_middle(&figure, cells), cells),
        ));
        line.push_span(Span::raw("  "));
    }
    line
}

/// What was compared: the chosen metric where means were.
fn metric_of(model: &Model, found: &Comparison) -> Metric {
    let means = found
        .difference
        .is_some_and(|own| own.method == Method::PairedT);
    let chosen = model.seen.as_ref().and_then(|seen| seen.metric.as_ref());
    match chosen {
        Some(chosen) if means => chosen.metric.clone(),
        _ => Metric::default(),
    }
}

/// The verdict.
fn sentence(metric: &Metric, found: &Comparison, [first, second]: [&str; 2]) -> String {
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
            let (better, worse) = if metric.gain(difference.value) > 0.0 {
                (first, second)
            } else {
                (second, first)
            };
            if metric.is_success() {
                let by = difference.value.abs() * 100.0;
                return format!("Separated: {better} passes {by:.1} points more than {worse}.");
            }
            let by = metric.show(difference.value.abs());
            format!(
                "Separated: {better} is better than {worse} by {by} in {}.",
                width::name(&metric.name)
            )
        }
        Verdict::Tied if metric.is_success() => format!(
            "Tied: the difference is less than {:.0} points either way.",
            TIE * 100.0
        ),
        Verdict::Tied => format!("Tied: {}.", metric.within()),
        Verdict::More(HARDLY..) => "Not decided: further tests would hardly do it.".to_owned(),
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
        Method::PairedT => "paired t, clustered by task".to_owned(),
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
    metric: &Metric,
    [first, second]: [&str; 2],
    width: u16,
) -> Vec<Line<'static>> {
    let (low, high) = (difference.interval.low, difference.interval.high);
    let figures = Line::from(vec![
        model.span(Role::Dim, format!(" {}", width::left("difference", LABEL))),
        model.span(Role::Title, metric.difference(difference.value)),
        model.span(Role::Dim, "   95% CI "),
        model.span(
            Role::Text,
            format!("{} to {}", metric.signed(low), metric.signed(high)),
        ),
    ]);
    let cells = usize::from(width).saturating_sub(4).min(81) | 1;
    // Of a metric the scale is that of its size.
    let unit = if metric.is_success() {
        1.0
    } else {
        10_f64.powf(low.abs().max(high.abs()).max(1e-12).log10().ceil())
    };
    // The scale ends at a round number beyond the interval, the same on both sides.
    let most = [0.05, 0.1, 0.2, 0.5]
        .into_iter()
        .map(|end| end * unit)
        .find(|end| low.abs().max(high.abs()) <= *end)
        .unwrap_or(unit);
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
    let end = if metric.is_success() {
        format!("{:.0}", most * 100.0)
    } else {
        metric.show(most)
    };
    let half = cells / 2;
    let side = |name: &str| {
        let before = if metric.is_success() {
            format!("{end} for ")
        } else {
            format!("{end} more in ")
        };
        format!(
            "{before}{}",
            width::truncate_middle(name, half.saturating_sub(before.len()))
        )
    };
    let left = width::left(&side(second), half);
    let right = width::right(&side(first), cells - half - 1);
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
                .flat_map(|_| model.models())
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
                width::width(&found) == 78 && found.contains(" AGAINST "),
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
