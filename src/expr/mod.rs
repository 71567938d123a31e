//! The expression grammar: conditions and computed columns, wherever a person types one.
//!
//! ```text
//! difficulty = hard and (score >= 0.8 or success)      bare words are columns, else values
//! model in ('opal-4', 'quartz-xl') and error_type is null
//! timestamp >= '2026-01-31' and model like 'opal%'      quotes make text
//! input_tokens + output_tokens > 10000                  arithmetic
//! hour(timestamp)    bucket(score, 0.1)    bucket(timestamp, 15m)
//! ```
//!
//! - A bare name that is a column is that column; backticks name a column with any letters.
//! - Quotes, single or double, make text; a doubled quote inside stands for one.
//! - A bare word that is not a column is text where it is compared with a column of text. Nothing
//!   here knows the values of a column, so [`Bound::words`] lists such words, for the caller to
//!   look up. Anywhere else it is an error with a suggestion.
//! - Null is unknown: a comparison with it is null, `and`, `or` and `not` follow Kleene, and
//!   [`Bound::matches`] takes only what is true. NaN is null.
//! - Text that is compared with a number is read as one. Text that is not a number equals none;
//!   in any other comparison it is null, or an error after [`Bound::strict`].
//!
//! Three steps: parse once, bind to the columns of a table once, evaluate batch by batch.
//!
//! ```
//! # use std::sync::Arc;
//! # use arrow::array::{Float64Array, RecordBatch, StringArray};
//! # use arrow::datatypes::{DataType, Field, Schema};
//! use evaltop::internals::expr::{Context, Expr};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let schema = Arc::new(Schema::new(vec![
//! #     Field::new("model", DataType::Utf8, true),
//! #     Field::new("score", DataType::Float64, true),
//! # ]));
//! # let batch = RecordBatch::try_new(schema.clone(), vec![
//! #     Arc::new(StringArray::from(vec!["a", "b", "a"])),
//! #     Arc::new(Float64Array::from(vec![Some(1.0), Some(1.0), None])),
//! # ])?;
//! let condition: Expr = "score >= 0.8 and model = a".parse()?;
//! let bound = condition.bind(&schema, &Context::utc())?;
//! assert_eq!(bound.columns(), ["model", "score"]);
//! assert_eq!(bound.words()[0].text, "a"); // Is there a model `a`? The caller finds out.
//! assert_eq!(bound.matches(&batch)?.true_count(), 1);
//!
//! let error = "scroe >= 0.8".parse::<Expr>()?.bind(&schema, &Context::utc()).unwrap_err();
//! assert_eq!(error.to_string(), "no column 'scroe' (did you mean 'score'?)");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use jiff::tz::TimeZone;

mod bind;
mod data;
mod evaluate;
mod functions;
mod lexer;
mod like;
mod parser;

pub use bind::{Bound, Type, Word};

use parser::Node;

/// Why an expression can't be read, does not fit its columns, or can't be evaluated: one
/// sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What an expression means beyond its columns.
#[derive(Debug, Clone)]
pub struct Context {
    /// Zone of times that are written without one, and of `hour`, `date` and `bucket`.
    pub zone: TimeZone,
    /// What `now()` is.
    pub now: Timestamp,
}

impl Context {
    /// Times in UTC, now.
    pub fn utc() -> Self {
        Self {
            zone: TimeZone::UTC,
            now: Timestamp::now(),
        }
    }
}

/// A parsed expression that no table has been named for.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    text: String,
    node: Node,
}

impl Expr {
    /// The expression as it was typed; the bare name of a column in backticks.
    pub fn text(&self) -> &str {
        match &self.node.kind {
            parser::Kind::Column(name) => name,
            _ => &self.text,
        }
    }

    /// Gives names their columns and checks types.
    pub fn bind(&self, schema: &Schema, context: &Context) -> Result<Bound, Error> {
        bind::bind(self, schema, context)
    }

    /// Every word that may be the name of a column.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.node.names(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The name and the arguments, where it is a call such as `mean(score)`.
    pub fn call(&self) -> Option<(&str, Vec<Self>)> {
        let parser::Kind::Call(name, arguments) = &self.node.kind else {
            return None;
        };
        let argument = |node: &Node| Self {
            text: self
                .text
                .get(node.span.clone())
                .unwrap_or_default()
                .to_owned(),
            node: node.at(node.span.start),
        };
        Some((name, arguments.iter().map(argument).collect()))
    }

    /// Expressions with commas between them.
    pub fn list(text: &str) -> Result<Vec<Self>, Error> {
        parser::parse_list(text)
    }
}

impl FromStr for Expr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parser::parse(text)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests;
