//! Consolidate as a job.

use super::{ConsolidateOptions, Outcome, Plan};
use crate::store::{Control, Error, Result, Store};

pub(super) fn plan(_store: &Store, options: &ConsolidateOptions) -> Result<Plan> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}

pub(super) fn run(_store: &Store, options: &ConsolidateOptions, _control: &Control) -> Result<Outcome> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}
