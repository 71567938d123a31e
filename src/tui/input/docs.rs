//! The key table of `docs/dashboard.md`, made from the table of actions. Where the two
//! differ the test says so; with `INSTA_UPDATE=always`, as for the pictures, it writes
//! the table again.

use std::fmt::Write;
use std::path::Path;

use strum::IntoEnumIterator;

use super::action::{Action, Group};
use super::keymap::Keymap;

const BEGIN: &str = "<!-- keys: made from the table of actions -->\n";
const END: &str = "<!-- end of keys -->";

fn table() -> String {
    let keymap = Keymap::new(&std::collections::BTreeMap::new()).unwrap();
    let mut out = String::from("\n| | key | does | in the settings |\n|---|---|---|---|\n");
    for group in Group::iter() {
        let name: &'static str = group.into();
        for (i, action) in Action::iter()
            .filter(|a| a.about().group == group)
            .enumerate()
        {
            let keys: Vec<String> = keymap
                .keys(action)
                .split(' ')
                .map(|key| format!("`{key}`"))
                .collect();
            let config: &'static str = action.into();
            let group = if i == 0 {
                format!("**{name}**")
            } else {
                String::new()
            };
            writeln!(
                out,
                "| {group} | {} | {} | `{config}` |",
                keys.join(" "),
                action.about().help
            )
            .unwrap();
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_key_table_of_the_docs_is_the_table_of_actions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text
        .split_once(BEGIN)
        .expect("the docs have the mark of the keys' begin");
    let (found, after) = rest.split_once(END).expect("and the one of their end");
    if found != table() && std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(
        found,
        table(),
        "run this test once with INSTA_UPDATE=always"
    );
}
