//! Success rates as bars with their 95 % intervals: as text for a terminal, as SVG for a
//! paper. Both draw the whole range from 0 to 100 %, so that pictures can be compared.
//! Differences between two sides lie around zero.

pub mod forest;
pub mod svg;
pub mod text;

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// full / tests, 0 to 1; `None` without tests.
    pub rate: Option<f64>,
    /// The interval of the rate.
    pub interval: Option<(f64, f64)>,
    /// Tests.
    pub tests: u64,
}
