//! Where everything stands, from the size of the terminal and the state: used by the
//! views to draw and by `update` to know how long a page is and what was clicked.
//!
//! Larger terminals show more models, more history and longer bars, in that order.

use ratatui::layout::Rect;

use super::{alerts, work};
use crate::tui::state::model::{Focus, Model, Prompt};

/// Below this many columns or rows nothing useful fits.
pub(crate) const SMALLEST: (u16, u16) = (40, 10);
/// From this height on, alerts and activity have panes of their own.
const FULL_HEIGHT: u16 = 20;
/// Rows above the models at full height: header, status, session, success, pending, workers.
const TOP: u16 = 6;
/// Rows that a question needs, its rule included.
const PROMPT: u16 = 5;
/// The history is drawn where it can be at least this high.
const HISTORY: u16 = 6;
/// Tests in flight and workers are shown where they can have so many rows.
const WORK: u16 = 4;
/// From this width on, alerts and activity stand side by side, and the two charts.
pub(super) const WIDE: u16 = 120;

/// The areas of the screen; those that are not shown are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Areas {
    /// Name, store, generation.
    pub header: Rect,
    /// The sentence.
    pub status: Rect,
    /// Totals, waiting, main, writers: one row each, as many as there is room for.
    pub facts: Rect,
    /// The models with their heading.
    pub models: Rect,
    /// Tests in flight and workers, on large screens.
    pub work: Rect,
    /// The run over time as charts with their headings.
    pub history: Rect,
    /// The alerts with their heading.
    pub alerts: Rect,
    /// The activity with its heading.
    pub activity: Rect,
    /// The question or the running job, in place of the activity.
    pub prompt: Rect,
    /// Everything between the status and the question or the keys: for overlays.
    pub body: Rect,
    /// The keys.
    pub footer: Rect,
}

/// Whether alerts and activity have panes of their own.
pub(crate) fn is_full(area: Rect) -> bool {
    area.height >= FULL_HEIGHT
}

/// Whether there is room for anything.
pub(crate) fn fits(area: Rect) -> bool {
    area.width >= SMALLEST.0 && area.height >= SMALLEST.1
}

/// Divides the terminal.
pub(crate) fn areas(model: &Model) -> Areas {
    divide(model, !matches!(model.prompt, Prompt::None))
}

/// Divides it as if a question were open.
pub(crate) fn areas_asking(model: &Model) -> Areas {
    divide(model, true)
}

fn divide(model: &Model, asking: bool) -> Areas {
    let area = model.area;
    if !fits(area) {
        return Areas::default();
    }
    let rows = |from: u16, height: u16| Rect::new(area.x, area.y + from, area.width, height);
    let bottom = area.height - 1;
    let mut areas = Areas {
        header: rows(0, 1),
        status: rows(1, 1),
        footer: rows(bottom, 1),
        ..Areas::default()
    };
    let full = is_full(area);
    let facts = if full {
        TOP - 2
    } else {
        (area.height - 6).div_ceil(3).min(TOP - 2)
    };
    let (work, history, alerts, activity) = if full {
        split(model, bottom - TOP - 1)
    } else {
        (0, 0, 0, 0)
    };
    let beside = area.width >= WIDE;
    // A question takes their place, so they are never lower than one.
    let events = if beside && full {
        alerts.max(activity).max(PROMPT)
    } else {
        alerts + activity
    };
    let below = work + history + events;
    let prompt = match (asking, full) {
        (true, true) => events.max(PROMPT),
        (true, false) => PROMPT.min(bottom - 4),
        (false, _) if model.jobs.running.is_some() => 1,
        _ => 0,
    };
    areas.prompt = rows(bottom - prompt, prompt);
    areas.body = rows(2, bottom - prompt - 2);
    if model.zoomed && model.overlays.is_empty() {
        let body = areas.body;
        match model.focus {
            Focus::Models => areas.models = body,
            Focus::Alerts => areas.alerts = body,
            Focus::Activity => areas.activity = body,
        }
        return areas;
    }
    // In a low terminal a question takes the place of the facts before that of models.
    let facts = if asking && !full {
        facts.min((bottom - prompt - 2).saturating_sub(3))
    } else {
        facts
    };
    areas.facts = rows(2, facts);
    let models = 2 + facts;
    let end = if full {
        bottom - below
    } else {
        bottom - prompt
    };
    areas.models = rows(models, end - models);
    areas.work = rows(end, work);
    let end = end + work;
    areas.history = rows(end, history);
    if !asking {
        // A running job has the last row of the activity.
        let job = if full { prompt } else { 0 };
        if beside {
            let both = rows(end + history, events.saturating_sub(job));
            areas.alerts = Rect {
                width: both.width / 2,
                ..both
            };
            areas.activity = Rect {
                x: both.x + both.width / 2,
                width: both.width.div_ceil(2),
                ..both
            };
        } else {
            areas.alerts = rows(end + history, alerts);
            areas.activity = rows(end + history + alerts, activity.saturating_sub(job));
        }
    }
    areas
}

/// Heights of work, history, alerts and activity, each with its heading, out of what the
/// models share with them. At 80×24: eleven models, two alerts, one line of activity.
fn split(model: &Model, room: u16) -> (u16, u16, u16, u16) {
    let wanted = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    // The headings of alerts and activity.
    let room = room - 2;
    let spare = room.saturating_sub(14);
    let beside = model.area.width >= WIDE;
    let width = if beside {
        model.area.width / 2
    } else {
        model.area.width
    };
    let full = wanted(alerts::lines(model, width));
    let mut alerts = 2 + full.saturating_sub(2).min(spare / 6);
    let mut activity = 1 + spare / 6;
    let models = wanted(model.table.order.len()).max(11);
    // Side by side they need one heading, and the rows of the higher one.
    let events = if beside {
        alerts.max(activity).max(PROMPT - 1) - 1
    } else {
        alerts + activity
    };
    let surplus = room.saturating_sub(events + models);
    let work = if beside && surplus >= WORK {
        wanted(work::rows(model)).min((surplus / 2).max(WORK))
    } else {
        0
    };
    let surplus = surplus - work;
    let share = if beside { surplus * 2 / 3 } else { surplus / 2 };
    let history = if surplus > HISTORY {
        share.clamp(HISTORY, 24)
    } else {
        0
    };
    let left = (surplus - history.min(surplus)).min(24);
    // What needs somebody goes before what happened.
    let reported = if beside {
        0
    } else {
        full.saturating_sub(alerts).min(left)
    };
    alerts += reported;
    activity += left - reported;
    (work, history, alerts + 1, activity + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::state::fixture;

    #[test]
    fn the_small_screen_has_eleven_models_two_alerts_one_activity() {
        let areas = areas(&fixture::model(80, 24));
        assert_eq!(
            (
                areas.models.height,
                areas.alerts.height,
                areas.activity.height,
                areas.history.height
            ),
            (12, 3, 2, 0)
        );
    }

    #[test]
    fn panes_never_overlap_and_leave_no_gap() {
        for (width, height) in (10..80).flat_map(|height| [(80, height), (150, height)]) {
            for models in [0, 1, 12, 500] {
                let mut model = fixture::with_models(width, height, models);
                for state in ["at rest", "a job runs", "a question"] {
                    match state {
                        "a job runs" => fixture::run(&mut model),
                        "a question" => fixture::ask(&mut model),
                        _ => {}
                    }
                    let a = areas(&model);
                    let beside = a.alerts.y == a.activity.y && a.alerts.height > 0;
                    if beside {
                        let ends = (a.alerts.right(), a.activity.right(), a.alerts.height);
                        assert_eq!(ends, (a.activity.x, width, a.activity.height));
                    }
                    assert!(!beside || width == 150);
                    let alerts = if beside {
                        ratatui::layout::Rect::default()
                    } else {
                        a.alerts
                    };
                    let panes = [
                        a.header, a.status, a.facts, a.models, a.work, a.history, alerts,
                        a.activity, a.prompt, a.footer,
                    ];
                    let mut next = 0;
                    for pane in panes.iter().filter(|p| p.height > 0) {
                        assert_eq!(
                            pane.y, next,
                            "{width}×{height}, {models} models, {state}: {a:?}"
                        );
                        next = pane.bottom();
                    }
                    assert_eq!(next, height);
                    assert!(a.models.height >= 2, "{height}: {a:?}");
                }
            }
        }
    }
}
