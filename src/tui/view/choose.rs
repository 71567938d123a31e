//! Lists to choose from: sessions, metrics, the last failures of a model.

use ratatui::text::Line;

use super::drill::failures;
use super::facts::widest;
use super::overlay::Content;
use crate::stats::metric::Metric;
use crate::stats::paired::Verdict;
use crate::text::numbers::{count, dollars, percent};
use crate::text::width;
use crate::tui::state::model::{Model, SessionList, SessionRow};
use crate::tui::view::theme::Role;

/// Cells of the difference to the session before.
const AGAINST: usize = 17;

/// Marks the selected row.
fn row(model: &Model, selected: bool, marked: bool, text: String) -> Line<'static> {
    let sign = match (selected, marked) {
        (true, true) => "◆",
        (false, true) => "●",
        (true, false) => "›",
        (false, false) => " ",
    };
    let role = if selected { Role::Title } else { Role::Text };
    Line::from(vec![model.span(Role::Text, sign), model.span(role, text)])
}

fn waiting(model: &Model, title: &str, found: Option<&String>) -> Content {
    let text = found.map_or_else(
        || " reading …".to_owned(),
        |why| format!(" {}", width::clean(why)),
    );
    let role = if found.is_some() {
        Role::Warning
    } else {
        Role::Dim
    };
    Content::new(title, vec![Line::from(model.span(role, text))])
}

/// The sessions, the newest first; above them all of them together.
pub(super) fn sessions(model: &Model, at: usize, wide: u16) -> Content {
    const TITLE: &str = "SESSIONS";
    let SessionList { metric, rows } = match &model.sessions {
        Some(Ok(list)) => list,
        Some(Err(why)) => return waiting(model, TITLE, Some(why)),
        None => return waiting(model, TITLE, None),
    };
    let money = rows.iter().any(|row| row.cost.is_some());
    let (cost, last) = (if money { 10 } else { 0 }, if wide >= 96 { 18 } else { 0 });
    let what = if metric.is_success() {
        "SUCCESS".to_owned()
    } else {
        width::truncate_middle(&width::name(&metric.name), 8)
    };
    let fixed = 1 + 12 + 8 + 9 + cost + AGAINST + last;
    let room = usize::from(wide).saturating_sub(fixed + 1).max(8);
    let name = widest(rows.iter().map(|row| row.session.id.as_str())).clamp(12, room.max(12));
    let head = format!(
        " {}{}{}{}{}{}{}",
        width::left("SESSION", name),
        width::left(" STATE", 12),
        width::right("TESTS", 8),
        width::right(&what, 9),
        width::right("COST", cost),
        width::left("  AGAINST LAST", AGAINST),
        width::left("  LAST ROW", last),
    );
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    let shown = model
        .seen
        .as_ref()
        .and_then(|seen| seen.only_session.clone());
    let all = format!(
        "all {}{}",
        rows.len(),
        if shown.is_none() { " ◂" } else { "" }
    );
    lines.push(row(model, at == 0, false, width::left(&all, name)));
    for (number, own) in rows.iter().enumerate() {
        let id = &own.session.id;
        // Of the session that runs more is known than what its rows say.
        let live = model.seen.as_ref().and_then(|seen| seen.session.as_ref());
        let live = live.filter(|live| live.id.as_ref() == Some(id));
        let state = live.map(|live| live.state).or(own.state);
        let state = state.map_or("", <&str>::from);
        let here = if shown.as_ref() == Some(id) {
            " ◂"
        } else {
            ""
        };
        let level = own.level.map_or_else(
            || "–".to_owned(),
            |level| {
                if metric.is_success() {
                    percent(Some(level))
                } else {
                    metric.brief(level)
                }
            },
        );
        let text = format!(
            "{}{}{}{}{}{}{}",
            width::left(
                &format!(
                    "{}{here}",
                    width::left_middle(&width::name(id), name.saturating_sub(2)).trim_end()
                ),
                name
            ),
            width::left(&format!(" {state}"), 12),
            width::right(&count(own.session.tests, 7), 8),
            width::right(&level, 9),
            width::right(&own.cost.map_or_else(|| "–".to_owned(), dollars), cost),
            width::left(&format!("  {}", against(metric, own)), AGAINST),
            width::left(&format!("  {}", last_row(model, own)), last),
        );
        let marked = model.marked_sessions.contains(id);
        lines.push(row(model, at == number + 1, marked, text));
    }
    Content::list(TITLE, lines, 1, at)
}

fn against(metric: &Metric, row: &SessionRow) -> String {
    let Some(difference) = row.against.as_ref().and_then(|found| found.difference) else {
        return "–".to_owned();
    };
    let word = match difference.verdict {
        Verdict::Separated if metric.gain(difference.value) > 0.0 => "better",
        Verdict::Separated => "worse",
        Verdict::Tied => "tied",
        Verdict::More(_) => "undecided",
    };
    let sign = if difference.value < 0.0 { "" } else { "+" };
    let shown = if metric.is_success() {
        metric.signed(difference.value)
    } else {
        format!("{sign}{}", metric.brief(difference.value))
    };
    format!("{shown} {word}")
}

fn last_row(model: &Model, row: &SessionRow) -> String {
    let at = row.session.last;
    let at = at.and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    at.map_or_else(|| "–".to_owned(), |at| model.clock(at))
}

/// What can be measured, the success rate first.
pub(super) fn metrics(model: &Model, at: usize) -> Content {
    const TITLE: &str = "METRIC";
    let names = match &model.metrics {
        Some(Ok(names)) => names,
        Some(Err(why)) => return waiting(model, TITLE, Some(why)),
        None => return waiting(model, TITLE, None),
    };
    let head = " what the header, the bars, the history and comparisons show";
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    for (number, name) in names.iter().enumerate() {
        lines.push(row(
            model,
            number == at,
            false,
            width::name(name).into_owned(),
        ));
    }
    Content::list(TITLE, lines, 1, at)
}

/// The last failures of a model, to open one.
pub(super) fn failed(model: &Model, name: &str, at: usize, wide: u16) -> Content {
    let only = model
        .seen
        .as_ref()
        .and_then(|seen| seen.only_session.as_ref());
    // What failed last is known of all sessions together.
    let all = if only.is_some() { ", ALL SESSIONS" } else { "" };
    let title = format!("FAILED TESTS OF {}{all}", width::name(name));
    let lines = failures::list(model, name, wide);
    let lines = lines
        .into_iter()
        .enumerate()
        .map(|(number, text)| row(model, number == at, false, text))
        .collect();
    Content::list(title, lines, 0, at)
}
