//! A realistic live store to look at: back-dated history, waiting increments, real
//! writer processes, and a story that shows what the dashboard is for.

pub mod history;
pub mod simulation;
pub mod story;
pub mod writer;
