//! Names become columns, and every operation gets the types that it works on.

use std::fmt;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch, StringArray,
};
use arrow::datatypes::Schema;
use jiff::{Timestamp, civil};

use super::data::{Data, Values, type_of};
use super::functions::Function;
use super::parser::{Comparison, Kind, Node, Operator};
use super::{Context, Error, Expr};
use crate::text::suggest::did_you_mean;
use crate::text::units::parse_duration;

/// What an expression or a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Truth values.
    Bool,
    /// Whole numbers.
    Int,
    /// Doubles.
    Float,
    /// Text.
    Text,
    /// Times: microseconds, UTC.
    Time,
    /// Nothing but null.
    Null,
    /// Lists, structures, bytes: only `is null` works on them.
    Other,
}

impl Type {
    /// Numbers, or truth values that count as 0 and 1.
    pub fn is_number(self) -> bool {
        matches!(self, Self::Bool | Self::Int | Self::Float)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Int | Self::Float => "a number",
            Self::Text => "text",
            Self::Time => "a time",
            Self::Null => "null",
            Self::Other => "a structure",
        })
    }
}

/// A bare word that was taken as a value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The column that it is compared with.
    pub column: String,
    /// The word.
    pub text: String,
}

/// An expression on the columns of a table.
#[derive(Debug, Clone)]
pub struct Bound {
    pub(super) root: Typed,
    pub(super) context: Context,
    pub(super) strict: bool,
    columns: Vec<String>,
    words: Vec<Word>,
}

impl Bound {
    /// The columns that it reads, by name.
    pub fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    /// Bare words that are right only if their columns hold them.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// What it gives.
    pub fn of(&self) -> Type {
        self.root.of
    }

    /// Where text is compared with a number and is none, evaluation ends with an error that
    /// names the row's value; otherwise the comparison is null.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Whether each row of a batch fulfils it; null where that is unknown. A number fulfils it
    /// unless it is 0.
    pub fn truths(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let data = self.data(batch)?;
        let rows = batch.num_rows();
        Ok(match self.root.of {
            Type::Bool => (0..rows).map(|row| data.bool(row)).collect(),
            Type::Int | Type::Float => (0..rows).map(|row| Some(data.float(row)? != 0.0)).collect(),
            Type::Text => self.truths_of(&data, rows)?,
            Type::Null => BooleanArray::new_null(rows),
            other => return Err(Error::new(format!("{other} is not a condition"))),
        })
    }

    /// Which rows of a batch fulfil it for certain.
    pub fn matches(&self, batch: &RecordBatch) -> Result<BooleanArray, Error> {
        let truths = self.truths(batch)?;
        Ok(truths
            .iter()
            .map(|truth| Some(truth == Some(true)))
            .collect())
    }

    /// Its value for each row of a batch: booleans, 64-bit integers, doubles, text or
    /// microseconds in UTC.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        Ok(self.countable(batch)?.array(batch.num_rows()))
    }

    /// Integers of the result have 64 bits with a sign: what does not fit is an error, because a
    /// value that is left out makes a wrong number.
    fn countable(&self, batch: &RecordBatch) -> Result<Data, Error> {
        let data = self.data(batch)?;
        if data.is_unsigned() {
            return Err(Error::new(
                "whole numbers of 2^63 and above can't be grouped or counted with: multiply by 1.0 to take them as doubles",
            ));
        }
        Ok(data)
    }

    /// The same; text may come as a dictionary with keys of 32 bits.
    pub fn evaluate_keyed(&self, batch: &RecordBatch) -> Result<ArrayRef, Error> {
        let data = self.countable(batch)?;
        Ok(data
            .dictionary_array()
            .unwrap_or_else(|| data.array(batch.num_rows())))
    }
}

/// An operation and the type of its result.
#[derive(Debug, Clone)]
pub(super) struct Typed {
    pub(super) op: Op,
    pub(super) of: Type,
    text: String,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Column(String),
    Literal(Data),
    Not(Box<Typed>),
    All(Vec<Typed>),
    Any(Vec<Typed>),
    Compare(Comparison, As, Box<Typed>, Box<Typed>),
    Arithmetic(Operator, Box<Typed>, Box<Typed>),
    Negate(Box<Typed>),
    Like(Box<Typed>, Box<Typed>),
    IsNull(Box<Typed>),
    Call(Function, Vec<Typed>),
}

/// What both sides of a comparison are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Bool,
    Int,
    Number,
    Text,
    Time,
    /// One side is text that is read as numbers.
    TextNumber,
    /// One side is text that is read as truth values.
    TextBool,
}

pub(super) fn bind(expr: &Expr, schema: &Schema, context: &Context) -> Result<Bound, Error> {
    let mut binder = Binder {
        text: &expr.text,
        schema,
        context,
        columns: Vec::new(),
        words: Vec::new(),
    };
    let root = binder.node(&expr.node)?;
    let mut columns = binder.columns;
    columns.sort_unstable();
    columns.dedup();
    let words = binder.words;
    Ok(Bound {
        root,
        context: context.clone(),
        strict: false,
        columns,
        words,
    })
}

struct Binder<'a> {
    text: &'a str,
    schema: &'a Schema,
    context: &'a Context,
    columns: Vec<String>,
    words: Vec<Word>,
}

impl Binder<'_> {
    fn source(&self, node: &Node) -> &str {
        self.text.get(node.span.clone()).unwrap_or_default()
    }

    fn typed(&self, node: &Node, op: Op, of: Type) -> Typed {
        let text = self.source(node).to_owned();
        Typed { op, of, text }
    }

    fn column(&mut self, node: &Node, name: &str) -> Option<Typed> {
        let field = self.schema.field_with_name(name).ok()?;
        self.columns.push(name.to_owned());
        Some(self.typed(
            node,
            Op::Column(name.to_owned()),
            type_of(field.data_type()),
        ))
    }

    fn unknown(&self, name: &str) -> Error {
        let there_are = || {
            self.schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
        };
        let meant = did_you_mean(name, there_are());
        Error::new(if meant.is_empty() {
            let there_are = there_are().collect::<Vec<_>>().join(", ");
            format!("no column '{name}' (text is written in quotes): the columns are {there_are}")
        } else {
            format!("no column '{name}'{meant}")
        })
    }

    fn node(&mut self, node: &Node) -> Result<Typed, Error> {
        let literal = |values, of| (Op::Literal(Data::constant(values)), of);
        let (op, of) = match &node.kind {
            Kind::Name(name) | Kind::Column(name) => {
                return self.column(node, name).ok_or_else(|| self.unknown(name));
            }
            Kind::Text(text) => literal(
                Values::Text(StringArray::from(vec![text.as_str()])),
                Type::Text,
            ),
            Kind::Int(number) => literal(Values::Int(Int64Array::from(vec![*number])), Type::Int),
            Kind::Float(number) => literal(
                Values::Float(Float64Array::from(vec![*number])),
                Type::Float,
            ),
            Kind::Odd(text) => {
                let seconds = parse_duration(text).map_err(|_| {
                    Error::new(format!(
                        "'{text}' is neither a number nor a duration (text is written in quotes)"
                    ))
                })?;
                let seconds = seconds.as_secs_f64();
                literal(
                    Values::Float(Float64Array::from(vec![seconds])),
                    Type::Float,
                )
            }
            Kind::Bool(truth) => {
                literal(Values::Bool(BooleanArray::from(vec![*truth])), Type::Bool)
            }
            Kind::Null => {
                let null = std::sync::Arc::new(NullArray::new(1));
                literal(Values::Other(null), Type::Null)
            }
            Kind::Not(inner) => (Op::Not(self.condition(inner)?.into()), Type::Bool),
            Kind::All(parts) => (Op::All(self.conditions(parts)?), Type::Bool),
            Kind::Any(parts) => (Op::Any(self.conditions(parts)?), Type::Bool),
            Kind::IsNull(inner) => (Op::IsNull(self.node(inner)?.into()), Type::Bool),
            Kind::Compare(comparison, a, b) => (self.compare(*comparison, a, b)?, Type::Bool),
            Kind::In(value, list) => {
                let equal = |item| {
                    let op = self.compare(Comparison::Equal, value, item)?;
                    Ok(self.typed(node, op, Type::Bool))
                };
                (
                    Op::Any(list.iter().map(equal).collect::<Result<_, _>>()?),
                    Type::Bool,
                )
            }
            Kind::Like(value, pattern) => {
                let (value, pattern) = self.sides(value, pattern)?;
                if let Some(other) = [&value, &pattern]
                    .into_iter()
                    .find(|side| side.of != Type::Text)
                {
                    return Err(mismatch(other, "like compares text"));
                }
                (Op::Like(value.into(), pattern.into()), Type::Bool)
            }
            Kind::Negate(inner) => {
                let inner = self.node(inner)?;
                let of = arithmetic(&inner, &inner, Operator::Subtract)?;
                (Op::Negate(inner.into()), of)
            }
            Kind::Arithmetic(operator, a, b) => {
                // `exact-match`: one name, where there is such a column.
                let name = self.source(node).to_owned();
                if let Some(column) = self.column(node, &name) {
                    return Ok(column);
                }
                let (a, b) = (self.node(a)?, self.node(b)?);
                let of = arithmetic(&a, &b, *operator)?;
                (Op::Arithmetic(*operator, a.into(), b.into()), of)
            }
            Kind::Call(name, arguments) => {
                let typed = arguments
                    .iter()
                    .map(|argument| self.node(argument))
                    .collect::<Result<Vec<_>, _>>()?;
                if name == "now" && typed.is_empty() {
                    let now = self.context.now.as_microsecond();
                    literal(Values::Time(Int64Array::from(vec![now])), Type::Time)
                } else {
                    let types: Vec<Type> = typed.iter().map(|argument| argument.of).collect();
                    let (function, of) = Function::named(name, &types)?;
                    (Op::Call(function, typed), of)
                }
            }
        };
        Ok(self.typed(node, op, of))
    }

    fn conditions(&mut self, parts: &[Node]) -> Result<Vec<Typed>, Error> {
        parts.iter().map(|part| self.condition(part)).collect()
    }

    fn condition(&mut self, node: &Node) -> Result<Typed, Error> {
        let typed = self.node(node)?;
        if typed.of == Type::Bool || typed.of == Type::Null {
            Ok(typed)
        } else {
            Err(mismatch(&typed, "and, or and not join conditions"))
        }
    }

    /// Both sides of a comparison; a bare word next to a column of text is text.
    fn sides(&mut self, a: &Node, b: &Node) -> Result<(Typed, Typed), Error> {
        match (self.node(a), self.node(b)) {
            (Ok(left), Ok(right)) => Ok(match (&a.kind, &b.kind) {
                // `size = 70m`: 70 minutes only where nothing else can be meant.
                (_, Kind::Odd(_)) => {
                    let word = self.word(&left, b);
                    (left, word.unwrap_or(right))
                }
                (Kind::Odd(_), _) => {
                    let word = self.word(&right, a);
                    (word.unwrap_or(left), right)
                }
                _ => (left, right),
            }),
            (Ok(left), Err(error)) => {
                let word = self.word(&left, b).ok_or(error)?;
                Ok((left, word))
            }
            (Err(error), Ok(right)) => {
                let word = self.word(&right, a).ok_or(error)?;
                Ok((word, right))
            }
            (Err(error), Err(_)) => Err(error),
        }
    }

    fn word(&mut self, other: &Typed, node: &Node) -> Option<Typed> {
        let (Op::Column(column), Type::Text) = (&other.op, other.of) else {
            return None;
        };
        let text = match &node.kind {
            Kind::Name(name) => name.clone(),
            // `gpt-4o` and `org/model-7b` are read as arithmetic.
            Kind::Arithmetic(..) | Kind::Odd(_) => self.source(node).to_owned(),
            _ => return None,
        };
        let spaced = text.contains(char::is_whitespace) && !matches!(node.kind, Kind::Name(_));
        if spaced || text.contains(['(', ')', '\'', '"', '`']) {
            return None;
        }
        self.words.push(Word {
            column: column.clone(),
            text: text.clone(),
        });
        let values = Values::Text(StringArray::from(vec![text.as_str()]));
        Some(self.typed(node, Op::Literal(Data::constant(values)), Type::Text))
    }

    fn compare(&mut self, comparison: Comparison, a: &Node, b: &Node) -> Result<Op, Error> {
        let (mut left, mut right) = self.sides(a, b)?;
        if left.of == Type::Time {
            self.read_time(&mut right)?;
        }
        if right.of == Type::Time {
            self.read_time(&mut left)?;
        }
        let compared = compared_as(&left, &right)?;
        Ok(Op::Compare(comparison, compared, left.into(), right.into()))
    }

    /// Text next to a time is a time.
    fn read_time(&self, side: &mut Typed) -> Result<(), Error> {
        let (Op::Literal(data), Type::Text) = (&side.op, side.of) else {
            return Ok(());
        };
        let text = data.text(0).unwrap_or_default().trim();
        let naive = || {
            let wall: civil::DateTime = text.parse().ok()?;
            self.context.zone.to_timestamp(wall).ok()
        };
        let time = text
            .parse::<Timestamp>()
            .ok()
            .or_else(naive)
            .ok_or_else(|| {
                Error::new(format!(
                    "'{text}' is not a time: write '2026-01-31', '2026-01-31T12:00:00Z' or now() - 2h"
                ))
            })?;
        let micros = Int64Array::from(vec![time.as_microsecond()]);
        side.op = Op::Literal(Data::constant(Values::Time(micros)));
        side.of = Type::Time;
        Ok(())
    }
}

fn compared_as(a: &Typed, b: &Typed) -> Result<As, Error> {
    let text_column = |side: &Typed| !matches!(side.op, Op::Literal(_));
    match (a.of, b.of) {
        // A column without a single value is null in every row.
        (Type::Null, _) | (_, Type::Null) => {
            let literal = [a, b]
                .iter()
                .any(|side| matches!(side.op, Op::Literal(_)) && side.of == Type::Null);
            if literal {
                Err(Error::new(
                    "nothing equals null: write 'is null' or 'is not null'",
                ))
            } else {
                Ok(As::Text)
            }
        }
        (Type::Bool, Type::Bool) => Ok(As::Bool),
        (Type::Int, Type::Int) => Ok(As::Int),
        (Type::Text, Type::Text) => Ok(As::Text),
        (Type::Time, Type::Time) => Ok(As::Time),
        (x, y) if x.is_number() && y.is_number() => Ok(As::Number),
        (Type::Text, Type::Int | Type::Float) if text_column(a) => Ok(As::TextNumber),
        (Type::Int | Type::Float, Type::Text) if text_column(b) => Ok(As::TextNumber),
        (Type::Text, Type::Bool) if text_column(a) => Ok(As::TextBool),
        (Type::Bool, Type::Text) if text_column(b) => Ok(As::TextBool),
        (Type::Text, other) if other.is_number() => {
            Err(mismatch(b, &format!("{} is text", a.text)))
        }
        (other, Type::Text) if other.is_number() => {
            Err(mismatch(a, &format!("{} is text", b.text)))
        }
        _ => Err(mismatch(a, &format!("{} is {}", b.text, b.of))),
    }
}

fn arithmetic(a: &Typed, b: &Typed, operator: Operator) -> Result<Type, Error> {
    match (a.of, b.of, operator) {
        (Type::Time, Type::Time, Operator::Subtract) => Ok(Type::Float),
        (Type::Time, seconds, Operator::Add | Operator::Subtract) if seconds.is_number() => {
            Ok(Type::Time)
        }
        (x, y, _) if x.is_number() && y.is_number() => {
            let float = x == Type::Float || y == Type::Float || operator == Operator::Divide;
            Ok(if float { Type::Float } else { Type::Int })
        }
        (x, _, _) if x.is_number() => Err(mismatch(b, "only numbers can be computed with")),
        _ => Err(mismatch(a, "only numbers can be computed with")),
    }
}

fn mismatch(side: &Typed, why: &str) -> Error {
    Error::new(format!("{} is {}, but {why}", side.text, side.of))
}
