//! What the tests cost: by model, and what it comes to.

use ratatui::text::Line;

use super::facts::widest;
use super::overlay::{Content, paragraph};
use crate::observation::spending::{SpendingView, Spent};
use crate::stats::money;
use crate::text::numbers::{count, dollars, plural, span};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The pane.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let cells = usize::from(width).saturating_sub(2);
    let Some(view) = model.seen.as_ref().and_then(|seen| seen.spending.clone()) else {
        let how = "No row says what it cost, and none has tokens. Rows bring cost and judge_cost in dollars, or \
                   input_tokens, output_tokens, cache_read_tokens and cache_write_tokens, to which a price file \
                   gives a cost: evaltop --prices FILE, or prices in the settings.";
        let lines = std::iter::once(Line::default()).chain(paragraph(model, Role::Dim, how, cells));
        return Content::new("COST", lines.collect());
    };
    let mut lines = vec![Line::default()];
    for sentence in sentences(&view) {
        lines.extend(paragraph(model, Role::Text, &sentence, cells));
    }
    lines.push(Line::default());
    lines.extend(table(model, &view, width));
    Content::new("COST", lines)
}

fn sentences(view: &SpendingView) -> Vec<String> {
    let all = &view.all;
    let part = |own: money::Money, what: &str| {
        (own.n > 0).then(|| format!("{} {what}", dollars(money::dollars(own.billionths))))
    };
    let mut lines = Vec::new();
    match all.dollars() {
        None => lines.push("No test says what it cost.".to_owned()),
        Some(total) => {
            let parts = [
                part(all.billed, "billed"),
                part(all.judge, "billed for judging"),
                part(all.derived, "derived from the prices of tokens"),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            let each = all
                .per_pass()
                .map_or_else(String::new, |each| format!(", {} a success", dollars(each)));
            lines.push(format!("{}{each}: {}.", dollars(total), parts.join(", ")));
        }
    }
    if let Some(rate) = view.per_hour {
        lines.push(format!("{} an hour at the rate of now.", dollars(rate)));
    }
    if let Some(end) = view.forecast {
        let limit = view.limit.map_or_else(String::new, |limit| {
            format!(", the budget is {}", dollars(limit))
        });
        lines.push(format!(
            "{} when the plan is done, if the tests left cost what those so far did{limit}.",
            dollars(end)
        ));
    } else if let Some(limit) = view.limit {
        lines.push(format!("The budget is {}.", dollars(limit)));
    }
    if let Some(left) = lasts(view) {
        lines.push(format!("At the rate of now the budget lasts {left} more."));
    }
    if let Some(retried) = view.retried {
        lines.push(format!(
            "≈ {} more for attempts that newer ones replaced.",
            dollars(retried)
        ));
    }
    if all.unpriced > 0 {
        let names: Vec<String> = view
            .unpriced()
            .map(|(model, _)| width::name(model).into_owned())
            .take(5)
            .collect();
        lines.push(format!(
            "Not in it: {} of {} with tokens and without a price.",
            plural(all.unpriced, "test"),
            names.join(", ")
        ));
    }
    let silent = all.unknown().saturating_sub(all.unpriced);
    if silent > 0 {
        lines.push(format!(
            "Not in it: {} without cost and tokens.",
            plural(silent, "test")
        ));
    }
    if view.behind {
        lines.push("The derived part is of an earlier scan.".to_owned());
    }
    lines
}

/// A column: its title, its cells, the least width of the screen, what it shows.
type Shown = (&'static str, usize, u16, fn(&Spent) -> String);

const COLUMNS: [Shown; 8] = [
    ("COST", 10, 0, |own| or_dash(own.dollars())),
    ("$/PASS", 10, 0, |own| or_dash(own.per_pass())),
    ("TESTS", 9, 0, |own| count(own.tests, 8)),
    ("BILLED", 10, 70, |own| amount(own.billed)),
    ("JUDGE", 9, 92, |own| amount(own.judge)),
    ("DERIVED", 10, 80, |own| amount(own.derived)),
    ("TOKENS", 9, 100, |own| count(own.tokens, 8)),
    ("NO COST", 9, 72, |own| match own.unknown() {
        0 => "·".to_owned(),
        tests => count(tests, 8),
    }),
];

fn or_dash(amount: Option<f64>) -> String {
    amount.map_or_else(|| "–".to_owned(), dollars)
}

fn amount(own: money::Money) -> String {
    if own.n == 0 {
        return "·".to_owned();
    }
    dollars(money::dollars(own.billionths))
}

fn table(model: &Model, view: &SpendingView, width: u16) -> Vec<Line<'static>> {
    let columns: Vec<&Shown> = COLUMNS
        .iter()
        .filter(|(_, _, from, _)| width >= *from)
        .collect();
    let fixed: usize = columns.iter().map(|(_, cells, ..)| cells).sum();
    let room = usize::from(width).saturating_sub(fixed + 2);
    let name = widest(view.models.keys().map(String::as_str)).clamp(5, room.max(5));
    let mut head = format!(" {}", width::left("MODEL", name));
    for (title, cells, ..) in &columns {
        head.push_str(&width::right(title, *cells));
    }
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    let mut models: Vec<(&String, &Spent)> = view.models.iter().collect();
    models.sort_by_key(|(_, own)| std::cmp::Reverse(own.total().unwrap_or(-1)));
    let row = |title: &str, own: &Spent, role| {
        let mut line = Line::from(model.span(
            role,
            format!(" {}", width::left_middle(&width::name(title), name)),
        ));
        for (_, cells, _, show) in &columns {
            line.push_span(model.span(role, width::right(&show(own), *cells)));
        }
        line
    };
    if models.len() > 1 {
        lines.push(row("all", &view.all, Role::Title));
    }
    lines.extend(
        models
            .into_iter()
            .map(|(title, own)| row(title, own, Role::Text)),
    );
    lines
}

/// "$14.20 → $23.40 at end, limit $50.00": what the first rows say.
pub(super) fn short(view: &SpendingView) -> Option<String> {
    let mut text = dollars(view.all.dollars()?);
    if let Some(end) = view.forecast {
        text = format!("{text} → {} at end", dollars(end));
    }
    if let Some(limit) = view.limit {
        text = format!("{text}, limit {}", dollars(limit));
    }
    Some(text)
}

/// How long the budget lasts at the rate of now.
fn lasts(view: &SpendingView) -> Option<String> {
    let left = view.limit? - view.all.dollars()?;
    let rate = view.per_hour.filter(|rate| *rate > 0.0)?;
    (left > 0.0).then(|| span(left / rate * 3_600.0))
}
