//! The question or the running job, in place of the activity: it never covers the
//! models.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{fit, gauge, heading, layout, with_right};
use crate::jobs::Plan;
use crate::text::numbers::{plural, thousands};
use crate::text::width;
use crate::tui::input::action::Action;
use crate::tui::state::model::{Entry, ExportForm, Model, Prompt, Running};
use crate::tui::update::title;
use crate::tui::view::theme::Role;

/// Cells before the value of a field, the margin included.
const LABEL: usize = 11;
/// Cells of a job's gauge.
const GAUGE: usize = 20;

/// The bottom panel.
pub(super) struct Bottom<'a>(pub &'a Model);

impl Widget for Bottom<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if area.height == 0 {
            return;
        }
        let (head, right, lines) = match &model.prompt {
            Prompt::None => {
                if let Some(running) = &model.jobs.running {
                    job(model, running, area.width).render(area, buffer);
                }
                return;
            }
            Prompt::Export(form) => (
                "EXPORT".to_owned(),
                String::new(),
                export(model, form, area.width),
            ),
            Prompt::Planning(_, request) => {
                let line = Line::from(model.span(Role::Dim, " planning …"));
                (title(request).to_uppercase(), String::new(), vec![line])
            }
            Prompt::Confirm(plan, first) => confirm(model, plan, *first, area),
            Prompt::Notice(head, entry, first) => {
                let (right, lines) = notice(model, entry, *first, area);
                (head.clone(), right, lines)
            }
            Prompt::CancelJob => (
                "CANCEL?".to_owned(),
                String::new(),
                running(model, "It would stop at its next safe point.", area.width),
            ),
            Prompt::QuitJob => (
                "QUIT?".to_owned(),
                String::new(),
                running(model, "It is not finished.", area.width),
            ),
        };
        heading(model, &head, &right, area.width, true).render(area, buffer);
        for (row, line) in area.rows().skip(1).zip(lines) {
            fit(line, usize::from(row.width).saturating_sub(1)).render(row, buffer);
        }
    }
}

/// The one row of a running job.
fn job(model: &Model, job: &Running, width: u16) -> Line<'static> {
    let progress = &job.progress;
    let mut spans = vec![model.span(Role::Title, format!(" {} ", job.title))];
    if progress.total > 0 {
        let share = progress.done as f64 / progress.total as f64;
        spans.extend(gauge(
            model,
            share,
            GAUGE.min(usize::from(width) / 4),
            Role::Bar,
        ));
        let done = progress.done.min(progress.total);
        spans.push(model.span(
            Role::Text,
            format!(" {}/{}", thousands(done), thousands(progress.total)),
        ));
    }
    let what = if job.cancelling {
        "stopping at the next safe point"
    } else {
        &progress.what
    };
    spans.push(model.span(Role::Dim, format!("  {}", width::clean(what))));
    let queued = model.jobs.queue.len() as u64;
    if queued > 0 {
        spans.push(model.span(Role::Dim, format!("  {} after it", plural(queued, "job"))));
    }
    let key = model.settings.keymap.key(Action::Back);
    let asked = !matches!(model.prompt, Prompt::None);
    let hint = if job.cancelling || asked || width < 60 {
        String::new()
    } else {
        format!("{key}: cancel")
    };
    with_right(Line::from(spans), vec![model.span(Role::Dim, hint)], width)
}

/// The running job, and a sentence about the question.
fn running(model: &Model, what: &str, width: u16) -> Vec<Line<'static>> {
    let Some(running) = &model.jobs.running else {
        return Vec::new();
    };
    vec![
        job(model, running, width),
        Line::from(model.span(Role::Dim, format!(" {what}"))),
    ]
}

fn confirm(
    model: &Model,
    plan: &Plan,
    first: usize,
    area: Rect,
) -> (String, String, Vec<Line<'static>>) {
    let (right, shown) = window(plan_lines(plan, area.width), first, area);
    let urgent = if plan.needs_yes {
        Role::Warning
    } else {
        Role::Text
    };
    let lines = shown.into_iter().map(|(head, l)| {
        Line::from(model.span(if head { urgent } else { Role::Dim }, format!(" {l}")))
    });
    (
        format!("{}?", title(&plan.request).to_uppercase()),
        right,
        lines.collect(),
    )
}

/// What came of a job: what does not fit into a row.
fn notice(model: &Model, entry: &Entry, first: usize, area: Rect) -> (String, Vec<Line<'static>>) {
    let role = entry.severity.into();
    let (right, lines) = window(notice_lines(entry, area.width), first, area);
    let line = |(head, l): (bool, String)| {
        Line::from(model.span(if head { role } else { Role::Dim }, format!(" {l}")))
    };
    (right, lines.into_iter().map(line).collect())
}

fn notice_lines(entry: &Entry, width: u16) -> Vec<(bool, String)> {
    broken(&entry.text, &entry.lines, width)
}

/// How far what came of a job can be scrolled in its area.
pub(crate) fn last_notice_line(entry: &Entry, area: Rect) -> usize {
    notice_lines(entry, area.width)
        .len()
        .saturating_sub(usize::from(area.height.saturating_sub(1)))
}

/// The lines that an area shows from the `first` one on, and where they are among all.
fn window(lines: Vec<(bool, String)>, first: usize, area: Rect) -> (String, Vec<(bool, String)>) {
    let rows = usize::from(area.height.saturating_sub(1));
    let (first, last) = (
        first.min(lines.len().saturating_sub(rows)),
        (first + rows).min(lines.len()),
    );
    let right = if lines.len() > rows {
        format!("{}–{last} of {}", first + 1, lines.len())
    } else {
        String::new()
    };
    (right, lines.into_iter().skip(first).take(rows).collect())
}

/// What a plan says, broken into lines; true for those of its summary.
fn plan_lines(plan: &Plan, width: u16) -> Vec<(bool, String)> {
    broken(&plan.summary, &plan.lines, width)
}

fn broken(summary: &str, lines: &[String], width: u16) -> Vec<(bool, String)> {
    let cells = usize::from(width).saturating_sub(2);
    let summary = width::wrap(summary, cells).into_iter().map(|l| (true, l));
    let details = lines
        .iter()
        .flat_map(|l| width::wrap(l, cells))
        .map(|l| (false, l));
    summary.chain(details).collect()
}

/// How far a plan can be scrolled in its area.
pub(crate) fn last_plan_line(plan: &Plan, area: Rect) -> usize {
    plan_lines(plan, area.width)
        .len()
        .saturating_sub(usize::from(area.height.saturating_sub(1)))
}

fn export(model: &Model, form: &ExportForm, width: u16) -> Vec<Line<'static>> {
    let label = |text: &'static str, active: bool| {
        let marker = if active { "›" } else { " " };
        model.span(
            if active { Role::Text } else { Role::Dim },
            format!("{marker}{text:<10}"),
        )
    };
    let mut formats = vec![label("format", !form.in_name)];
    for format in ExportForm::formats() {
        let name = format.map_or("report", Into::into);
        let (role, text) = if format == form.format {
            (Role::Title, format!("[{name}]"))
        } else {
            (Role::Dim, format!(" {name} "))
        };
        formats.push(model.span(role, text));
        formats.push(Span::raw(" "));
    }
    let (shown, _) = visible(form, width);
    let what = match &form.models {
        Some(models) => format!(
            "the {} that the filter leaves",
            plural(models.len() as u64, "model")
        ),
        None if model.filtered.is_some() => "the tests that the filter leaves".to_owned(),
        None => "the whole store".to_owned(),
    };
    vec![
        Line::from(formats),
        Line::from(vec![
            label("file", form.in_name),
            model.span(Role::Text, shown),
        ]),
        Line::from(vec![label("rows", false), model.span(Role::Dim, what)]),
    ]
}

/// The part of the file's name that fits, and the cells in it before the cursor.
fn visible(form: &ExportForm, width: u16) -> (String, usize) {
    let room = usize::from(width).saturating_sub(LABEL + 2);
    let scroll = form.name.visual_scroll(room);
    let mut skipped = 0;
    let tail: String = form
        .name
        .value()
        .chars()
        .skip_while(|c| {
            let skip = skipped < scroll;
            skipped += width::width(c.encode_utf8(&mut [0; 4]));
            skip
        })
        .collect();
    (
        width::truncate(&tail, room + 1),
        form.name.visual_cursor().saturating_sub(scroll),
    )
}

/// Where the cursor stands while the file's name is typed.
pub(super) fn cursor(model: &Model) -> Option<Position> {
    let Prompt::Export(form) = &model.prompt else {
        return None;
    };
    let area = layout::areas(model).prompt;
    let (_, before) = visible(form, area.width);
    let x = (LABEL + before).min(usize::from(area.width).saturating_sub(1));
    (form.in_name && area.height > 2).then(|| Position::new(area.x + x as u16, area.y + 2))
}
