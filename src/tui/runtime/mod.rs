//! Terminal, output, signals, clocks and background work.

mod ask;
pub(crate) mod clock;
pub(crate) mod hook;
pub(crate) mod notify;
pub(crate) mod output;
pub(crate) mod redraw;
pub(crate) mod scheduler;
pub(crate) mod signals;
pub(crate) mod terminal;
pub(crate) mod workers;
