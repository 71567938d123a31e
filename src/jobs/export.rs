//! Export as a job.

use super::{ExportOptions, Outcome, Plan};
use crate::store::{Control, Error, Result, Store};

pub(super) fn plan(_store: &Store, options: &ExportOptions) -> Result<Plan> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}

pub(super) fn run(_store: &Store, options: &ExportOptions, _control: &Control) -> Result<Outcome> {
    Err(Error::Refused(format!("{options:?} is not there yet")))
}
