//! Watching and scanning a store: turns snapshots and file-system events into
//! [`Observation`]s, the plain data that `status` prints and the dashboard draws.

pub mod observation;

pub use observation::Observation;
