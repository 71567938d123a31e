//! Numbers, sizes, durations and widths as people read them, and text made safe for a terminal.

pub(crate) mod locale;
pub(crate) mod numbers;
pub mod sanitise;
pub(crate) mod suggest;
pub(crate) mod units;
pub(crate) mod width;
