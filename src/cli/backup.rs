//! `backup`: copies main into `backups/`, or the whole store into another folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::jobs::perform;
use super::progress::Shown;
use super::{Exit, MaintainArgs, ReportFormat, Usage, dir, out, verbosity};
use crate::config::{show_counted, show_size};
use crate::jobs::Request;
use crate::store::maintain::copy;
use crate::text::sanitise::sanitise;

/// `evaltop backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Copy the whole store, exactly, into this folder instead; programs may go on writing
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
}

/// `evaltop backup`.
pub fn run(args: &BackupArgs) -> Result<Exit> {
    match &args.to {
        Some(to) => whole(&args.common, to),
        None => perform("backup", &args.common, &Request::Backup),
    }
}

fn whole(args: &MaintainArgs, to: &Path) -> Result<Exit> {
    if args.dry_run {
        return Err(
            Usage("--to has no --dry-run: it changes nothing that is there".to_owned()).into(),
        );
    }
    dir::written(to)?;
    let (store, _) = dir::existing(args.dir.as_deref())?;
    let shown = Shown::new();
    let copied = copy::run(&store, to, &shown.control)?;
    drop(shown);
    for file in &copied.torn {
        let _ = writeln!(
            io::stderr(),
            "evaltop: {} changed each time while it was copied, so that the copy may lack its newest rows: copy again, into another folder",
            sanitise(&file.display().to_string())
        );
    }
    let mut out = out::stdout();
    if args.format == ReportFormat::Json {
        let report = json!({
            "schema_version": 1, "copy": to, "files": copied.files, "bytes": copied.bytes, "changed": copied.torn,
        });
        writeln!(out, "{report}")?;
    } else if !verbosity::quiet() {
        let (files, bytes) = (show_counted(copied.files, "file"), show_size(copied.bytes));
        writeln!(out, "copied {files}, {bytes}, to {}", to.display())?;
    }
    Ok(if copied.torn.is_empty() {
        Exit::Ok
    } else {
        Exit::Warning
    })
}
