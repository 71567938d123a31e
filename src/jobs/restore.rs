//! Restore as a job.

use super::{Outcome, Plan, RestoreOptions};
use crate::store::{Control, Error, Result, Store};

pub(super) fn plan(_store: &Store, options: &RestoreOptions) -> Result<Plan> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}

pub(super) fn run(_store: &Store, options: &RestoreOptions, _control: &Control) -> Result<Outcome> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}
