//! Aligned columns for people: numbers to the right, rates in per cent, times in
//! local time, nothing of the data can steer the terminal.
//!
//! Widths come from the first rows, so that any number of rows streams through;
//! a wider cell further down pushes its line out. On a terminal that is too narrow,
//! columns without a value are left out, text columns shrink, and lines are cut so
//! that none wraps.

use std::fmt::Write as _;
use std::io::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Schema, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::plain::plain;
use super::{RowWriter, refused};
use crate::stats::metric::digits;
use crate::store::Result;
use crate::text::sanitise;

/// Rows that decide the widths.
const SAMPLE: usize = 1_000;
/// Text columns do not shrink below this.
const NARROWEST: usize = 8;
/// Rates of a grouped query, shown in per cent.
const PER_CENT: [&str; 4] = [
    "success_rate",
    "ci_low",
    "ci_high",
    "mean_tool_coverage_rate",
];

/// Money, in dollars.
const MONEY: [&str; 9] = [
    "total_cost",
    "billed",
    "judge",
    "derived",
    "cost_per_pass",
    "sum_cost",
    "mean_cost",
    "sum_derived_cost",
    "mean_derived_cost",
];

/// Aligned columns.
#[derive(Debug)]
pub struct Table<W: Write> {
    out: W,
    terminal: Option<usize>,
    zone: TimeZone,
    columns: Vec<Column>,
    /// The first rows, until the widths are settled.
    sample: Option<Vec<Vec<String>>>,
}

#[derive(Debug)]
struct Column {
    title: String,
    /// Numbers stand to the right.
    right: bool,
    /// Only text can be cut without becoming something else.
    text: bool,
    width: usize,
    hidden: bool,
}

impl<W: Write> Table<W> {
    /// Writes rows of `schema` to `out`, in full or cut to a terminal's width.
    pub fn new(out: W, schema: &Schema, terminal: Option<usize>, zone: TimeZone) -> Self {
        let columns = schema
            .fields()
            .iter()
            .map(|field| {
                let title = sanitise::sanitise(field.name()).into_owned();
                let (right, text) = match field.data_type() {
                    DataType::Timestamp(..) | DataType::Boolean => (false, false),
                    t => (t.is_numeric(), !t.is_numeric()),
                };
                Column {
                    width: sanitise::width(&title),
                    right,
                    text,
                    title,
                    hidden: false,
                }
            })
            .collect();
        Self {
            out,
            terminal,
            zone,
            columns,
            sample: Some(Vec::new()),
        }
    }

    fn settle(&mut self) -> Result<()> {
        let Some(rows) = self.sample.take() else {
            return Ok(());
        };
        for row in &rows {
            for (column, cell) in self.columns.iter_mut().zip(row) {
                column.width = column.width.max(sanitise::width(cell));
            }
        }
        if let Some(terminal) = self.terminal {
            if needed(&self.columns) > terminal {
                for (at, column) in self.columns.iter_mut().enumerate() {
                    let empty = |row: &Vec<String>| row.get(at).is_none_or(String::is_empty);
                    column.hidden = !rows.is_empty() && rows.iter().all(empty);
                }
            }
            shrink(&mut self.columns, terminal);
        }
        let titles: Vec<_> = self.columns.iter().map(|c| c.title.clone()).collect();
        self.line(&titles)?;
        rows.iter().try_for_each(|row| self.line(row))
    }

    fn line(&mut self, cells: &[String]) -> Result<()> {
        let mut line = String::new();
        for (column, cell) in self
            .columns
            .iter()
            .zip(cells)
            .filter(|(column, _)| !column.hidden)
        {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let cell = match self.terminal {
                Some(_) => sanitise::truncate(cell, column.width),
                None => cell.into(),
            };
            let pad = column.width.saturating_sub(sanitise::width(&cell));
            let (before, after) = if column.right { (pad, 0) } else { (0, pad) };
            // Writing to a string can't fail.
            let _ = write!(line, "{:before$}{cell}{:after$}", "", "");
        }
        let line = match self.terminal {
            Some(width) => sanitise::truncate(line.trim_end(), width),
            None => line.trim_end().into(),
        };
        writeln!(self.out, "{line}").map_err(refused)
    }
}

/// The width of a line with every column as wide as it wants to be.
fn needed(columns: &[Column]) -> usize {
    let shown = columns.iter().filter(|column| !column.hidden);
    shown
        .map(|column| column.width + 2)
        .sum::<usize>()
        .saturating_sub(2)
}

/// Takes from the widest text column until the line fits, or none can give more.
fn shrink(columns: &mut [Column], terminal: usize) {
    let mut total = needed(columns);
    while total > terminal {
        let can = |column: &&mut Column| column.text && !column.hidden && column.width > NARROWEST;
        let Some(column) = columns
            .iter_mut()
            .filter(can)
            .max_by_key(|column| column.width)
        else {
            return;
        };
        column.width -= 1;
        total -= 1;
    }
}

impl<W: Write> RowWriter for Table<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = plain(batch, true).map_err(refused)?;
        let schema = batch.schema();
        let cells = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| cells(column, field.name(), &self.zone))
            .collect::<Result<Vec<_>>>()?;
        let mut cells: Vec<_> = cells.into_iter().map(Vec::into_iter).collect();
        for _ in 0..batch.num_rows() {
            let row: Vec<String> = cells
                .iter_mut()
                .map(|column| column.next().unwrap_or_default())
                .collect();
            match &mut self.sample {
                Some(sample) => sample.push(row),
                None => self.line(&row)?,
            }
        }
        if self
            .sample
            .as_ref()
            .is_some_and(|sample| sample.len() >= SAMPLE)
        {
            self.settle()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.settle()
    }
}

/// The cells of a column as people read them.
pub(super) fn cells(column: &dyn Array, name: &str, zone: &TimeZone) -> Result<Vec<String>> {
    let rows = 0..column.len();
    let present = |row: &usize| column.is_valid(*row);
    Ok(match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            let (per_cent, money) = (PER_CENT.contains(&name), MONEY.contains(&name));
            let show = |v: f64| {
                if money {
                    crate::text::numbers::dollars(v)
                } else if per_cent {
                    format!("{:.1}%", v * 100.0)
                } else {
                    short(v)
                }
            };
            rows.map(|row| {
                Some(row)
                    .filter(present)
                    .map(|row| show(values.value(row)))
                    .unwrap_or_default()
            })
            .collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let values = column.as_primitive::<TimestampMicrosecondType>();
            rows.map(|row| {
                let time = Some(row)
                    .filter(present)
                    .and_then(|row| local(values.value(row), zone));
                time.unwrap_or_default()
            })
            .collect()
        }
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column, &options).map_err(refused)?;
            rows.map(|row| {
                let cell = formatter.value(row).try_to_string().map_err(refused)?;
                Ok(sanitise::sanitise(&cell).into_owned())
            })
            .collect::<Result<_>>()?
        }
    })
}

/// Four decimals at most; more would hide the figure in noise. What would then read as nothing has
/// four significant digits.
fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", digits(value.abs()));
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn local(micros: i64, zone: &TimeZone) -> Option<String> {
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(
        time.to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "model",
                Arc::new(StringArray::from(vec![
                    Some("模型-一"),
                    Some("a\x1b[31m-long-model-name"),
                    None,
                ])),
            ),
            (
                "success_rate",
                Arc::new(Float64Array::from(vec![Some(0.7764), Some(f64::NAN), None])),
            ),
            ("tests", Arc::new(Int64Array::from(vec![1302, 7, 12]))),
            (
                "time",
                Arc::new(Float64Array::from(vec![12.345_678, 3.0, 0.5])),
            ),
            (
                "timestamp",
                Arc::new(
                    TimestampMicrosecondArray::from(vec![
                        Some(0),
                        Some(1_700_000_000_000_000),
                        None,
                    ])
                    .with_timezone("UTC"),
                ),
            ),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn print(terminal: Option<usize>) -> String {
        let mut out = Vec::new();
        let batch = batch();
        let mut table = Box::new(Table::new(
            &mut out,
            &batch.schema(),
            terminal,
            TimeZone::UTC,
        ));
        table.write(&batch).unwrap();
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn aligns_by_unicode_width_and_shows_rates_in_per_cent() {
        insta::assert_snapshot!(print(None), @r"
        model                   success_rate  tests     time  timestamp
        模型-一                        77.6%   1302  12.3457  1970-01-01 00:00:00
        a�[31m-long-model-name                    7        3  2023-11-14 22:13:20
                                                 12      0.5
        ");
    }

    #[test]
    fn fits_a_terminal_exactly() {
        for terminal in [5, 40, 70, 200] {
            for line in print(Some(terminal)).lines() {
                assert!(sanitise::width(line) <= terminal, "{terminal}: {line}");
            }
        }
        assert!(
            print(Some(60)).contains("  2023-11-14 22:13:20\n"),
            "only text is cut"
        );
    }

    #[test]
    fn a_narrow_terminal_shows_no_empty_columns() {
        let names = ["model", "prompt_type", "difficulty", "error_message"];
        let column =
            |at| -> ArrayRef { Arc::new(StringArray::from(vec![(at % 2 == 0).then_some("text")])) };
        let batch = RecordBatch::try_from_iter(
            names
                .iter()
                .enumerate()
                .map(|(at, name)| (*name, column(at))),
        )
        .unwrap();
        for (terminal, expected) in [
            (80, "model  prompt_type  difficulty  error_message"),
            (30, "model  difficulty"),
        ] {
            let mut out = Vec::new();
            let mut table = Box::new(Table::new(
                &mut out,
                &batch.schema(),
                Some(terminal),
                TimeZone::UTC,
            ));
            table.write(&batch).unwrap();
            table.finish().unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.lines().next(), Some(expected));
        }
    }

    #[test]
    fn no_rows_are_still_a_header() {
        let mut out = Vec::new();
        let table = Box::new(Table::new(&mut out, &batch().schema(), None, TimeZone::UTC));
        table.finish().unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "model  success_rate  tests  time  timestamp\n"
        );
    }

    #[test]
    fn any_number_of_rows_streams_through() {
        let mut out = Vec::new();
        let batch = batch();
        let mut table = Box::new(Table::new(&mut out, &batch.schema(), None, TimeZone::UTC));
        for _ in 0..1000 {
            table.write(&batch).unwrap();
        }
        assert!(table.sample.is_none());
        table.finish().unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 3001);
    }

    #[test]
    fn small_numbers_do_not_read_as_nothing() {
        for (value, expected) in [
            (0.0, "0"),
            (5.9e-6, "0.0000059"),
            (-0.000_123_456, "-0.0001235"),
            (1e-12, "1.000e-12"),
            (0.001, "0.001"),
            (0.123_456, "0.1235"),
        ] {
            assert_eq!(short(value), expected);
        }
    }
}
