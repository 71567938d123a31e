//! Which store a command means, and the settings that go with it.

use super::record::DurabilityArg;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Result;

use super::progress::Shown;
use super::{Usage, verbosity};
use crate::config::Config;
use crate::formats::delta::{Folder, Place};
use crate::formats::json_mirror::Beside;
use crate::sources::mailbox::url::{is_url, stripped};
use crate::sources::mailbox::{self, Sender, Spool, Url, View};
use crate::store::Store;
use crate::store::format::layout::DEFAULT_NAME;
use crate::store::write::writer::WriterOptions;
use crate::text::sanitise::sanitise;

/// What `--store` names, for every command.
static STORE: OnceLock<PathBuf> = OnceLock::new();

/// Takes in `--store`, once, before a command runs.
pub(super) fn choose_store(store: Option<PathBuf>) {
    if let Some(store) = store {
        // Set once a process: there is one command line.
        let _ = STORE.set(store);
    }
}

/// What `--prices` names, for every command.
static PRICES: OnceLock<PathBuf> = OnceLock::new();

/// Takes in `--prices`, once, before a command runs.
pub(super) fn choose_prices(prices: Option<PathBuf>) {
    if let Some(prices) = prices {
        let _ = PRICES.set(prices);
    }
}

/// What `--store` names.
pub(super) fn chosen() -> Option<&'static Path> {
    STORE.get().map(PathBuf::as_path)
}

/// What a command means: the place that was named, else `$EVALTOP_DIR`, else
/// `./pilot_bench_parquet_data`, else `.` if it looks like a store.
fn meant(named: Option<&Path>) -> PathBuf {
    let from_environment = || {
        std::env::var_os("EVALTOP_DIR")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    let named = named.or(chosen()).map(Path::to_path_buf);
    choose(named.or_else(from_environment), Path::new("."))
}

/// The folder that a command means. A URL is refused.
pub fn resolve(named: Option<&Path>) -> Result<PathBuf, Usage> {
    let folder = meant(named);
    local(&folder)?;
    Ok(folder)
}

/// Refuses a URL, which would otherwise name a new folder on this machine.
pub fn local(path: &Path) -> Result<(), Usage> {
    let Some(url) = url(path)? else { return Ok(()) };
    let name = url.name();
    Err(Usage(format!(
        "{name} is a mailbox, and this takes folders only: take its rows into a store with \
         'evaltop pull {name} --into DIR'"
    )))
}

/// Refuses a URL where a file or folder is to be written.
pub fn written(path: &Path) -> Result<(), Usage> {
    if !is_url(path) {
        return Ok(());
    }
    Err(Usage(format!(
        "{} is a URL, and evaltop writes files and folders of this machine: name one, then copy it \
         there (only a Delta table, export --format delta, is written into a bucket)",
        stripped(&path.to_string_lossy())
    )))
}

/// Where a Delta table of a store is to be: a folder, or the place that a URL names.
pub fn table(store: &Store, path: &Path, url: Option<&Url>) -> Result<Box<dyn Place>> {
    let folder = match url {
        Some(url @ Url::Bucket { .. }) => return Ok(mailbox::table(url)?),
        Some(Url::Folder(folder)) => folder,
        None => path,
    };
    Ok(Box::new(Folder::open(store, folder)?))
}

/// The place that a path names, where it is a URL.
pub(super) fn url(path: &Path) -> Result<Option<Url>, Usage> {
    if !is_url(path) {
        return place_of_elsewhere(path).map_or(Ok(None), Err);
    }
    let url = Url::parse(&path.to_string_lossy());
    url.map(Some).map_err(|error| Usage(error.to_string()))
}

/// What looks like a place on another machine (`s3:/bucket/x`, `host:/path`) is never made as a
/// folder on this one.
fn place_of_elsewhere(path: &Path) -> Option<Usage> {
    let first = path.iter().next()?;
    let name = first.to_str()?.strip_suffix(':')?;
    if name.is_empty() || Path::new(first).exists() {
        return None;
    }
    Some(Usage(format!(
        "{} is a place on another machine, or a URL with a slash too few: name a folder, or a mailbox \
         such as s3://bucket/prefix ('evaltop pull HOST:PATH --into DIR' takes rows from a host; \
         ./NAME is a folder of that name)",
        path.display()
    )))
}

/// Where a command puts records.
#[derive(Debug)]
pub struct Target {
    /// The store, or the spool of the mailbox.
    pub store: Store,
    /// Its settings.
    pub config: Config,
    /// How writers work.
    pub options: WriterOptions,
    /// The mailbox, where it is one.
    pub url: Option<Url>,
}

/// Where a command puts records: a store, as [`made`] finds it where `create` says something, or a
/// mailbox.
pub fn target(
    named: Option<&Path>,
    create: Option<bool>,
    durability: Option<DurabilityArg>,
) -> Result<Target> {
    let Some(url) = url(&meant(named))? else {
        if durability == Some(DurabilityArg::Remote) {
            return Err(Usage(
                "--durability remote is for mailboxes (s3://, gs:// and az://bucket/prefix, file:///folder): \
                 of a folder, disk is the most that can be promised"
                    .to_owned(),
            )
            .into());
        }
        let (store, config) = match create {
            Some(create) => made(named, create)?,
            None => open(named)?,
        };
        let options = WriterOptions {
            durability: durability.map_or(config.durability, Into::into),
            ..WriterOptions::default()
        };
        return Ok(Target {
            store,
            config,
            options,
            url: None,
        });
    };
    one_store(named)?;
    let config = config(None)?;
    let spool = Spool::open(&url)?;
    let options = WriterOptions {
        durability: durability.map_or(config.durability, Into::into),
        ..Sender::start(&spool)?.options()
    };
    let mut store = spool.store;
    store.zone = config.zone();
    Ok(Target {
        store,
        config,
        options,
        url: Some(url),
    })
}

fn choose(named: Option<PathBuf>, here: &Path) -> PathBuf {
    if let Some(named) = named {
        return named;
    }
    let usual = here.join(DEFAULT_NAME);
    if !usual.exists() && Store::new(here).check().is_ok() {
        here.to_path_buf()
    } else {
        usual
    }
}

/// The store that a command means, which need not be there, and its settings.
/// The path is absolute, so that it stays right whatever the working directory.
pub fn open(named: Option<&Path>) -> Result<(Store, Config)> {
    one_store(named)?;
    let folder = resolve(named)?;
    let config = config(Some(&folder))?;
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    let mut store = Store::new(absolute);
    store.zone = config.zone();
    store.prices = Arc::clone(&config.price_table);
    Ok((store, config))
}

/// Like [`open`], for commands that only read: of a mailbox, what lies there.
pub fn view(named: Option<&Path>) -> Result<(Store, Config)> {
    one_store(named)?;
    let Some(url) = url(&meant(named))? else {
        return open(named);
    };
    let config = config(None)?;
    let mut store = view_of(&url)?;
    store.zone = config.zone();
    store.prices = Arc::clone(&config.price_table);
    Ok((store, config))
}

/// Like [`view`], for commands that need something to be there.
pub fn existing_view(named: Option<&Path>) -> Result<(Store, Config)> {
    let (store, config) = view(named)?;
    store.check()?;
    Ok((store, config))
}

/// What lies in a mailbox at this moment.
pub(super) fn view_of(url: &Url) -> Result<Store> {
    let view = View::open(url)?;
    let shown = Shown::new();
    view.refresh(None, &shown.control)?;
    Ok(view.store)
}

/// The mailbox that a command means, where it means one.
pub(super) fn mailbox(named: Option<&Path>) -> Result<Option<Url>> {
    one_store(named)?;
    Ok(url(&meant(named))?)
}

fn config(folder: Option<&Path>) -> Result<Config> {
    let mut config = Config::load(folder)?;
    if let Some(prices) = PRICES.get() {
        config.add_prices(prices)?;
    }
    Ok(config)
}

fn one_store(named: Option<&Path>) -> Result<(), Usage> {
    if let (Some(named), Some(chosen)) = (named, chosen())
        && named != chosen
    {
        let shown = |path: &Path| stripped(&path.to_string_lossy()).into_owned();
        return Err(Usage(format!(
            "two stores are named, {} and --store {}: leave one out",
            shown(named),
            shown(chosen)
        )));
    }
    Ok(())
}

/// Like [`open`], for commands that make the store where there is none. What nobody named is
/// made only with a yes, and which folder is made is said.
pub fn made(named: Option<&Path>, create: bool) -> Result<(Store, Config)> {
    let (store, config) = open(named)?;
    let root = store.layout.root();
    if root.exists() {
        return Ok((store, config));
    }
    let from_environment = std::env::var_os("EVALTOP_DIR").is_some_and(|dir| !dir.is_empty());
    if named.is_some() || chosen().is_some() {
        return Ok((store, config));
    }
    if !from_environment && !create && !asked(root)? {
        return Err(Usage(format!(
            "there is no store {}: name the one that is meant (--store DIR), or make this one with --create",
            root.display()
        ))
        .into());
    }
    if !verbosity::quiet() {
        verbosity::complain(&format!("makes the store {}", root.display()));
    }
    Ok((store, config))
}

/// Asks at the terminal, where there is one at both ends.
fn asked(root: &Path) -> Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(false);
    }
    let mut out = io::stderr().lock();
    let folder = sanitise(&root.display().to_string()).into_owned();
    write!(out, "There is no store {folder}. Make it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Like [`open`], for commands that need a store to be there.
pub fn existing(named: Option<&Path>) -> Result<(Store, Config)> {
    let (store, config) = open(named)?;
    store.check()?;
    Ok((store, config))
}

/// The JSON database that is kept beside a store, where `$STORAGE_FORMAT` asks for it.
pub fn beside(store: &Store) -> Result<Option<Beside>> {
    let format = std::env::var_os("STORAGE_FORMAT").unwrap_or_default();
    match format.to_str().map(str::to_ascii_lowercase).as_deref() {
        Some("" | "parquet") => Ok(None),
        Some("json") => Ok(Some(Beside::open(store)?)),
        _ => Err(Usage(format!(
            "STORAGE_FORMAT is '{}': it must be parquet or json",
            format.display()
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_then_the_usual_one_then_here() {
        let here = tempfile::tempdir().unwrap();
        let here = here.path();
        assert_eq!(choose(Some("x".into()), here), PathBuf::from("x"));
        assert_eq!(
            choose(None, here),
            here.join(DEFAULT_NAME),
            "what a first record would make"
        );
        std::fs::create_dir(here.join("incremental")).unwrap();
        assert_eq!(choose(None, here), here);
        std::fs::create_dir(here.join(DEFAULT_NAME)).unwrap();
        assert_eq!(choose(None, here), here.join(DEFAULT_NAME));
    }
}
