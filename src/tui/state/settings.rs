//! What the dashboard knows of the settings that others show and check: its keys.

use strum::IntoEnumIterator;

use crate::config::Config;
use crate::tui::input::action::Action;
use crate::tui::input::keymap::Keymap;

/// Every action as the settings name it, its usual keys, and what it does.
pub fn usual_keys() -> impl Iterator<Item = (&'static str, &'static [&'static str], &'static str)> {
    Action::iter().map(|action| {
        let about = action.about();
        (action.into(), about.keys, about.help)
    })
}

/// Whether the keys of the settings can be used; else one sentence with file and line.
pub fn check_keys(config: &Config) -> Result<(), String> {
    Keymap::new(&config.keys).map(drop).map_err(|refused| {
        let place = config.place(&format!("keys.{}", refused.action));
        format!("{place}: keys.{}: {}", refused.action, refused.problem)
    })
}
