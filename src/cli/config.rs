//! `config`: a documented sample of all settings, those that are in force, and whether
//! they are right.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::{Args, Subcommand};

use super::{Exit, dir, out, verbosity};
use crate::config::Config;
#[cfg(feature = "tui")]
use crate::tui;

/// The sample but for the keys, which follow from the dashboard's own table.
const SAMPLE: &str = include_str!("../../assets/evaltop.toml");

/// `evaltop config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: ConfigCommand,
}

/// What `config` does.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Write a sample with every setting, its default and its unit
    Init {
        /// The file to write; - for stdout [default: the user's settings]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace an existing file
        #[arg(short, long)]
        yes: bool,
    },
    /// Print the settings in force, and where each that was set stands
    Show {
        /// The store, whose own settings count too
        dir: Option<PathBuf>,
    },
    /// Check the settings; a wrong one is named with its file and line
    Check {
        /// The store, whose own settings count too, or one file
        dir: Option<PathBuf>,
    },
}

/// `evaltop config`.
pub fn run(args: &ConfigArgs) -> Result<Exit> {
    let mut out = out::stdout();
    match &args.command {
        ConfigCommand::Init { output, yes } => return init(output.as_deref(), *yes),
        ConfigCommand::Show { dir } => {
            let config = Config::load(Some(&dir::resolve(dir.as_deref())?))?;
            for (key, place) in config.places() {
                writeln!(out, "# {key}: {place}")?;
            }
            let text = toml::to_string(&config).context("the settings can't be written as TOML")?;
            write!(out, "{text}")?;
        }
        ConfigCommand::Check { dir } => {
            dir.as_deref().map_or(Ok(()), dir::local)?;
            if let Some(nothing) = dir.as_deref().filter(|path| !path.exists()) {
                bail!(
                    "there is no {}: name a file of settings, or a store",
                    nothing.display()
                );
            }
            let named = dir.as_deref().filter(|path| path.is_file());
            let config = match named {
                Some(file) => Config::read(file)?,
                None => Config::load(Some(&dir::resolve(dir.as_deref())?))?,
            };
            #[cfg(feature = "tui")]
            tui::check_keys(&config).map_err(|problem| anyhow!(problem))?;
            for ignored in &config.ignored {
                verbosity::complain(ignored);
            }
            if !verbosity::quiet() {
                let set = config.places().count();
                let what = if set == 1 {
                    "setting differs"
                } else {
                    "settings differ"
                };
                writeln!(
                    out,
                    "the settings are right: {set} {what} from the built-in ones"
                )?;
            }
            if !config.ignored.is_empty() {
                return Ok(Exit::Warning);
            }
        }
    }
    Ok(Exit::Ok)
}

fn init(output: Option<&Path>, overwrite: bool) -> Result<Exit> {
    let text = sample();
    if output == Some(Path::new("-")) {
        out::stdout().write_all(text.as_bytes())?;
        return Ok(Exit::Ok);
    }
    let usual = || Config::user_file().context("there is no home folder: name a file with -o FILE");
    let path = output.map_or_else(usual, |path| Ok(path.to_path_buf()))?;
    let shown = path.display();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(&path) {
        Ok(mut file) => file
            .write_all(text.as_bytes())
            .with_context(|| format!("cannot write {shown}"))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{shown} is there already: replace it with --yes, or print the sample with -o -")
        }
        Err(error) => return Err(anyhow!("cannot write {shown}: {error}")),
    }
    if !verbosity::quiet() {
        writeln!(
            out::stdout(),
            "wrote {shown}: every setting with its default, commented out"
        )?;
    }
    Ok(Exit::Ok)
}

/// Every setting, commented out.
fn sample() -> String {
    let mut text = SAMPLE.to_owned();
    text.push_str("# Keys of the dashboard: one, or a list; an empty list for none.\n#[keys]\n");
    #[cfg(feature = "tui")]
    for (action, keys, help) in tui::usual_keys() {
        let keys: Vec<String> = keys
            .iter()
            .map(|key| toml::Value::from(*key).to_string())
            .collect();
        // Writing to a string can't fail.
        let _ = writeln!(text, "# {help}\n#{action} = [{}]", keys.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample with every setting taken over.
    fn taken() -> String {
        let uncommented = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
            _ => line.to_owned(),
        };
        sample()
            .lines()
            .map(uncommented)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_sample_changes_nothing_and_shows_every_default() {
        assert_eq!(
            toml::from_str::<Config>(&sample()).unwrap(),
            Config::default()
        );
        let mut config: Config = toml::from_str(&taken()).unwrap();
        tui::check_keys(&config).unwrap();
        assert!(config.keys.len() > 20);
        config.keys.clear();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_sample_leaves_no_setting_out() {
        let shown: toml::Table = toml::from_str(&taken()).unwrap();
        let all: toml::Table =
            toml::from_str(&toml::to_string(&Config::default()).unwrap()).unwrap();
        for (key, value) in all {
            let Some(table) = value.as_table() else {
                assert!(shown.contains_key(&key), "{key}");
                continue;
            };
            for inner in table.keys() {
                assert!(
                    shown[&key].as_table().unwrap().contains_key(inner),
                    "{key}.{inner}"
                );
            }
        }
        assert!(sample().contains("# time_zone = "));
    }
}
