//! What the dashboard knows: plain state.

pub(crate) mod alert_history;
pub(crate) mod filter;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod model;
pub(crate) mod settings;
pub(crate) mod table;
