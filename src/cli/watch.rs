//! `watch`: the dashboard; one look where there is no terminal to draw on.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;

use anyhow::Result;

use super::{Exit, StatusArgs, StatusFormat, Usage, WatchArgs, dir, help, status};
use crate::config::THEMES;
use crate::runner::plan;
use crate::stats::progress::Expected;
use crate::tui::{self, End, Options};

/// What is expected of the run: a number, or the tests of each cell.
fn expected(args: &WatchArgs) -> Result<Option<Expected>> {
    let Some(path) = &args.plan else {
        return Ok(args.target.map(Expected::Tests));
    };
    let mut cells = BTreeMap::new();
    for row in plan::read(path, 1, None)? {
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
    // A dumb terminal is one that can't move its cursor.
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if dumb || !io::stdout().is_terminal() {
        return status::run(&StatusArgs {
            dir: args.dir.clone(),
            format: StatusFormat::Text,
        });
    }
    let (store, config) = dir::open(args.dir.as_deref())?;
    // A folder may come to be there or to hold a store; a file stays none.
    if store.layout.root().is_file() {
        store.check()?;
    }
    let theme = args
        .theme
        .clone()
        .unwrap_or_else(|| config.dashboard.theme.clone());
    if !THEMES.contains(&theme.as_str()) {
        return Err(Usage(format!("'{theme}' is no theme: use {}", THEMES.join(", "))).into());
    }
    let end = tui::run(Options {
        store,
        config,
        readonly: args.readonly,
        expected: expected(args)?,
        mouse: !args.no_mouse,
        ascii: args.ascii,
        theme,
        greeting: None,
    })?;
    Ok(match end {
        End::Quit => Exit::Ok,
        End::Interrupted => Exit::Interrupted,
    })
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
