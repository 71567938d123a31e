//! A realistic live store.

pub mod simulation;
