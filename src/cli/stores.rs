//! Several stores named at once, or a folder of stores: a line each, in `status` and on the screen.

use super::status::{StatusArgs, StatusFormat};
use std::io::{IsTerminal, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::progress::Shown;
use super::status::text::symbol;
use super::{Exit, Usage, dir, out, status, terminal_columns};
use crate::config::Config;
use crate::health::worst;
use crate::monitor::Monitor;
use crate::observation::overview::{Overview, TITLES};
use crate::sources::mailbox::url::is_url;
use crate::sources::mailbox::{Url, View};
use crate::store::{Control, Store};
use crate::text::sanitise::sanitise;
use crate::text::width::{left, right, truncate, width};

/// How often buckets are asked what is new.
pub(super) const REFRESH: Duration = Duration::from_secs(10);

/// Which stores are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Many {
    /// Those that were named.
    Named(Vec<PathBuf>),
    /// All in a folder that is none itself.
    Folder(PathBuf),
}

/// A store of several.
#[derive(Debug, Clone)]
pub(super) struct One {
    /// As people name it.
    pub name: String,
    /// Where it is.
    pub store: Store,
    /// Its settings.
    pub config: Config,
}

/// Whether these paths are many stores; `None` where they are one, or no stores.
pub(super) fn many(first: Option<&Path>, more: &[PathBuf]) -> Option<Many> {
    let first = first?;
    let is_store = |path: &Path| is_url(path) || Store::new(path).check().is_ok();
    if more.is_empty() {
        let is_folder = !is_store(first) && first.is_dir() && !inside(first).is_empty();
        return is_folder.then(|| Many::Folder(first.to_path_buf()));
    }
    let all = || std::iter::once(first).chain(more.iter().map(PathBuf::as_path));
    let paths = || all().map(Path::to_path_buf).collect();
    all().all(is_store).then(|| Many::Named(paths()))
}

/// The stores in a folder, by name.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir() && Store::new(path).check().is_ok())
        .collect();
    found.sort();
    found
}

impl Many {
    /// What they are called together.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Named(_) => String::new(),
            Self::Folder(folder) => std::path::absolute(folder)
                .unwrap_or_else(|_| folder.clone())
                .display()
                .to_string(),
        }
    }

    /// Their mailboxes that are buckets.
    pub(super) fn buckets(&self) -> Result<Vec<View>> {
        let Self::Named(paths) = self else {
            return Ok(Vec::new());
        };
        let mut views = Vec::new();
        for path in paths.iter().filter(|path| is_url(path)) {
            let url = Url::parse(&path.to_string_lossy());
            let url = url.map_err(|error| Usage(error.to_string()))?;
            views.push(View::open(&url)?);
        }
        Ok(views)
    }

    /// Those that there are at this moment.
    pub(super) fn find(&self) -> Vec<One> {
        let paths = match self {
            Self::Named(paths) => paths.clone(),
            Self::Folder(folder) => inside(folder),
        };
        let name = |path: &Path| match self {
            Self::Named(_) => path.display().to_string(),
            Self::Folder(_) => path.file_name().unwrap_or_default().display().to_string(),
        };
        let one = |path: PathBuf| {
            if is_url(&path) {
                let url = Url::parse(&path.to_string_lossy()).ok()?;
                let view = View::open(&url).ok()?;
                return Some(One {
                    name: url.name(),
                    store: view.store,
                    config: Config::load(None).unwrap_or_default(),
                });
            }
            // What is wrong with the settings of one is for that one's own screen.
            let (store, config) = dir::open(Some(&path)).ok().or_else(|| {
                Some((
                    Store::new(std::path::absolute(&path).ok()?),
                    Config::default(),
                ))
            })?;
            Some(One {
                name: name(&path),
                store,
                config,
            })
        };
        paths.into_iter().filter_map(one).collect()
    }
}

/// `evaltop status A B`, `evaltop status FOLDER`.
pub(super) fn run(args: &StatusArgs, many: &Many) -> Result<Exit> {
    if args.target.is_some() || args.budget.is_some() || args.session.is_some() {
        return Err(Usage(
            "--target, --budget and --session are for one store: name that alone".to_owned(),
        )
        .into());
    }
    {
        let shown = Shown::new();
        for view in many.buckets()? {
            view.refresh(None, &shown.control)?;
        }
    }
    let looked: Vec<_> = many
        .find()
        .into_iter()
        .map(|one| {
            let seen = Monitor::new(one.store, one.config).observe(Timestamp::now());
            (one.name, seen)
        })
        .collect();
    let exit = looked.iter().map(|(_, seen)| worst(&seen.alerts)).max();
    let mut out = out::stdout();
    match args.format {
        StatusFormat::Text => {
            let columns = stdout().is_terminal().then(terminal_columns);
            let lines: Vec<(String, Overview)> = looked
                .iter()
                .map(|(name, seen)| (name.clone(), Overview::of(seen)))
                .collect();
            out.write_all(table(&lines, columns).as_bytes())?;
        }
        StatusFormat::Json => {
            let documents = looked
                .iter()
                .map(|(_, seen)| serde_json::from_str(&status::json::render(seen)))
                .collect::<Result<Vec<Value>, _>>()?;
            writeln!(out, "{}", json!(documents))?;
        }
        StatusFormat::Tmux => {
            for (name, seen) in &looked {
                let name = sanitise(name).replace('#', "##");
                write!(out, "{name} {}", status::tmux::render(seen))?;
            }
        }
        StatusFormat::Prometheus => {
            return Err(Usage(
                "--format prometheus is for one store: write a file for each".to_owned(),
            )
            .into());
        }
    }
    out.flush()?;
    Ok(exit.unwrap_or_default().into())
}

/// Names, figures and the worst alert; on a terminal no wider than that.
fn table(lines: &[(String, Overview)], columns: Option<usize>) -> String {
    let names: Vec<String> = lines
        .iter()
        .map(|(name, _)| sanitise(name).into_owned())
        .collect();
    let cells: Vec<[String; 5]> = lines.iter().map(|(_, line)| line.cells()).collect();
    let name = names
        .iter()
        .map(|name| width(name))
        .max()
        .unwrap_or(0)
        .max(5);
    let wide = |at: usize| {
        let texts = cells.iter().filter_map(|cells| cells.get(at));
        let title = TITLES.get(at).map_or(0, |title| title.len());
        texts.map(|text| width(text)).max().unwrap_or(0).max(title)
    };
    let widths: Vec<usize> = (0..5).map(wide).collect();
    let row = |first: &str, texts: &[String], last: &str| {
        let mut row = left(first, name);
        for (at, (text, wide)) in texts.iter().zip(&widths).enumerate() {
            row.push_str("  ");
            row.push_str(&if at == 0 {
                left(text, *wide)
            } else {
                right(text, *wide)
            });
        }
        let row = format!("{row}  {last}");
        let row = row.trim_end();
        columns.map_or(row.to_owned(), |columns| truncate(row, columns))
    };
    let titles: Vec<String> = TITLES
        .iter()
        .take(5)
        .map(|title| (*title).to_owned())
        .collect();
    let mut text = format!("{}\n", row("STORE", &titles, TITLES.last().unwrap_or(&"")));
    for ((name, cells), (_, line)) in names.iter().zip(&cells).zip(lines) {
        let alarm = match line.alerts {
            0 => String::new(),
            _ => format!("{} {}", symbol(line.severity), line.alarm()),
        };
        text.push_str(&row(name, cells, &alarm));
        text.push('\n');
    }
    text
}

/// Brings the buckets among them up to date, as often as somebody calls.
pub(super) fn refresh(views: &[View], control: &Control) {
    for view in views {
        if let Err(error) = view.refresh(Some(REFRESH.as_secs()), control) {
            tracing::warn!("{error}");
        }
    }
}
