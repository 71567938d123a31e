//! Backup as a job.

use super::{Outcome, Plan};
use crate::store::{Control, Error, Result, Store};

pub(super) fn plan(_store: &Store) -> Result<Plan> {
    Err(Error::Refused("backup is not there yet".to_owned()))
}

pub(super) fn run(_store: &Store, _control: &Control) -> Result<Outcome> {
    Err(Error::Refused("backup is not there yet".to_owned()))
}
