//! `watch`: the dashboard; one look where there is no terminal to draw on.

use std::io::{self, IsTerminal};

use anyhow::Result;

use super::{Exit, StatusArgs, StatusFormat, Usage, WatchArgs, dir, status};
use crate::config::THEMES;
use crate::tui::{self, End, Options};

/// `evaltop watch`.
pub fn run(args: &WatchArgs) -> Result<Exit> {
    if !io::stdout().is_terminal() {
        return status::run(&StatusArgs { dir: args.dir.clone(), format: StatusFormat::Text });
    }
    let (store, config) = dir::open(args.dir.as_deref())?;
    let theme = args.theme.clone().unwrap_or_else(|| config.dashboard.theme.clone());
    if !THEMES.contains(&theme.as_str()) {
        return Err(Usage(format!("'{theme}' is no theme: use {}", THEMES.join(", "))).into());
    }
    let end = tui::run(Options {
        store,
        config,
        readonly: args.readonly,
        target: args.target,
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
