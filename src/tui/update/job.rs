//! Jobs: asked for, planned, confirmed, run one at a time, finished or cancelled.

use tui_input::Input;

use super::compare;
use crate::health::Severity;
use crate::jobs::{ExportFormat, ExportOptions, Outcome, Plan, ReportOptions, Request};
use crate::report;
use crate::stats::metric::Metric;
use crate::store::Progress;
use crate::store::read::query::Filter;
use crate::text::width;
use crate::tui::state::model::{ExportForm, Model, Prompt, Running};
use crate::tui::update::message::{Effect, Failure, JobId};
use crate::tui::view::layout;

/// Cells of the activity that its text does not have: marker, time, margin.
const BESIDE: usize = 8;

/// The word for a job.
pub(crate) fn title(request: &Request) -> &'static str {
    match request {
        Request::Consolidate(_) => "consolidate",
        Request::Cleanup(_) => "cleanup",
        Request::Backup => "backup",
        Request::Restore(options) if options.from.is_none() => "undo",
        Request::Restore(_) => "restore",
        Request::Remove(_) => "remove",
        Request::Validate { .. } => "validate",
        Request::Export(_) => "export",
        Request::Report(_) => "report",
    }
}

/// Shows the plan of a job and asks.
pub(super) fn ask(model: &mut Model, request: Request) -> Vec<Effect> {
    let id = next_id(model);
    model.prompt = Prompt::Planning(id, request.clone());
    vec![Effect::Plan(id, request)]
}

/// Runs a job that loses nothing, without a question.
pub(super) fn ask_nothing(model: &mut Model, request: Request) -> Vec<Effect> {
    let id = next_id(model);
    model.jobs.unasked.push(id);
    vec![Effect::Plan(id, request)]
}

/// Opens the form of an export.
pub(super) fn ask_export(model: &mut Model) {
    let filtered = !model.table.filter.trim().is_empty();
    let format = Some(ExportFormat::Parquet);
    model.prompt = Prompt::Export(ExportForm {
        format,
        name: Input::new(export_name(format)),
        edited: false,
        in_name: false,
        models: filtered.then(|| model.table.order.clone()),
    });
}

/// The file's name as long as nobody typed another one.
pub(super) fn export_name(format: Option<ExportFormat>) -> String {
    let Some(format) = format else {
        return "report.html".to_owned();
    };
    let ending: &str = format.into();
    format!("results.{ending}")
}

/// The form is filled in: plan the export.
pub(super) fn export(model: &mut Model, form: &ExportForm) -> Vec<Effect> {
    let filter = Filter {
        models: form.models.clone().unwrap_or_default(),
        condition: model
            .filtered
            .as_ref()
            .and_then(|filtered| filtered.expression.clone()),
        ..Filter::default()
    };
    let output = form.name.value().trim().into();
    let request = match form.format {
        Some(format) => Request::Export(ExportOptions {
            format,
            output,
            filter,
            overwrite: false,
            strict: false,
        }),
        None => Request::Report(ReportOptions {
            output,
            request: Box::new(reported(model, filter)),
            overwrite: false,
        }),
    };
    ask(model, request)
}

/// What a report of the tests on the screen says. The session and prices are added where the
/// store is read.
fn reported(model: &Model, filter: Filter) -> report::Request {
    let metric = compare::metric(model).map_or_else(Metric::default, |own| *own);
    let seen = model.seen.as_ref();
    report::Request {
        filter,
        metric,
        marks: seen.map_or_else(Vec::new, |seen| report::marks(seen, false)),
        ..report::Request::default()
    }
}

/// A plan is there.
pub(super) fn planned(
    model: &mut Model,
    id: JobId,
    plan: Result<Box<Plan>, String>,
) -> Vec<Effect> {
    let unasked = model.jobs.unasked.iter().position(|waiting| *waiting == id);
    let of = match &model.prompt {
        Prompt::Planning(waiting, request) if *waiting == id => Some(title(request)),
        _ => None,
    };
    let asked = of.is_some();
    if let Some(at) = unasked {
        model.jobs.unasked.swap_remove(at);
    } else if asked {
        model.prompt = Prompt::None;
    } else {
        return Vec::new();
    }
    match plan {
        Err(why) => show_result(
            model,
            &not_done(of.unwrap_or("job")),
            Severity::Warning,
            why,
            Vec::new(),
        ),
        Ok(plan) if plan.is_empty => {
            show_result(
                model,
                title(&plan.request),
                Severity::Healthy,
                plan.summary,
                plan.lines,
            );
        }
        Ok(plan) if unasked.is_some() => return start(model, *plan),
        Ok(plan) => model.prompt = Prompt::Confirm(plan, 0),
    }
    Vec::new()
}

fn not_done(job: &str) -> String {
    format!("{job}: not done")
}

/// Notes what came of a job. What went wrong and does not fit into a row of the activity,
/// or has no such row now, is reported where the question was.
fn show_result(
    model: &mut Model,
    head: &str,
    severity: Severity,
    text: String,
    lines: Vec<String>,
) {
    let room = usize::from(layout::areas(model).activity.width).saturating_sub(BESIDE);
    let fits = model.overlays.is_empty() && width::width(&text) <= room;
    model.note_with(severity, text, lines);
    let free = matches!(model.prompt, Prompt::None) && model.typing.is_none() && !model.leaving;
    if severity != Severity::Healthy && !fits && free {
        let entry = model.activity.front().cloned();
        model.prompt = entry.map_or(Prompt::None, |entry| {
            Prompt::Notice(head.to_uppercase(), entry, 0)
        });
    }
}

/// Runs a confirmed plan, now or after the others.
pub(super) fn start(model: &mut Model, plan: Plan) -> Vec<Effect> {
    if model.jobs.running.is_some() {
        model.note(
            Severity::Healthy,
            format!("{} waits for the running job", title(&plan.request)),
        );
        model.jobs.queue.push_back(plan);
        return Vec::new();
    }
    let id = next_id(model);
    model.jobs.running = Some(Running {
        id,
        title: title(&plan.request),
        progress: Progress::default(),
        cancelling: false,
    });
    model.jobs.ours = true;
    vec![Effect::Run(id, Box::new(plan))]
}

/// The running job got further.
pub(super) fn progress(model: &mut Model, id: JobId, progress: Progress) -> Vec<Effect> {
    if let Some(running) = model.jobs.running.as_mut().filter(|r| r.id == id) {
        running.progress = progress;
    }
    Vec::new()
}

/// The running job ended: say how, start the next one.
pub(super) fn finished(
    model: &mut Model,
    id: JobId,
    result: Result<Box<Outcome>, Failure>,
) -> Vec<Effect> {
    let Some(running) = model.jobs.running.take_if(|r| r.id == id) else {
        return Vec::new();
    };
    if matches!(model.prompt, Prompt::CancelJob | Prompt::QuitJob) {
        model.prompt = Prompt::None;
    }
    match result {
        Ok(outcome) => show_result(
            model,
            running.title,
            outcome.severity,
            outcome.summary,
            outcome.lines,
        ),
        Err(Failure::Cancelled) => {
            model.note(
                Severity::Healthy,
                format!("{} cancelled: nothing was changed", running.title),
            );
        }
        Err(Failure::Failed(why)) => {
            show_result(
                model,
                &not_done(running.title),
                Severity::Critical,
                why,
                Vec::new(),
            );
        }
    }
    let mut effects = vec![Effect::Scan];
    match model.jobs.queue.pop_front() {
        Some(plan) => effects.extend(start(model, plan)),
        None if model.leaving => effects = vec![Effect::Quit],
        None => {}
    }
    effects
}

/// Says the running job to stop; those that wait are dropped.
pub(super) fn cancel(model: &mut Model) -> Vec<Effect> {
    model.prompt = Prompt::None;
    let Some(running) = model.jobs.running.as_mut() else {
        return Vec::new();
    };
    running.cancelling = true;
    let dropped = model.jobs.queue.len();
    let id = running.id;
    if dropped > 0 {
        model.jobs.queue.clear();
        model.note(Severity::Healthy, "the jobs that waited were dropped");
    }
    vec![Effect::Cancel(id)]
}

/// Leaves, after asking where a job runs.
pub(super) fn quit(model: &mut Model) -> Vec<Effect> {
    let Some(running) = model.jobs.running.as_ref() else {
        return vec![Effect::Quit];
    };
    // Asked again: jobs stop safely wherever they are, so nobody has to wait for one.
    if model.leaving && running.cancelling {
        return vec![Effect::Quit];
    }
    if matches!(model.prompt, Prompt::QuitJob) {
        model.leaving = true;
        return cancel(model);
    }
    model.prompt = Prompt::QuitJob;
    Vec::new()
}

fn next_id(model: &mut Model) -> JobId {
    model.jobs.last_id += 1;
    model.jobs.last_id
}
