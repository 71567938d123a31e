//! `merge`: several Parquet files into one, each test once.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::progress::Shown;
use super::{Exit, ReportFormat, dir, out, verbosity};
use crate::config::show_counted;
use crate::formats::{self, Form, Output};
use crate::sources::Kind;
use crate::sources::detect;
use crate::store::RealDisk;
use crate::store::maintain::merge::Merge;

/// `evaltop merge`.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// The Parquet files to read
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The Parquet file to write
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Say what would be written and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
    /// Replace an existing file
    #[arg(short, long)]
    pub yes: bool,
}

/// `evaltop merge`.
pub fn run(args: &MergeArgs) -> Result<Exit> {
    // Nothing is read from a store, but nothing of one may be replaced either.
    let (store, _) = dir::open(None)?;
    dir::written(&args.output)?;
    for file in &args.files {
        dir::local(file)?;
        // Of what is unknown here the merge says more.
        if let Ok(looks) = detect::detect(file)
            && looks != Kind::Parquet
        {
            bail!(
                "{} looks like {}, and merge reads Parquet alone: take it into a store with evaltop import",
                file.display(),
                looks.name()
            );
        }
    }
    let shown = Shown::new();
    let merge = Merge::plan(&RealDisk, &args.files, &store.zone, &shown.control)?;
    if !args.dry_run {
        let output = Output::file(&args.output, &store.layout, args.yes)?;
        let mut writer = formats::writer(Form::Parquet, merge.schema(), output.handle())?;
        merge
            .run(&shown.control, |batch| writer.write(&batch))
            .and_then(|()| writer.finish())
            .map_err(|error| output.explain(error))?;
        output.commit()?;
    }
    drop(shown);
    let mut out = out::stdout();
    match args.format {
        ReportFormat::Json => {
            let report = json!({
                "schema_version": 1, "dry_run": args.dry_run, "files": args.files.len(),
                "rows": merge.rows(), "rows_superseded": merge.superseded(),
                "rows_repeated": merge.repeated(), "output": args.output.display().to_string(),
                // What can't be merged is refused as a whole.
                "left_out": [],
            });
            writeln!(out, "{report}")?;
        }
        ReportFormat::Text if verbosity::quiet() => {}
        ReportFormat::Text => {
            let mut text = format!(
                "{}merged {} into {}: {}",
                if args.dry_run { "would have " } else { "" },
                show_counted(args.files.len() as u64, "file"),
                args.output.display(),
                show_counted(merge.rows(), "row"),
            );
            for (n, what) in [
                (merge.superseded(), "retried"),
                (merge.repeated(), "repeated"),
            ] {
                if n > 0 {
                    text = format!("{text}, {n} {what}");
                }
            }
            writeln!(out, "{text}")?;
        }
    }
    Ok(Exit::Ok)
}
