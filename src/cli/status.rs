//! `status`: one look at a store. Never changes it: no file, not even a lock.

use std::io::{ErrorKind, IsTerminal, Write, stdout};

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::loudness::complain;
use super::{Exit, StatusArgs, StatusFormat, dir, report, terminal_columns};
use crate::health::worst;
use crate::monitor::{Monitor, StoreState};
use crate::store::Error;

/// `evaltop status`.
pub fn run(args: &StatusArgs) -> Result<Exit> {
    let (store, config) = dir::open(args.dir.as_deref())?;
    if let Err(error @ Error::NoStore { .. }) = store.check() {
        return Err(error.into());
    }
    let seen = Monitor::new(store, config).observe(Timestamp::now());
    let text = match args.format {
        StatusFormat::Text => {
            let columns = stdout().is_terminal().then(terminal_columns);
            report::text::render(&seen, &TimeZone::system(), columns)
        }
        StatusFormat::Json => report::json::render(&seen),
        StatusFormat::Tmux => report::tmux::render(&seen),
        StatusFormat::Prometheus => report::prometheus::render(&seen),
    };
    match stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        result => result?,
    }
    if let StoreState::Unreadable(sentence) = &seen.state {
        complain(sentence);
    }
    Ok(worst(&seen.alerts).into())
}
