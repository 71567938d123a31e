//! Rows over time in bounded memory.

/// Rows per bucket of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {}
