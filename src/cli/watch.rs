//! `watch`: the dashboard; one scan where there is no terminal to draw on.

use super::status::{StatusArgs, StatusFormat};
use clap::Args;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
#[cfg(feature = "tui")]
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
#[cfg(feature = "tui")]
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

#[cfg(feature = "tui")]
use anyhow::Context as _;
use anyhow::Result;

use super::progress::Shown;
use super::stores::{Many, REFRESH};
use super::{Exit, Usage, cost, dir, help, out, progress, status, stores, verbosity};
use crate::config::{Config, THEMES};
use crate::health::Severity;
use crate::runner::plan;
use crate::sources::follow::Follower;
use crate::sources::mailbox::{Url, View};
use crate::sources::{self, cache, input};
use crate::stats::progress::Expected;
use crate::store::format::layout;
use crate::store::{Control, Store};
use crate::text::sanitise::sanitise;
#[cfg(feature = "tui")]
use crate::tui::headless::{News, Sentry};
#[cfg(feature = "tui")]
use crate::tui::stores::Listed;
#[cfg(feature = "tui")]
use crate::tui::{self, End, Options};

/// `evaltop [DIR]` and `evaltop watch [DIR]`.
#[derive(Debug, Clone, Default, Args)]
// Flags are independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub struct WatchArgs {
    /// The store, a folder of stores, or logs and files to follow
    /// [default: $EVALTOP_DIR, ./pilot_bench_parquet_data, or . if it is a store]
    pub dir: Option<PathBuf>,
    /// Further stores, or logs and files to follow
    #[arg(value_name = "PATH")]
    pub more: Vec<PathBuf>,
    /// No screen: say on stdout which alerts come and go, and call hooks and notifications
    #[arg(long)]
    pub headless: bool,
    /// What the first row says of the store
    #[arg(skip)]
    pub badge: Option<String>,
    /// What people call the store, where that is not its folder
    #[arg(skip)]
    pub name: Option<String>,
    /// Never change the store: maintenance keys are off
    #[arg(long)]
    pub readonly: bool,
    /// Planned number of tests, for the time that is left
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    /// What the tests may cost, in dollars: an alert at it, and when the forecast exceeds it
    #[arg(long, value_name = "DOLLARS", value_parser = cost::amount)]
    pub budget: Option<f64>,
    /// Only this session: its name, latest or previous
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
    /// Planned tests by cell, as `run --plan` reads them: what is done and left by model
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub plan: Option<PathBuf>,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// Draw with ASCII only
    #[arg(long)]
    pub ascii: bool,
    /// Colours: dark, light, high-contrast, colour-blind
    #[arg(long)]
    pub theme: Option<String>,
}

/// What is expected of the run: a number, or the tests of each cell.
fn expected(args: &WatchArgs) -> Result<Option<Expected>> {
    let Some(path) = &args.plan else {
        return Ok(args.target.map(Expected::Tests));
    };
    let mut cells = BTreeMap::new();
    for row in plan::read(path, 1, None, &mut |_| {})? {
        *cells.entry(row.cell).or_default() += row.instances;
    }
    Ok(Some(Expected::Cells(Arc::new(cells))))
}

/// A mistyped command reads like the name of a store: says so, rather than to wait for
/// one of that name.
fn slip(args: &WatchArgs) -> Result<(), Usage> {
    let Some(typed) = args
        .dir
        .as_ref()
        .filter(|dir| !dir.exists())
        .and_then(|dir| dir.to_str())
    else {
        return Ok(());
    };
    match help::meant(typed) {
        Some(meant) => Err(Usage(format!(
            "there is no command and no store '{typed}': did you mean '{meant}'? (./{typed} for a store)"
        ))),
        None => Ok(()),
    }
}

/// `evaltop watch`.
pub fn run(args: &WatchArgs) -> Result<Exit> {
    slip(args)?;
    if let Some(many) = stores::many(args.dir.as_deref(), &args.more) {
        return list(args, many);
    }
    if args.more.is_empty()
        && let Some(url) = dir::mailbox(args.dir.as_deref())?
    {
        return mailbox(args, &url);
    }
    if let Some(paths) = sources_of(args) {
        args.dir
            .iter()
            .chain(&args.more)
            .try_for_each(|path| dir::local(path))?;
        return follow(args, &paths);
    }
    watch(args, None)
}

/// Many stores: a line each.
fn list(args: &WatchArgs, many: Many) -> Result<Exit> {
    if args.headless {
        return Err(Usage("--headless watches one store: start one for each".to_owned()).into());
    }
    let views = many.buckets()?;
    #[cfg(feature = "tui")]
    if is_capable() {
        let (theme, config) = (theme(args, &Config::load(None)?)?, Config::load(None)?);
        let (own, title) = (args.clone(), many.title());
        let find = move || {
            let found = many.find().into_iter();
            let listed = found.map(|one| Listed {
                name: one.name,
                store: one.store,
                config: one.config,
            });
            listed.collect()
        };
        let open = move |listed: &Listed| {
            let is_mailbox = listed.store.layout.name() != listed.store.layout.root();
            let args = WatchArgs {
                dir: Some(listed.store.layout.root().to_path_buf()),
                name: is_mailbox.then(|| listed.name.clone()),
                more: Vec::new(),
                readonly: own.readonly || is_mailbox,
                ..own.clone()
            };
            // Another store may take its place in the list, and no log.
            Ok(Options {
                logs: None,
                ..options(&args, None)?
            })
        };
        let screen = tui::stores::Many {
            title,
            find: Arc::new(find),
            open: Box::new(open),
            config,
            mouse: !args.no_mouse,
            ascii: args.ascii,
            theme,
        };
        let refresh = move |control: &Control| stores::refresh(&views, control);
        return meanwhile(REFRESH, refresh, || tui::stores::run(screen).and_then(exit));
    }
    drop(views);
    status::run(&StatusArgs {
        dir: args.dir.clone(),
        more: args.more.clone(),
        format: StatusFormat::Text,
        target: args.target,
        budget: args.budget,
        session: args.session.clone(),
    })
}

/// The dashboard on what lies in a mailbox; what arrives is fetched meanwhile.
fn mailbox(args: &WatchArgs, url: &Url) -> Result<Exit> {
    #[cfg(feature = "tui")]
    let is_live = args.headless || is_capable();
    #[cfg(not(feature = "tui"))]
    let is_live = false;
    if !is_live {
        return watch(args, None);
    }
    let view = View::open(url)?;
    {
        let shown = Shown::new();
        view.refresh(Some(REFRESH.as_secs()), &shown.control)?;
    }
    view.store.check()?;
    let args = WatchArgs {
        dir: Some(view.store.layout.root().to_path_buf()),
        name: Some(url.name()),
        readonly: true,
        ..args.clone()
    };
    let greeting = format!("shows {}, read only", url.name());
    let refresh = move |control: &Control| {
        if let Err(error) = view.refresh(Some(REFRESH.as_secs()), control) {
            tracing::warn!("{error}");
        }
    };
    meanwhile(REFRESH, refresh, || watch(&args, Some((&[], greeting))))
}

/// Does something every so often in a thread of its own while something else goes on.
fn meanwhile<T>(
    every: Duration,
    mut work: impl FnMut(&Control) + Send + 'static,
    main: impl FnOnce() -> T,
) -> T {
    const STEP: Duration = Duration::from_millis(100);
    let control = Control::default();
    let stop = control.clone();
    let thread = std::thread::spawn(move || {
        loop {
            let mut left = every;
            while !left.is_zero() {
                if control.check().is_err() {
                    return;
                }
                std::thread::sleep(STEP.min(left));
                left = left.saturating_sub(STEP);
            }
            work(&control);
        }
    });
    let end = main();
    stop.cancel();
    let _ = thread.join();
    end
}

/// The paths of logs and files, where these are meant rather than a store.
fn sources_of(args: &WatchArgs) -> Option<Vec<PathBuf>> {
    let first = args.dir.as_ref()?;
    let store = Store::new(first);
    let is_source = !args.more.is_empty()
        || (first.is_file() && !is_part(first) && !input::inside(first).files.is_empty())
        || (first.is_dir() && store.check().is_err() && input::holds_data(first));
    let paths = std::iter::once(first).chain(&args.more);
    is_source.then(|| {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        paths.map(absolute).collect()
    })
}

/// Whether a file is a part of a store, whose folder is meant then.
fn is_part(file: &Path) -> bool {
    let mut above = file.ancestors().skip(1);
    let is_store = |folder: Option<&Path>| folder.is_some_and(|at| Store::new(at).check().is_ok());
    let folder = above.next();
    let inside = folder
        .and_then(Path::file_name)
        .is_some_and(|name| layout::PARTS.iter().any(|part| name == *part));
    (inside && is_store(above.next()))
        || (file.file_name().is_some_and(|name| name == layout::MAIN) && is_store(folder))
}

/// The dashboard on logs that are followed into a store in the cache.
fn follow(args: &WatchArgs, paths: &[PathBuf]) -> Result<Exit> {
    let folder = cache::folder(paths)?;
    let store = Store::new(folder.join("store"));
    store.create()?;
    let memory = Some(folder.join("seen.json"));
    let options = sources::Options::default();
    let mut follower = Follower::new(store.clone(), paths.to_vec(), options, memory);
    let args = WatchArgs {
        dir: Some(store.layout.root().to_path_buf()),
        more: Vec::new(),
        ..args.clone()
    };
    // What is there already is on the first picture.
    let taken = {
        let shown = Shown::new();
        follower.round(&shown.control)?
    };
    let failed = taken.iter().filter_map(|(_, report)| report.as_ref().err());
    failed.for_each(|error| verbosity::complain(&error.to_string()));
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let round = move |control: &Control| {
        for (_, report) in follower.round(control).into_iter().flatten() {
            if let Err(error) = report {
                tracing::warn!("{error}");
            }
        }
    };
    meanwhile(Duration::from_millis(500), round, || {
        watch(
            &args,
            Some((paths, format!("follows {}", names.join(", ")))),
        )
    })
}

/// What is followed into a store in the cache, and the sentence that says so.
type Followed<'a> = (&'a [PathBuf], String);

/// Alerts as lines, until somebody interrupts.
#[cfg(feature = "tui")]
fn headless(args: &WatchArgs) -> Result<Exit> {
    let (store, config) = open(args)?;
    for sentence in &config.ignored {
        verbosity::complain(sentence);
    }
    let (send, stopped) = channel();
    progress::on_signals(move |nth| {
        // Nobody listens any more only when the program is about to end.
        let _ = send.send(());
        if nth > 1 {
            std::process::exit(130);
        }
    });
    let mut sentry = Sentry::open(&store, &config);
    while !sentry.watch(Duration::from_secs(60), &stopped, say) {}
    Ok(Exit::Ok)
}

/// A line about an alert.
#[cfg(feature = "tui")]
pub(super) fn say(news: &News) {
    let sign = match news.severity {
        Severity::Healthy => "over:",
        Severity::Warning => "warning:",
        Severity::Critical => "critical:",
    };
    let at = news.at.to_zoned(jiff::tz::TimeZone::system());
    let time = at.strftime("%Y-%m-%d %H:%M:%S %Z");
    let mut out = out::stdout();
    // Whoever has closed the pipe has the hook.
    let _ = writeln!(out, "{time} {sign} {}", sanitise(&news.message));
    let _ = out.flush();
}

fn watch(args: &WatchArgs, followed: Option<Followed<'_>>) -> Result<Exit> {
    #[cfg(feature = "tui")]
    if args.headless {
        return headless(args);
    }
    // A build without the dashboard looks once, as where there is no terminal.
    #[cfg(feature = "tui")]
    if is_capable() {
        return dashboard(args, followed);
    }
    let _ = followed;
    status::run(&StatusArgs {
        dir: args.dir.clone(),
        more: args.more.clone(),
        format: StatusFormat::Text,
        target: args.target,
        budget: args.budget,
        session: args.session.clone(),
    })
}

/// The store, under the name that people gave it.
#[cfg(feature = "tui")]
fn open(args: &WatchArgs) -> Result<(Store, Config)> {
    let (mut store, config) = dir::open(args.dir.as_deref())?;
    if let Some(name) = &args.name {
        store.layout = store.layout.called(name);
    }
    Ok((store, config))
}

/// Whether the output is a terminal that can move its cursor.
#[cfg(feature = "tui")]
fn is_capable() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !dumb && io::stdout().is_terminal()
}

#[cfg(feature = "tui")]
fn dashboard(args: &WatchArgs, followed: Option<Followed<'_>>) -> Result<Exit> {
    tui::run(options(args, followed)?).and_then(exit)
}

#[cfg(feature = "tui")]
fn exit(end: End) -> Result<Exit> {
    match end {
        End::Quit | End::Back => Ok(Exit::Ok),
        End::Interrupted => Ok(Exit::Interrupted),
        // The thread that reads the terminal would take keys from another dashboard.
        End::Logs => {
            let program = std::env::current_exe().context("cannot start again")?;
            let error = Command::new(program)
                .args(std::env::args_os().skip(1))
                .exec();
            Err(anyhow::Error::new(error).context("cannot start again"))
        }
    }
}

#[cfg(feature = "tui")]
fn theme(args: &WatchArgs, config: &Config) -> Result<String, Usage> {
    let named = args.theme.as_ref().unwrap_or(&config.dashboard.theme);
    if THEMES.contains(&named.as_str()) {
        return Ok(named.clone());
    }
    let all = THEMES.join(", ");
    Err(Usage(format!("'{named}' is not a theme: use {all}")))
}

#[cfg(feature = "tui")]
fn options(args: &WatchArgs, followed: Option<Followed<'_>>) -> Result<Options> {
    let (follows, greeting) = match followed {
        Some((paths, greeting)) => (paths.first().cloned(), Some(greeting)),
        None => (None, None),
    };
    let (store, mut config) = open(args)?;
    let expected = expected(args)?;
    config.budget = args.budget.or(config.budget);
    config.target = expected.as_ref().map(Expected::tests);
    let session = args
        .session
        .as_deref()
        .map(|name| status::session(&store, name));
    // A folder may come to be there or to hold a store; a file stays none.
    if store.layout.root().is_file() {
        store.check()?;
    }
    let theme = theme(args, &config)?;
    Ok(Options {
        store,
        config,
        badge: args.badge.clone(),
        readonly: args.readonly,
        expected,
        session: session.transpose()?,
        mouse: !args.no_mouse,
        ascii: args.ascii,
        theme,
        greeting,
        is_listed: false,
        follows,
        // A folder without anything in it may come to be either.
        logs: (args.dir.is_some() && args.more.is_empty()).then_some(holds_logs),
    })
}

/// Whether a folder that is not a store has logs in it.
#[cfg(feature = "tui")]
fn holds_logs(folder: &Path) -> bool {
    Store::new(folder).check().is_err() && input::holds_data(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_how_many_tests_of_each_cell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.csv");
        std::fs::write(
            &path,
            "model,difficulty,instances\na,easy,3\na,easy,2\nb,hard,\n",
        )
        .unwrap();
        let args = WatchArgs {
            plan: Some(path.clone()),
            ..WatchArgs::default()
        };
        let Some(Expected::Cells(cells)) = expected(&args).unwrap() else {
            panic!("no cells")
        };
        let found: Vec<(&str, u64)> = cells.iter().map(|(cell, n)| (&*cell.model, *n)).collect();
        assert_eq!(found, [("a", 5), ("b", 1)]);
        std::fs::write(&path, "difficulty\neasy\n").unwrap();
        assert!(
            expected(&args)
                .unwrap_err()
                .to_string()
                .contains("plan.csv")
        );
        let args = WatchArgs {
            target: Some(7),
            ..WatchArgs::default()
        };
        assert_eq!(expected(&args).unwrap(), Some(Expected::Tests(7)));
    }
}
