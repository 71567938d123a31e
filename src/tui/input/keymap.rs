//! Which key does what: the defaults of [`Action`], with overrides from the config.
//! A key that is bound twice, an unknown key and an unknown action are refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use strum::IntoEnumIterator;

use super::action::Action;

/// A key with its modifiers; shift is part of the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    code: KeyCode,
    modifiers: KeyModifiers,
}

const NAMED: [(&str, KeyCode, &str); 15] = [
    ("enter", KeyCode::Enter, "Enter"),
    ("esc", KeyCode::Esc, "Esc"),
    ("tab", KeyCode::Tab, "Tab"),
    ("shift-tab", KeyCode::BackTab, "Shift-Tab"),
    ("space", KeyCode::Char(' '), "Space"),
    ("backspace", KeyCode::Backspace, "Backspace"),
    ("delete", KeyCode::Delete, "Del"),
    ("up", KeyCode::Up, "↑"),
    ("down", KeyCode::Down, "↓"),
    ("left", KeyCode::Left, "←"),
    ("right", KeyCode::Right, "→"),
    ("home", KeyCode::Home, "Home"),
    ("end", KeyCode::End, "End"),
    ("pageup", KeyCode::PageUp, "PgUp"),
    ("pagedown", KeyCode::PageDown, "PgDn"),
];

impl From<KeyEvent> for Key {
    fn from(event: KeyEvent) -> Self {
        let mut modifiers = event.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
        let code = match event.code {
            KeyCode::Tab if event.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::BackTab,
            KeyCode::Char(c) if modifiers.contains(KeyModifiers::CONTROL) => {
                KeyCode::Char(c.to_ascii_lowercase())
            }
            code => code,
        };
        if code == KeyCode::BackTab {
            modifiers = KeyModifiers::NONE;
        }
        Self { code, modifiers }
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let mut modifiers = KeyModifiers::NONE;
        loop {
            if let Some(tail) = rest.strip_prefix("ctrl-") {
                modifiers |= KeyModifiers::CONTROL;
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("alt-") {
                modifiers |= KeyModifiers::ALT;
                rest = tail;
            } else {
                break;
            }
        }
        let mut chars = rest.chars();
        let code = match (chars.next(), chars.next()) {
            (Some(c), None) if !c.is_control() && c != ' ' => Some(KeyCode::Char(c)),
            _ => NAMED
                .iter()
                .find(|(name, ..)| *name == rest)
                .map(|(_, code, _)| *code)
                .or_else(|| {
                    rest.strip_prefix('f')
                        .and_then(|n| n.parse().ok())
                        .map(KeyCode::F)
                }),
        };
        match code {
            Some(KeyCode::F(n)) if !(1..=24).contains(&n) => Err(unknown_key(text)),
            Some(code) => Ok(Self { code, modifiers }),
            None => Err(unknown_key(text)),
        }
    }
}

fn unknown_key(text: &str) -> String {
    format!("'{text}' is not a key: write a character, enter, esc, tab, space, up, f5, ctrl-x, …")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.modifiers.contains(KeyModifiers::CONTROL) {
            f.write_str("Ctrl-")?;
        }
        if self.modifiers.contains(KeyModifiers::ALT) {
            f.write_str("Alt-")?;
        }
        match (
            NAMED.iter().find(|(_, code, _)| *code == self.code),
            self.code,
        ) {
            (Some((.., shown)), _) => f.write_str(shown),
            (None, KeyCode::Char(c)) if !self.modifiers.is_empty() => {
                write!(f, "{}", c.to_ascii_uppercase())
            }
            (None, KeyCode::Char(c)) => write!(f, "{c}"),
            (None, KeyCode::F(n)) => write!(f, "F{n}"),
            (None, code) => write!(f, "{code:?}"),
        }
    }
}

/// Why bindings can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The action as the config names it.
    pub action: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

fn refuse<T>(action: &str, problem: String) -> Result<T, Refused> {
    Err(Refused {
        action: action.to_owned(),
        problem,
    })
}

/// The bindings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keymap {
    actions: HashMap<Key, Action>,
    keys: BTreeMap<&'static str, Vec<Key>>,
}

impl Keymap {
    /// The defaults, with `overrides` (action → keys) in their place.
    pub(crate) fn new(overrides: &BTreeMap<String, Vec<String>>) -> Result<Self, Refused> {
        for name in overrides.keys() {
            if Action::from_str(name).is_err() {
                let known: Vec<&str> = Action::iter().map(Into::into).collect();
                return refuse(
                    name,
                    format!("no such action; there are {}", known.join(", ")),
                );
            }
        }
        let mut map = Self {
            actions: HashMap::new(),
            keys: BTreeMap::new(),
        };
        for action in Action::iter() {
            let name: &'static str = action.into();
            let texts: Vec<&str> = match overrides.get(name) {
                Some(own) => own.iter().map(String::as_str).collect(),
                None => action.about().keys.to_vec(),
            };
            let mut keys = Vec::with_capacity(texts.len());
            for text in texts {
                let key = Key::from_str(text).map_err(|problem| Refused {
                    action: name.to_owned(),
                    problem,
                })?;
                if let Some(other) = map.actions.insert(key, action) {
                    let other: &str = other.into();
                    return refuse(
                        name,
                        format!("'{text}' is bound to {other} as well: keep one"),
                    );
                }
                keys.push(key);
            }
            map.keys.insert(name, keys);
        }
        if map.keys.get("quit").is_none_or(Vec::is_empty) {
            return refuse("quit", "needs at least one key".to_owned());
        }
        Ok(map)
    }

    /// What a key does.
    pub(crate) fn action(&self, key: Key) -> Option<Action> {
        self.actions.get(&key).copied()
    }

    /// The first key of an action as it is shown; empty when it has none.
    pub(crate) fn key(&self, action: Action) -> String {
        self.of(action)
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// All keys of an action as they are shown.
    pub(crate) fn keys(&self, action: Action) -> String {
        self.of(action)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// What the terminal sends when the keys of an action are pressed.
    #[cfg(test)]
    pub(crate) fn events(&self, action: Action) -> Vec<KeyEvent> {
        self.of(action)
            .iter()
            .map(|key| KeyEvent::new(key.code, key.modifiers))
            .collect()
    }

    fn of(&self, action: Action) -> &[Key] {
        let name: &'static str = action.into();
        self.keys.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &[&str])]) -> Result<Keymap, Refused> {
        let owned = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect();
        Keymap::new(
            &pairs
                .iter()
                .map(|(a, keys)| ((*a).to_owned(), owned(keys)))
                .collect(),
        )
    }

    #[test]
    fn defaults_have_no_doubles_and_read_back() {
        let map = with(&[]).unwrap();
        for action in Action::iter() {
            for key in action.about().keys {
                assert_eq!(map.action(key.parse().unwrap()), Some(action), "{key}");
            }
        }
        assert_eq!(map.key(Action::Open), "Enter");
        assert_eq!(map.keys(Action::Quit), "q Ctrl-C");
    }

    #[test]
    fn an_override_takes_the_defaults_place() {
        let map = with(&[("consolidate", &["f5", "alt-c"])]).unwrap();
        assert_eq!(map.action("c".parse().unwrap()), None);
        assert_eq!(map.keys(Action::Consolidate), "F5 Alt-C");
    }

    #[test]
    fn refuses_doubles_and_what_it_does_not_know() {
        for (action, keys, problem) in [
            ("backup", &["c"][..], "'c' is bound to consolidate as well"),
            ("backup", &["hyper-b"], "'hyper-b' is not a key"),
            ("explode", &["c"], "no such action"),
            ("quit", &[], "needs at least one key"),
        ] {
            let refused = with(&[(action, keys)]).unwrap_err();
            assert_eq!(refused.action, action);
            assert!(refused.problem.contains(problem), "{}", refused.problem);
        }
    }

    #[test]
    fn events_and_names_meet() {
        let map = with(&[]).unwrap();
        let event = |code, modifiers| Key::from(KeyEvent::new(code, modifiers));
        assert_eq!(
            map.action(event(KeyCode::Char('S'), KeyModifiers::SHIFT)),
            Some(Action::Reverse)
        );
        assert_eq!(
            map.action(event(KeyCode::BackTab, KeyModifiers::SHIFT)),
            Some(Action::PreviousPane)
        );
        assert_eq!(
            map.action(event(KeyCode::Char('C'), KeyModifiers::CONTROL)),
            Some(Action::Quit)
        );
    }
}
