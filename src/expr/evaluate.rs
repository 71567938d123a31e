//! A bound expression over the rows of a batch.

use std::cmp::Ordering;

use arrow::array::{BooleanArray, Float64Array, RecordBatch};

use super::bind::{As, Bound, Op, Typed};
use super::data::{Data, Values, beyond};
use super::like::like;
use super::parser::{Comparison, Operator};
use super::{Error, Type};

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }

    /// What it says of two values that differ and have no order.
    fn of_different(self) -> Option<bool> {
        match self {
            Self::Equal => Some(false),
            Self::Unequal => Some(true),
            _ => None,
        }
    }
}

impl Bound {
    pub(super) fn data(&self, batch: &RecordBatch) -> Result<Data, Error> {
        self.run(&self.root, batch)
    }

    pub(super) fn truths_of(&self, data: &Data, rows: usize) -> Result<BooleanArray, Error> {
        let truths = data.map_text(rows, |text| Some(truth(text)));
        let mut all = Vec::with_capacity(rows);
        for (row, truth) in truths.into_iter().enumerate() {
            if self.strict && truth == Some(None) && !is_absent(data.text(row)) {
                let text = brief(data.text(row));
                return Err(Error::new(format!("'{text}' is neither true nor false")));
            }
            all.push(truth.flatten());
        }
        Ok(all.into())
    }

    fn run(&self, typed: &Typed, batch: &RecordBatch) -> Result<Data, Error> {
        let rows = batch.num_rows();
        Ok(match &typed.op {
            Op::Column(name) => {
                let column = batch.column_by_name(name);
                let column = column.ok_or_else(|| Error::new(format!("no column '{name}'")))?;
                Data::column(column, &self.context.zone)?
            }
            Op::Literal(data) => data.clone(),
            Op::Not(inner) => {
                let inner = self.run(inner, batch)?;
                truths(rows, |row| inner.bool(row).map(|truth| !truth))
            }
            Op::All(parts) => self.join(parts, batch, false)?,
            Op::Any(parts) => self.join(parts, batch, true)?,
            Op::IsNull(inner) => {
                let inner = self.run(inner, batch)?;
                truths(rows, |row| Some(inner.is_null(row)))
            }
            Op::Compare(comparison, compared, a, b) => {
                let (a, b) = (self.run(a, batch)?, self.run(b, batch)?);
                self.compare(*comparison, *compared, &a, &b, rows)?
            }
            Op::Like(value, pattern) => {
                let (value, pattern) = (self.run(value, batch)?, self.run(pattern, batch)?);
                if pattern.constant {
                    let pattern = pattern.text(0).unwrap_or_default();
                    let found = value.map_text(rows, |text| Some(like(text, pattern)));
                    Data::rows(Values::Bool(found.into()))
                } else {
                    truths(rows, |row| Some(like(value.text(row)?, pattern.text(row)?)))
                }
            }
            Op::Negate(inner) => {
                let inner = self.run(inner, batch)?;
                if typed.of == Type::Int {
                    Data::integers(rows, |row| Ok(inner.integer(row).map(|value| -value)))?
                } else {
                    doubles(rows, |row| Some(-inner.float(row)?))
                }
            }
            Op::Arithmetic(operator, a, b) => {
                let times = (a.of == Type::Time, b.of == Type::Time);
                let (a, b) = (self.run(a, batch)?, self.run(b, batch)?);
                match (times, typed.of) {
                    ((true, true), _) => doubles(rows, |row| {
                        Some(a.time(row)?.checked_sub(b.time(row)?)? as f64 / 1e6)
                    }),
                    ((true, false), _) => {
                        let sign = if *operator == Operator::Add {
                            1e6
                        } else {
                            -1e6
                        };
                        let shift = |row| Some((b.float(row)? * sign).round() as i64);
                        let times = (0..rows).map(|row| a.time(row)?.checked_add(shift(row)?));
                        Data::rows(Values::Time(times.collect()))
                    }
                    (_, Type::Int) => {
                        Data::integers(rows, |row| match (a.integer(row), b.integer(row)) {
                            (Some(a), Some(b)) => whole(*operator, a, b),
                            _ => Ok(None),
                        })?
                    }
                    _ => doubles(rows, |row| double(*operator, a.float(row)?, b.float(row)?)),
                }
            }
            Op::Call(function, arguments) => {
                let arguments = arguments
                    .iter()
                    .map(|argument| self.run(argument, batch))
                    .collect::<Result<Vec<_>, _>>()?;
                function.call(typed.of, &arguments, rows, &self.context.zone)?
            }
        })
    }

    /// `or` where `deciding` is true, else `and`: one deciding part decides, whatever is unknown.
    fn join(&self, parts: &[Typed], batch: &RecordBatch, deciding: bool) -> Result<Data, Error> {
        let mut so_far = vec![Some(!deciding); batch.num_rows()];
        for part in parts {
            let part = self.run(part, batch)?;
            for (row, so_far) in so_far.iter_mut().enumerate() {
                if *so_far != Some(deciding) {
                    let own = part.bool(row);
                    *so_far = if own == Some(!deciding) { *so_far } else { own };
                }
            }
        }
        Ok(Data::rows(Values::Bool(so_far.into())))
    }

    fn compare(
        &self,
        comparison: Comparison,
        compared: As,
        a: &Data,
        b: &Data,
        rows: usize,
    ) -> Result<Data, Error> {
        let holds = |order| comparison.holds(order);
        Ok(match compared {
            As::Bool => truths(rows, |row| Some(holds(a.bool(row)?.cmp(&b.bool(row)?)))),
            As::Int => truths(rows, |row| {
                Some(holds(a.integer(row)?.cmp(&b.integer(row)?)))
            }),
            As::Time => truths(rows, |row| Some(holds(a.time(row)?.cmp(&b.time(row)?)))),
            As::Number => truths(rows, |row| {
                Some(holds(a.float(row)?.partial_cmp(&b.float(row)?)?))
            }),
            As::Text => match (a.constant, b.constant) {
                (false, true) => {
                    let Some(other) = b.text(0) else {
                        return Ok(truths(rows, |_| None));
                    };
                    let found = a.map_text(rows, |text| Some(holds(text.cmp(other))));
                    Data::rows(Values::Bool(found.into()))
                }
                _ => truths(rows, |row| Some(holds(a.text(row)?.cmp(b.text(row)?)))),
            },
            As::TextNumber => {
                let (a, b) = (
                    self.read(a, comparison, rows)?,
                    self.read(b, comparison, rows)?,
                );
                truths(rows, |row| match (a.get(row)?, b.get(row)?) {
                    (Read::Value(a), Read::Value(b)) => Some(holds(a.partial_cmp(b)?)),
                    (Read::Absent, _) | (_, Read::Absent) => None,
                    _ => comparison.of_different(),
                })
            }
            As::TextBool => {
                let side = |data: &Data| match &data.values {
                    Values::Bool(_) => Ok((0..rows).map(|row| data.bool(row)).collect()),
                    _ => self.truths_of(data, rows),
                };
                let (a, b): (BooleanArray, BooleanArray) = (side(a)?, side(b)?);
                let found = a.iter().zip(&b).map(|(a, b)| Some(holds(a?.cmp(&b?))));
                Data::rows(Values::Bool(found.collect()))
            }
        })
    }

    /// Numbers, of text too.
    fn read(&self, data: &Data, comparison: Comparison, rows: usize) -> Result<Vec<Read>, Error> {
        if !matches!(data.values, Values::Text(_) | Values::Keyed(..)) {
            let number = |row| data.float(row).map_or(Read::Absent, Read::Value);
            return Ok((0..rows).map(number).collect());
        }
        let read = |text: &str| {
            Some(match text.trim().parse::<f64>() {
                Ok(number) if !number.is_nan() => Read::Value(number),
                Ok(_) => Read::Absent,
                Err(_) if is_absent(Some(text)) => Read::Absent,
                Err(_) => Read::Different,
            })
        };
        let found = data.map_text(rows, read);
        if self.strict && comparison.of_different().is_none() {
            let bad = found
                .iter()
                .position(|read| matches!(read, Some(Read::Different)));
            if let Some(row) = bad {
                return Err(Error::new(format!(
                    "'{}' is not a number",
                    brief(data.text(row))
                )));
            }
        }
        Ok(found
            .into_iter()
            .map(|read| read.unwrap_or(Read::Absent))
            .collect())
    }
}

/// A number that text was read as.
#[derive(Debug, Clone, Copy)]
enum Read {
    Value(f64),
    Absent,
    /// Text that is not a number.
    Different,
}

/// What tables write where there is nothing.
fn is_absent(text: Option<&str>) -> bool {
    let absent = ["", "nan", "none", "null", "na", "n/a"];
    text.is_none_or(|text| absent.contains(&text.trim().to_ascii_lowercase().as_str()))
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" | "1.0" => Some(true),
        "false" | "no" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

fn brief(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().take(40).collect()
}

/// Null for a division by 0.
fn whole(operator: Operator, a: i128, b: i128) -> Result<Option<i128>, Error> {
    let found = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide | Operator::Remainder if b == 0 => return Ok(None),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
    };
    found.map(Some).ok_or_else(beyond)
}

/// Null where there is no finite result, as for a division by 0.
fn double(operator: Operator, a: f64, b: f64) -> Option<f64> {
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Divide => a / b,
        Operator::Remainder => a % b,
    };
    result.is_finite().then_some(result)
}

fn truths(rows: usize, truth: impl Fn(usize) -> Option<bool>) -> Data {
    Data::rows(Values::Bool((0..rows).map(truth).collect()))
}

fn doubles(rows: usize, number: impl Fn(usize) -> Option<f64>) -> Data {
    Data::rows(Values::Float(
        (0..rows).map(number).collect::<Float64Array>(),
    ))
}
