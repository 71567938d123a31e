//! Where settings come from: `evaltop.toml` inside the store beats the user's file,
//! key by key. Every file is checked on its own first,
//! so that an error names its file and line.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use etcetera::BaseStrategy;
use toml::Table;
use toml::de::DeTable;

use super::{Config, did_you_mean};

/// The settings of one store, inside its folder.
pub(crate) const STORE_FILE: &str = "evaltop.toml";

/// A setting that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the settings in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A wrong key or value.
    #[error("{place}: {problem}")]
    Wrong {
        /// File and line.
        place: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Config {
    /// The settings for the store in `dir` (none: no store), from all places.
    pub fn load(dir: Option<&Path>) -> Result<Self, ConfigError> {
        let named = env::var_os("EVALTOP_CONFIG")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        Self::merge(named.as_deref(), user_file().as_deref(), dir)
    }

    /// `named` is the file that the user insists on; without it, `usual` is read if it is there.
    fn merge(
        named: Option<&Path>,
        usual: Option<&Path>,
        dir: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Vec::new();
        match (named, usual) {
            (Some(path), _) => sources.push(read(path)?),
            (None, Some(path)) => sources.extend(read_if_there(path)?),
            (None, None) => {}
        }
        let own = sources.len();
        if let Some(dir) = dir {
            sources.extend(read_of_store(&dir.join(STORE_FILE))?);
        }
        let mut merged = Table::new();
        let mut places = BTreeMap::new();
        let mut ignored = Vec::new();
        for (number, (path, text)) in sources.into_iter().enumerate() {
            // Checked file by file: after the merge nobody knows where a value came from.
            toml::from_str::<Self>(&text).map_err(|error| wrong(&path, &text, &error))?;
            let mut table: Table =
                toml::from_str(&text).map_err(|error| wrong(&path, &text, &error))?;
            let spans = DeTable::parse(&text).map_err(|error| wrong(&path, &text, &error))?;
            beside(&mut table, &path);
            let before: Vec<Option<String>> = PROGRAMS
                .iter()
                .map(|(.., key)| places.get(*key).cloned())
                .collect();
            remember(&mut places, "", spans.get_ref(), &path, &text);
            for ((group, name, key), before) in PROGRAMS.iter().zip(before) {
                if number >= own && without(&mut table, group, name) {
                    let place = places.get(*key).map_or("", String::as_str);
                    ignored.push(format!(
                        "{place}: {key} is ignored: a store can't name a program to run; set it in your own settings"
                    ));
                    places.remove(*key);
                    places.extend(before.map(|place| ((*key).to_owned(), place)));
                }
            }
            overlay(&mut merged, table);
        }
        let mut config: Self = merged.try_into().map_err(|error| ConfigError::Wrong {
            place: "settings".to_owned(),
            problem: sentence(&error),
        })?;
        config.places = places;
        config.ignored = ignored;
        for path in config.prices.clone() {
            config.add_prices(&path)?;
        }
        Ok(config)
    }

    /// The settings of one file alone.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::merge(Some(path), None, None)
    }

    /// Every key that a file sets, with that file and line.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.places
            .iter()
            .map(|(key, place)| (key.as_str(), place.as_str()))
    }

    /// The user's settings: `config.toml` in the XDG folder, there or not.
    pub fn user_file() -> Option<PathBuf> {
        user_file()
    }

    /// File and line of a key such as `keys.consolidate`, for errors that only the
    /// user of a setting can notice.
    pub fn place(&self, key: &str) -> &str {
        self.places
            .get(key)
            .map_or("the built-in settings", String::as_str)
    }
}

/// The settings that name a program to run.
const PROGRAMS: [(&str, &str, &str); 2] = [
    ("notify", "hook", "notify.hook"),
    ("log", "open", "log.open"),
];

/// Makes the price files that settings name relative to the folder of the settings.
fn beside(table: &mut Table, settings: &Path) {
    let folder = settings.parent().unwrap_or_else(|| Path::new(""));
    let place = |value: &mut toml::Value| {
        if let toml::Value::String(path) = value {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    };
    match table.get_mut("prices") {
        Some(toml::Value::Array(paths)) => paths.iter_mut().for_each(place),
        Some(path) => place(path),
        None => {}
    }
}

/// Takes a setting that names a program out of a store's settings; whether there was one.
fn without(table: &mut Table, group: &str, name: &str) -> bool {
    let group = table.get_mut(group).and_then(toml::Value::as_table_mut);
    group.is_some_and(|group| group.remove(name).is_some())
}

/// `config.toml` in the folder that the XDG base directory specification names.
fn user_file() -> Option<PathBuf> {
    let folders = etcetera::choose_base_strategy().ok()?;
    Some(folders.config_dir().join("evaltop/config.toml"))
}

fn read(path: &Path) -> Result<(PathBuf, String), ConfigError> {
    let text = fs::File::open(path).and_then(text_of);
    let text = text.map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    Ok((path.to_path_buf(), text))
}

/// The settings of a store, which may be somebody else's: a regular file or none.
fn read_of_store(path: &Path) -> Result<Option<(PathBuf, String)>, ConfigError> {
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            Err(ConfigError::Read {
                path: path.to_path_buf(),
                source,
            })
        }
        _ => read_if_there(path),
    }
}

/// No settings are longer.
const MOST_BYTES: u64 = 1 << 20;

fn text_of(file: fs::File) -> io::Result<String> {
    let mut text = String::new();
    if file.take(MOST_BYTES + 1).read_to_string(&mut text)? as u64 > MOST_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is longer than 1 MiB",
        ));
    }
    Ok(text)
}

fn read_if_there(path: &Path) -> Result<Option<(PathBuf, String)>, ConfigError> {
    match read(path) {
        Ok(found) => Ok(Some(found)),
        Err(ConfigError::Read { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        // A store folder that can't be entered is reported when the store is read.
        Err(ConfigError::Read { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied && !path.exists() =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

pub(super) fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().map(|span| line_of(text, span.start));
    ConfigError::Wrong {
        place: match line {
            Some(line) => format!("{} line {line}", path.display()),
            None => path.display().to_string(),
        },
        problem: sentence(error),
    }
}

/// The message on one line, with quotes as everywhere else.
fn sentence(error: &toml::de::Error) -> String {
    let said = error
        .message()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('`', "'");
    // "unknown field 'x', expected one of 'a', 'b'": what stands in quotes are the names.
    match (said.starts_with("unknown "), said.split_once(',')) {
        (true, Some((unknown, there))) => {
            let typed = unknown.split('\'').nth(1).unwrap_or_default();
            format!(
                "{unknown}{},{there}",
                did_you_mean(typed, there.split('\'').skip(1).step_by(2))
            )
        }
        _ => said,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
}

fn remember(
    places: &mut BTreeMap<String, String>,
    prefix: &str,
    table: &DeTable<'_>,
    path: &Path,
    text: &str,
) {
    for (key, value) in table {
        let name = if prefix.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{prefix}.{}", key.get_ref())
        };
        if let Some(inner) = value.get_ref().as_table() {
            remember(places, &name, inner, path, text);
        } else {
            places.insert(
                name,
                format!(
                    "{} line {}",
                    path.display(),
                    line_of(text, key.span().start)
                ),
            );
        }
    }
}

/// Puts `above` over `below`, key by key.
fn overlay(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => overlay(old, new),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(user: &str, store: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("config.toml");
        fs::write(&named, user).unwrap();
        fs::write(folder.path().join(STORE_FILE), store).unwrap();
        (folder, named)
    }

    fn load(user: &str, store: &str) -> Result<Config, ConfigError> {
        let (folder, named) = files(user, store);
        Config::merge(Some(&named), None, Some(folder.path()))
    }

    fn refusal(user: &str) -> String {
        let message = load(user, "").unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        let at = message.find("config.toml").unwrap();
        message[at..].to_owned()
    }

    #[test]
    fn the_store_beats_the_user_key_by_key() {
        let config = load(
            "[thresholds]\nincrements_warning = 7\nbytes_warning = \"1 MiB\"\n[keys]\nbackup = \"B\"\n",
            "[thresholds]\nincrements_warning = 9\noldest = \"2h\"\n[keys]\nconsolidate = [\"c\", \"f5\"]\n",
        )
        .unwrap();
        assert_eq!(config.thresholds.increments_warning, 9);
        assert_eq!(config.thresholds.bytes_warning, 1 << 20);
        assert_eq!(config.thresholds.oldest_seconds, 7_200);
        assert_eq!(config.thresholds.increments_critical, 1_000);
        assert_eq!(config.keys["backup"], ["B"]);
        assert_eq!(config.keys["consolidate"], ["c", "f5"]);
        assert!(
            config
                .place("keys.consolidate")
                .ends_with("evaltop.toml line 5")
        );
        assert_eq!(config.place("thresholds.fresh"), "the built-in settings");
    }

    #[test]
    fn a_wrong_setting_names_its_file_and_line() {
        let unknown = refusal("[thresholds]\nincrements_warning = 1\nincrement_warning = 2\n");
        assert!(
            unknown.starts_with(
                "config.toml line 3: unknown field 'increment_warning' (did you mean 'increments_warning'?), expected"
            ),
            "{unknown}"
        );
        let kind = refusal("\n[thresholds]\n\nincrements_warning = \"many\"\n");
        assert!(
            kind.starts_with("config.toml line 4: invalid type"),
            "{kind}"
        );
        assert_eq!(
            refusal("[thresholds]\noldest = \"soon\"\n"),
            "config.toml line 2: 'soon' is not a duration: write 30s, 5m, 2h or 7d"
        );
        assert_eq!(
            refusal("[thresholds]\nbytes_warning = \"lots\"\n"),
            "config.toml line 2: 'lots' is not a size: write bytes, or 100 MiB, or 1 GiB"
        );
        let theme = refusal("[dashboard]\nascii = true\ntheme = \"pink\"\n");
        assert!(
            theme.starts_with("config.toml line 3: 'pink' is not a theme"),
            "{theme}"
        );
        let zone = refusal("time_zone = \"Europe/Atlantis\"\n");
        assert!(
            zone.starts_with("config.toml line 1: 'Europe/Atlantis' is not a time zone"),
            "{zone}"
        );
        let torn = refusal("[thresholds\n");
        assert!(torn.starts_with("config.toml line 1: "), "{torn}");
        let durability = refusal("durability = \"paper\"\n");
        assert!(
            durability.starts_with("config.toml line 1: unknown variant 'paper'"),
            "{durability}"
        );
    }

    #[test]
    fn a_store_names_no_program_to_run() {
        let store = "[notify]\nbell = false\nhook = [\"rm\", \"-rf\", \"/\"]\n";
        let config = load("[notify]\nhook = [\"page-me\"]\n", store).unwrap();
        assert_eq!(
            (config.notify.hook.as_slice(), config.notify.bell),
            (&["page-me".to_owned()][..], false)
        );
        assert!(
            config.ignored[0].contains("evaltop.toml line 3: notify.hook is ignored"),
            "{:?}",
            config.ignored
        );
        assert!(config.place("notify.hook").ends_with("config.toml line 2"));
        let config = load("", store).unwrap();
        assert!(config.notify.hook.is_empty());
        assert_eq!(config.place("notify.hook"), "the built-in settings");
    }

    #[test]
    fn files_that_are_not_there_are_no_matter_unless_named() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent.toml");
        assert_eq!(
            Config::merge(None, Some(&absent), Some(folder.path())).unwrap(),
            Config::default()
        );
        let error = Config::merge(Some(&absent), None, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("absent.toml"), "{error}");
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }
}
