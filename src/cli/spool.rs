//! `spool`: what writers of mailboxes have put aside until it is there.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Exit, ReportFormat, out, verbosity};
use crate::config::{show_counted, show_size};
use crate::sources::mailbox::{Sender, Spool};
use crate::text::sanitise::sanitise;

/// `evaltop spool`.
#[derive(Debug, Clone, Args)]
pub struct SpoolArgs {
    /// Send what is left
    #[arg(long)]
    pub flush: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// `evaltop spool`.
pub fn run(args: &SpoolArgs) -> Result<Exit> {
    let mut exit = Exit::Ok;
    let mut out = out::stdout();
    let mut any = false;
    for spool in Spool::all()? {
        let before = spool.left()?;
        if before.files == 0 && args.format == ReportFormat::Text {
            continue;
        }
        any = true;
        let flushed = if args.flush && before.files > 0 {
            Sender::start(&spool).and_then(|sender| sender.flush())
        } else {
            Ok(())
        };
        let left = spool.left()?;
        let name = spool.url.name();
        if let Err(error) = &flushed {
            exit = Exit::Failed;
            verbosity::complain(&error.to_string());
        }
        if args.format == ReportFormat::Json {
            let line = json!({
                "schema_version": 1, "mailbox": name, "spool": spool.store.layout.root(),
                "files": left.files, "bytes": left.bytes, "writers": left.live,
                "sent": before.files.saturating_sub(left.files),
                "error": flushed.as_ref().err().map(ToString::to_string),
            });
            writeln!(out, "{line}")?;
        } else if !verbosity::quiet() {
            let mut text = format!(
                "{name}: {}, {}",
                show_counted(left.files, "file"),
                show_size(left.bytes)
            );
            if left.live > 0 {
                text = format!("{text}, {} at work", show_counted(left.live, "writer"));
            }
            writeln!(out, "{}", sanitise(&text))?;
        }
    }
    if !any && args.format == ReportFormat::Text && !verbosity::quiet() {
        writeln!(out, "nothing is left: the mailboxes have everything")?;
    }
    Ok(exit)
}
