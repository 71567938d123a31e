//! Statistics as pure functions over plain data: no file, no clock, no terminal.
//! Each public function cites its formula.

pub mod burst;
pub mod cell;
pub mod cells;
pub mod clusters;
pub mod eta;
pub mod hashed;
pub mod history;
pub mod interval;
pub mod levels;
pub mod paired;
pub mod progress;
pub mod spread;
pub mod tally;

pub use cell::{Cell, Rate};
pub use cells::Cells;
pub use tally::{ErrorCategory, Sum, Tally};
