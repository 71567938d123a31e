//! Everything that a key can do. This one table drives the keys, the help overlay,
//! the footer's hints and the key table of the docs.

use strum::{EnumIter, EnumString, IntoStaticStr};

/// What a key does. Its name in the config is the variant in snake_case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each variant's help text below says what it does"
)]
pub(crate) enum Action {
    Consolidate,
    Cleanup,
    Export,
    Backup,
    Undo,
    Validate,
    Rescan,
    Filter,
    Sort,
    Reverse,
    Mark,
    Compare,
    History,
    Progress,
    Cost,
    Metric,
    Sessions,
    OpenLog,
    CopyLog,
    Inspect,
    Acknowledge,
    Snooze,
    AlertLog,
    Writers,
    Files,
    Zoom,
    Freeze,
    NextPane,
    PreviousPane,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Top,
    Bottom,
    Open,
    Back,
    Yes,
    No,
    Help,
    Quit,
    Suspend,
}

/// A heading of the help overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "title_case")]
pub(crate) enum Group {
    /// Jobs that write.
    Maintenance,
    /// What needs somebody.
    Alerts,
    /// What is shown, and how.
    View,
    /// Getting around.
    Move,
    /// Answers to questions.
    Answer,
    /// The program itself.
    Program,
}

/// What is known of an action.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About {
    /// Default keys, as they are written in the config.
    pub keys: &'static [&'static str],
    /// Where it stands in the help.
    pub group: Group,
    /// A word or two for the footer.
    pub hint: &'static str,
    /// A line for the help.
    pub help: &'static str,
}

const fn about(
    keys: &'static [&'static str],
    group: Group,
    hint: &'static str,
    help: &'static str,
) -> About {
    About {
        keys,
        group,
        hint,
        help,
    }
}

impl Action {
    /// Keys, group and texts.
    pub(crate) fn about(self) -> About {
        use Group::{Alerts, Answer, Maintenance, Move, Program, View};
        match self {
            Self::Consolidate => about(
                &["c"],
                Maintenance,
                "consolidate",
                "merge pending rows into main, after showing the plan",
            ),
            Self::Cleanup => about(
                &["x"],
                Maintenance,
                "cleanup",
                "remove leftovers, after showing which; needs y",
            ),
            Self::Export => about(
                &["e"],
                Maintenance,
                "export",
                "write rows, or the report, to a file",
            ),
            Self::Backup => about(
                &["b"],
                Maintenance,
                "backup",
                "copy main into backups/ at once",
            ),
            Self::Undo => about(
                &["u"],
                Maintenance,
                "undo",
                "take the last consolidate back: its rows are pending again; needs y",
            ),
            Self::Validate => about(&["v"], Maintenance, "validate", "check every file at once"),
            Self::Rescan => about(
                &["r", "ctrl-l"],
                View,
                "rescan",
                "read the store now, and draw the whole screen again",
            ),
            Self::Filter => about(
                &["/"],
                View,
                "filter",
                "filter models: gpt tests:>100 rate:<0.5; here, search",
            ),
            Self::Sort => about(&["s"], View, "sort", "sort the models by the next column"),
            Self::Reverse => about(&["S"], View, "reverse", "reverse the order"),
            Self::Mark => about(&["space"], View, "mark", "mark a model for a comparison"),
            Self::Compare => about(
                &["="],
                View,
                "compare",
                "compare the two marked models test by test",
            ),
            Self::Inspect => about(
                &["i"],
                Alerts,
                "why",
                "explain the selected alert, else the worst one",
            ),
            Self::Acknowledge => about(
                &["a"],
                Alerts,
                "acknowledge",
                "take note of an alert: it stays listed and leads no more",
            ),
            Self::Snooze => about(
                &["A"],
                Alerts,
                "snooze",
                "silence an alert for a while, also when it comes again",
            ),
            Self::AlertLog => about(
                &["L"],
                Alerts,
                "alert history",
                "every alert since the start, over or not",
            ),
            Self::History => about(
                &["H"],
                View,
                "history",
                "the run over 1h, 6h, 24h or all; ← → choose",
            ),
            Self::Progress => about(
                &["t"],
                View,
                "progress",
                "throughput, and what is left of the plan by model",
            ),
            Self::Cost => about(&["$"], View, "cost", "what the tests cost, by model"),
            Self::Metric => about(
                &["m"],
                View,
                "metric",
                "choose what is measured: success, score, cost, any column",
            ),
            Self::Sessions => about(
                &["R"],
                View,
                "sessions",
                "every session; enter shows one alone, = compares two",
            ),
            Self::OpenLog => about(
                &["o"],
                View,
                "log",
                "open the log of the test that is shown",
            ),
            Self::CopyLog => about(
                &["Y"],
                View,
                "copy log",
                "copy where the log is, through the terminal",
            ),
            Self::Writers => about(&["w"], View, "writers", "every writer process"),
            Self::Files => about(&["f"], View, "files", "every pending file"),
            Self::Zoom => about(
                &["z"],
                View,
                "zoom",
                "give the focused pane the whole screen, and back",
            ),
            Self::Freeze => about(
                &["p"],
                View,
                "pause",
                "hold the picture still, and let it go on",
            ),
            Self::NextPane => about(&["tab"], Move, "next pane", "focus the next pane"),
            Self::PreviousPane => {
                about(&["shift-tab"], Move, "pane before", "focus the pane before")
            }
            Self::Up => about(&["up", "k"], Move, "up", "one row up"),
            Self::Down => about(&["down", "j"], Move, "down", "one row down"),
            Self::Left => about(
                &["left", "h"],
                Move,
                "left",
                "the pane, period or model before",
            ),
            Self::Right => about(
                &["right", "l"],
                Move,
                "right",
                "the next pane, period or model",
            ),
            Self::PageUp => about(&["pageup", "ctrl-u"], Move, "page up", "one page up"),
            Self::PageDown => about(&["pagedown", "ctrl-d"], Move, "page down", "one page down"),
            Self::Top => about(&["home", "g"], Move, "top", "to the first row"),
            Self::Bottom => about(&["end", "G"], Move, "bottom", "to the last row"),
            Self::Open => about(
                &["enter"],
                Answer,
                "details",
                "details of the selected row; confirms a plan",
            ),
            Self::Back => about(&["esc"], Answer, "back", "one step back; declines a plan"),
            Self::Yes => about(&["y"], Answer, "yes", "confirm"),
            Self::No => about(&["n"], Answer, "no", "decline"),
            Self::Help => about(&["?", "f1"], Program, "help", "these keys"),
            Self::Quit => about(
                &["q", "ctrl-c"],
                Program,
                "quit",
                "leave; asks while a job runs",
            ),
            Self::Suspend => about(
                &["ctrl-z"],
                Program,
                "suspend",
                "back to the shell; fg returns",
            ),
        }
    }

    /// Whether it may write: off with `--readonly`.
    pub(crate) fn is_maintenance(self) -> bool {
        self.about().group == Group::Maintenance
    }
}

/// What the footer offers, the most useful first; help and leaving stay at the end.
pub(crate) const FOOTER: [Action; 13] = [
    Action::Consolidate,
    Action::Cleanup,
    Action::Export,
    Action::Backup,
    Action::Filter,
    Action::Open,
    Action::Sort,
    Action::History,
    Action::Writers,
    Action::Files,
    Action::NextPane,
    Action::Help,
    Action::Quit,
];
