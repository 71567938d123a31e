//! Statistics as pure functions over plain data: no file, no clock, no terminal.
//! Each public function cites its formula.

pub mod burst;
pub mod cell;
pub mod cells;
pub mod clusters;
pub mod collections;
pub mod decimal_sum;
pub mod eta;
pub mod history;
pub mod interval;
pub mod levels;
pub mod metric;
pub mod money;
pub mod paired;
pub mod paired_means;
pub mod prices;
pub mod progress;
pub mod quantiles;
pub mod spent;
pub mod spread;
pub mod student;
mod tally;
pub mod trials;

pub use cell::{Cell, Rate};
pub use cells::Cells;
pub use tally::{ErrorCategory, Sum, Tally};
