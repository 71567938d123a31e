//! The table of models: which are shown, in which order, and which one is selected.
//! The selection follows the model, and rows change places at most once a second, and
//! not within a second of somebody's choice, unless somebody asks for another order.

use jiff::{SignedDuration, Timestamp};
use strum::{EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

use super::filter::split;
use crate::observation::ModelView;

/// Shortest time between two changes of the order.
const REORDER_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// A column that can be sorted and filtered by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Column {
    /// Full success.
    #[default]
    #[strum(to_string = "success", serialize = "rate")]
    Rate,
    /// Name.
    Name,
    /// Partial success.
    Partial,
    /// How wide the 95 % interval is.
    Ci,
    /// Number of tests.
    Tests,
    /// Rows a minute.
    #[strum(to_string = "/min", serialize = "min")]
    PerMinute,
    /// Infrastructure errors.
    Infra,
    /// Mean execution time.
    Time,
    /// What the tests cost.
    Cost,
    /// How the newest tests went, next to the model's own rate.
    Trend,
}

impl Column {
    fn value(self, model: &ModelView) -> f64 {
        let tally = &model.tally;
        match self {
            Self::Rate => match model.measured {
                Some(measured) => measured.gain,
                None => tally.success_rate().unwrap_or(-1.0),
            },
            Self::Name => 0.0,
            Self::Partial => tally.share(tally.partial).unwrap_or(-1.0),
            Self::Ci => model
                .interval()
                .map_or(1.0, |interval| interval.high - interval.low),
            Self::Tests => tally.tests as f64,
            Self::PerMinute => model.per_minute,
            Self::Infra => tally.infrastructure() as f64,
            Self::Time => tally.execution_time.mean().unwrap_or(-1.0),
            Self::Cost => model.cost.unwrap_or(-1.0),
            Self::Trend => match (model.trend.last(), tally.success_rate()) {
                (Some(newest), Some(rate)) => newest - rate,
                _ => f64::NEG_INFINITY,
            },
        }
    }
}

/// Order, selection and filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The column of the order.
    pub column: Column,
    /// Smallest first (names: last letter first).
    pub reversed: bool,
    /// What was typed after `/`.
    pub filter: String,
    /// Names of the models that are shown, in their order.
    pub order: Vec<String>,
    /// Those to compare, at most two, in the order in which they were marked.
    pub marked: Vec<String>,
    /// The selected one.
    pub selected: Option<String>,
    /// The first row on the screen.
    pub offset: usize,
    ordered_at: Option<Timestamp>,
    stale: bool,
}

impl Table {
    /// Takes over new figures: new models join, vanished ones leave, the order
    /// follows when it is due.
    pub(crate) fn refresh(&mut self, models: &[ModelView], now: Timestamp) {
        if self.reorder_due(now) {
            self.reorder(models, now);
            return;
        }
        let matcher = Matcher::new(&self.filter, models);
        let is_shown = |name: &str| {
            models
                .binary_search_by(|m| m.model.as_str().cmp(name))
                .is_ok_and(|i| models.get(i).is_some_and(|m| matcher.matches(m)))
        };
        self.order.retain(|name| is_shown(name));
        if self.order.len() < models.len() {
            let shown: std::collections::HashSet<String> = self.order.iter().cloned().collect();
            let new = models
                .iter()
                .filter(|m| !shown.contains(&m.model) && matcher.matches(m));
            self.order.extend(new.map(|m| m.model.clone()));
        }
        self.stale = true;
        self.keep_selection();
    }

    /// Sorts now.
    pub(crate) fn reorder(&mut self, models: &[ModelView], now: Timestamp) {
        let matcher = Matcher::new(&self.filter, models);
        let mut shown: Vec<&ModelView> = models.iter().filter(|m| matcher.matches(m)).collect();
        shown.sort_by(|a, b| {
            let order = match self.column {
                Column::Name => a.model.to_lowercase().cmp(&b.model.to_lowercase()),
                column => column.value(b).total_cmp(&column.value(a)),
            };
            let order = if self.reversed {
                order.reverse()
            } else {
                order
            };
            order.then_with(|| a.model.cmp(&b.model))
        });
        self.order = shown.into_iter().map(|m| m.model.clone()).collect();
        self.ordered_at = Some(now);
        self.stale = false;
        self.keep_selection();
    }

    /// Whether the order may change now. A clock that was set back counts as time gone by.
    pub(crate) fn reorder_due(&self, now: Timestamp) -> bool {
        self.ordered_at.is_none_or(|at| {
            let since = now.duration_since(at);
            since >= REORDER_EVERY || since.is_negative()
        })
    }

    /// When an order that is out of date may change.
    pub(crate) fn next_reorder(&self) -> Option<Timestamp> {
        let at = self.ordered_at.filter(|_| self.stale)?;
        at.checked_add(REORDER_EVERY).ok()
    }

    /// Sorts by a column; by the same one again, the other way round.
    pub(crate) fn sort_by(&mut self, column: Column) {
        self.reversed = self.column == column && !self.reversed;
        self.column = column;
    }

    /// Sorts by the next column.
    pub(crate) fn next_column(&mut self) {
        let mut columns = Column::iter().cycle().skip_while(|c| *c != self.column);
        self.column = columns.nth(1).unwrap_or_default();
        self.reversed = false;
    }

    /// The first word of the filter that hides nothing because its column has no number.
    pub(crate) fn pointless(&self) -> Option<&str> {
        self.filter
            .split_whitespace()
            .find(|word| Term::parse(word).is_none())
    }

    fn keep_selection(&mut self) {
        let there = self
            .selected
            .as_ref()
            .is_some_and(|s| self.order.contains(s));
        if !there {
            self.selected = self.order.first().cloned();
            self.offset = 0;
        }
    }

    /// Row of the selected model.
    pub(crate) fn row(&self) -> usize {
        self.selected
            .as_ref()
            .and_then(|s| self.order.iter().position(|m| m == s))
            .unwrap_or(0)
    }

    /// Selects a row, or the nearest one that there is.
    pub(crate) fn select(&mut self, row: usize) {
        self.selected = self
            .order
            .get(row.min(self.order.len().saturating_sub(1)))
            .cloned();
    }

    /// Somebody chose a row: none changes its place for a moment.
    pub(crate) fn hold(&mut self, now: Timestamp) {
        self.ordered_at = self.ordered_at.map(|_| now);
    }

    /// The first row to show so that the selected one is among `rows`.
    pub(crate) fn window(&self, rows: usize) -> usize {
        window(self.offset, self.row(), self.order.len(), rows)
    }
}

/// The first of `rows` rows to show of `len`, as near to `offset` as it can be while
/// `row` is among them and no row at the end stays empty.
pub(crate) fn window(offset: usize, row: usize, len: usize, rows: usize) -> usize {
    if rows == 0 {
        return row;
    }
    offset
        .clamp((row + 1).saturating_sub(rows), row)
        .min(len.saturating_sub(rows))
}

/// A filter: every term must hold. A term is a part of the name, or
/// `column:value` with `<`, `<=`, `>` or `>=` before a number (`rate:<0.5`, `tests:>=100`).
struct Matcher(Vec<Term>);

enum Term {
    Name(String),
    Number(Column, Compare, f64),
}

/// Whether a value stands to a limit as it should.
type Compare = fn(&f64, &f64) -> bool;

/// The signs before a number, longer ones before those that they begin with. None is `>`.
const SIGNS: [(&str, Compare); 5] = [
    ("<=", f64::le),
    (">=", f64::ge),
    ("<", f64::lt),
    (">", f64::gt),
    ("", f64::gt),
];

impl Matcher {
    /// Half-typed terms hold for everything, so that the table does not blink.
    fn new(filter: &str, models: &[ModelView]) -> Self {
        let is_name = |word: &str| {
            let word = word.to_lowercase();
            models
                .iter()
                .any(|model| model.model.to_lowercase().contains(&word))
        };
        let words = split(filter, is_name).words;
        Self(words.into_iter().filter_map(Term::parse).collect())
    }

    fn matches(&self, model: &ModelView) -> bool {
        self.0.iter().all(|term| match term {
            Term::Name(part) => model.model.to_lowercase().contains(part),
            Term::Number(column, holds, limit) => holds(&column.value(model), limit),
        })
    }
}

impl Term {
    /// `None` where a column has no number after it.
    fn parse(text: &str) -> Option<Self> {
        let name = |text: &str| Some(Self::Name(text.to_lowercase()));
        let Some((column, value)) = text.split_once(':') else {
            return name(text);
        };
        let Ok(column) = column.parse::<Column>() else {
            return name(text);
        };
        if column == Column::Name {
            return name(value);
        }
        let (number, holds) = SIGNS
            .iter()
            .find_map(|(sign, holds)| Some((value.strip_prefix(sign)?, *holds)))?;
        let (digits, scale) = number
            .strip_suffix('%')
            .map_or((number, 1.0), |digits| (digits, 0.01));
        let limit = digits
            .parse::<f64>()
            .ok()
            .filter(|limit| limit.is_finite())?;
        Some(Self::Number(column, holds, limit * scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Tally;

    fn model(name: &str, full: u64, tests: u64) -> ModelView {
        let tally = Tally {
            tests,
            full,
            ..Tally::default()
        };
        ModelView {
            model: name.to_owned(),
            tally,
            ..ModelView::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn rows_change_places_once_a_second_at_most() {
        let mut table = Table::default();
        table.refresh(&[model("a", 9, 10), model("b", 5, 10)], at(0));
        let later = [model("a", 4, 10), model("b", 5, 10), model("c", 10, 10)];
        table.refresh(&later, at(0));
        assert_eq!(table.order, ["a", "b", "c"], "the new one joins at the end");
        assert_eq!(table.next_reorder(), Some(at(1)));
        table.hold(at(1));
        table.refresh(&later, at(1));
        assert_eq!(
            table.order,
            ["a", "b", "c"],
            "somebody chose a row just now"
        );
        table.refresh(&later, at(2));
        assert_eq!(table.order, ["c", "b", "a"]);
        assert_eq!(
            table.selected.as_deref(),
            Some("a"),
            "the selection follows the model"
        );
        assert_eq!(table.next_reorder(), None);
    }

    #[test]
    fn a_vanished_model_gives_the_selection_to_the_first() {
        let mut table = Table::default();
        table.refresh(&[model("a", 9, 10), model("b", 5, 10)], at(0));
        table.select(1);
        table.refresh(&[model("a", 9, 10)], at(1));
        assert_eq!(
            (table.order.len(), table.selected.as_deref()),
            (1, Some("a"))
        );
    }

    #[test]
    fn filters_by_name_and_by_column() {
        let models = [
            model("Qwen-72b", 9, 10),
            model("claude", 1, 200),
            model("qwen-7b", 1, 10),
        ];
        let shown = |filter: &str| {
            let mut table = Table {
                filter: filter.to_owned(),
                ..Table::default()
            };
            table.refresh(&models, at(0));
            table.order
        };
        assert_eq!(shown("qwen"), ["Qwen-72b", "qwen-7b"]);
        assert_eq!(shown("qwen rate:>50%"), ["Qwen-72b"]);
        assert_eq!(shown("tests:>100"), ["claude"]);
        assert_eq!(shown("rate:<0.5"), ["qwen-7b", "claude"]);
        assert_eq!(shown("rate:>=0.9"), ["Qwen-72b"]);
        assert_eq!(shown("rate:<=10%"), ["qwen-7b", "claude"]);
        assert_eq!(shown("tests:>=10 tests:<=10"), ["Qwen-72b", "qwen-7b"]);
        assert_eq!(shown("tests:").len(), 3, "a half-typed term hides nothing");
        assert_eq!(shown("tests:>=").len(), 3);
        assert_eq!(shown("nothing").len(), 0);
    }

    #[test]
    fn every_column_sorts() {
        let mut slow = model("slow", 5, 10);
        slow.tally.execution_time = crate::stats::Sum::of(Some(90.0));
        slow.tally.errors[crate::stats::ErrorCategory::Infrastructure as usize] = 2;
        let rising = ModelView {
            trend: vec![0.1, 0.9],
            per_minute: 4.0,
            ..model("rising", 5, 10)
        };
        let falling = ModelView {
            trend: vec![0.9, 0.1],
            ..model("falling", 9, 100)
        };
        let models = [falling, rising, slow];
        let mut found = Vec::new();
        let mut table = Table::default();
        for _ in Column::iter() {
            table.reorder(&models, at(0));
            let column: &str = table.column.into();
            found.push(format!("{column}: {}", table.order.join(" ")));
            table.next_column();
        }
        assert_eq!(
            found,
            [
                "success: rising slow falling",
                "name: falling rising slow",
                "partial: falling rising slow",
                "ci: rising slow falling",
                "tests: falling rising slow",
                "/min: rising falling slow",
                "infra: slow falling rising",
                "time: slow falling rising",
                "cost: falling rising slow",
                "trend: rising falling slow",
            ]
        );
        assert_eq!(table.column, Column::Rate);
        table.reversed = true;
        table.reorder(&models, at(0));
        assert_eq!(table.order, ["falling", "rising", "slow"]);
    }

    #[test]
    fn the_window_holds_the_row_and_leaves_no_gap() {
        assert_eq!(window(0, 0, 500, 11), 0);
        assert_eq!(window(0, 20, 500, 11), 10);
        assert_eq!(window(15, 20, 500, 11), 15);
        assert_eq!(window(490, 499, 500, 11), 489);
        assert_eq!(window(3, 2, 5, 11), 0);
        assert_eq!(window(0, 7, 8, 0), 7);
    }
}
