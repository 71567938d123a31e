//! A realistic live store.
