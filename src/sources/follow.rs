//! Files and folders that grow, imported again and again: each file when it changed.
//!
//! Nothing is written into the folders. A round reads names, sizes and times; only what
//! changed since the last round is opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::input;
use super::{Done, Options, Report, Run, lm_eval};
use crate::store::commit::consolidate;
use crate::store::{Control, Error, Result, Store};

/// A file that changed so lately may change again without another time.
const FRESH: Duration = Duration::from_secs(2);
/// Increments after which they are consolidated.
const MANY: u64 = 100;

/// How a file was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    modified_ns: u128,
    /// It may have changed while it was read.
    fresh: bool,
    /// It is nothing to import.
    other: bool,
}

/// What became of one file in a round.
pub type Taken = (PathBuf, Result<Report>);

/// A file that was read in this round.
struct Reading {
    path: PathBuf,
    seen: Seen,
    /// How much of what is packed in it is not in the store yet.
    left: usize,
}

/// What a round has come to.
struct Round {
    taken: Vec<Taken>,
    reading: Vec<Reading>,
    /// The name of each input, and what it was read from.
    inputs: Vec<(PathBuf, usize)>,
}

/// Follows files and folders into a store.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    paths: Vec<PathBuf>,
    options: Options,
    seen: BTreeMap<PathBuf, Seen>,
    /// Where the next start finds what was seen.
    memory: Option<PathBuf>,
    /// Increments since the last commit, and the newest of them.
    increments: u64,
    newest: Option<String>,
}

impl Follower {
    /// Begins; with `memory`, where an earlier one that kept its state there ended.
    pub fn new(
        store: Store,
        paths: Vec<PathBuf>,
        options: Options,
        memory: Option<PathBuf>,
    ) -> Self {
        let kept = memory.as_ref().and_then(|path| std::fs::read(path).ok());
        let seen = kept.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            store,
            paths,
            options,
            seen: seen.unwrap_or_default(),
            memory,
            increments: 0,
            newest: None,
        }
    }

    /// Takes in what changed since the last round; reports each file that was read.
    ///
    /// # Errors
    /// `Cancelled`. What is wrong with a file is reported with the file.
    pub fn round(&mut self, control: &Control) -> Result<Vec<Taken>> {
        let mut round = Round {
            taken: Vec::new(),
            reading: Vec::new(),
            inputs: Vec::new(),
        };
        let files = self.files();
        let total = files.len() as u64;
        let before = self.seen.clone();
        let store = self.store.clone();
        let mut run = Run::new(&store, control);
        for (at, (path, named)) in files.into_iter().enumerate() {
            control.check()?;
            let Some(mut seen) = look(&path) else {
                continue;
            };
            let known = self.seen.get(&path);
            let same = known.is_some_and(|known| {
                (known.bytes, known.modified_ns) == (seen.bytes, seen.modified_ns) && !known.fresh
            });
            if same || lm_eval::may_get_samples(&path) {
                continue;
            }
            control.progress("reading logs", at as u64, total);
            let inputs = if named {
                input::find(std::slice::from_ref(&path))
            } else {
                Ok(input::inside(&path))
            };
            let inputs = match inputs {
                Ok(inputs) => inputs.files,
                Err(error) => {
                    round.taken.push((path.clone(), Err(error)));
                    Vec::new()
                }
            };
            seen.other = inputs.is_empty();
            if inputs.is_empty() {
                self.seen.insert(path, seen);
                continue;
            }
            round.reading.push(Reading {
                path,
                seen,
                left: inputs.len(),
            });
            let of = round.reading.len() - 1;
            for input in inputs {
                let options = input.options(&self.options);
                let nth = round.inputs.len();
                round.inputs.push((input.name.clone(), of));
                let done = run.add(nth, &input.path, &options, Timestamp::now());
                self.note(done, &mut round)?;
            }
            if self.increments >= MANY {
                self.note(run.finish(), &mut round)?;
                self.consolidate(control);
                run = Run::new(&store, control);
            }
        }
        self.note(run.finish(), &mut round)?;
        if self.seen != before {
            self.keep();
        }
        Ok(round.taken)
    }

    /// Remembers files of which all is in the store.
    fn note(&mut self, done: Vec<Done>, round: &mut Round) -> Result<()> {
        for (nth, report) in done {
            let Some((name, of)) = round.inputs.get(nth) else {
                continue;
            };
            let Some(reading) = round.reading.get_mut(*of) else {
                continue;
            };
            match report {
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                // Somebody else changes main at this moment: the next round will do.
                Err(Error::Locked { .. }) => reading.seen.fresh = true,
                report => {
                    if let Some(name) = report
                        .as_ref()
                        .ok()
                        .and_then(|report| report.increment.as_ref())
                        && self.newest.as_ref() != Some(name)
                    {
                        self.newest = Some(name.clone());
                        self.increments += 1;
                    }
                    round.taken.push((name.clone(), report));
                }
            }
            reading.left -= 1;
            if reading.left == 0 {
                self.seen.insert(reading.path.clone(), reading.seen);
            }
        }
        Ok(())
    }

    /// Each look-up opens all pending files, so a follower that runs for days would open ever more
    /// of them. Nothing else depends on it.
    fn consolidate(&mut self, control: &Control) {
        let options = consolidate::Options::default();
        let done = consolidate::run(&self.store, &options, Timestamp::now(), control);
        if let Err(error) = done {
            tracing::warn!("consolidate: {error}");
        }
        self.increments = 0;
    }

    /// The files that there are, and whether each was named itself.
    fn files(&self) -> Vec<(PathBuf, bool)> {
        let mut files = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                files.extend(input::below(path).into_iter().map(|file| (file, false)));
            } else {
                let matching = input::matching(path).unwrap_or_default();
                if matching.is_empty() {
                    files.push((path.clone(), true));
                }
                files.extend(matching.into_iter().map(|file| (file, true)));
            }
        }
        files
    }

    fn keep(&self) {
        let Some(memory) = &self.memory else { return };
        let written = serde_json::to_vec(&self.seen)
            .map_err(std::io::Error::from)
            .and_then(|text| {
                let temporary = memory.with_extension("tmp");
                std::fs::write(&temporary, text)?;
                std::fs::rename(&temporary, memory)
            });
        if let Err(error) = written {
            tracing::warn!("what was read is not remembered: {error}");
        }
    }
}

fn look(path: &Path) -> Option<Seen> {
    let meta = std::fs::metadata(path)
        .ok()
        .filter(std::fs::Metadata::is_file)?;
    let modified = meta.modified().ok()?;
    let since = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // A time ahead of the clock says nothing, so it counts as fresh too.
    let age = SystemTime::now().duration_since(modified);
    Some(Seen {
        bytes: meta.len(),
        modified_ns: since.as_nanos(),
        fresh: age.is_ok_and(|age| age < FRESH),
        other: false,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::read::query::{self, Selection};

    fn rows(store: &Store) -> usize {
        let rows = query::rows(store, &Selection::default(), &Control::default()).unwrap();
        rows.map(|batch| batch.unwrap().num_rows()).sum()
    }

    #[test]
    fn follows_new_grown_and_rewritten_files() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir_all(logs.join("deep")).unwrap();
        let store = Store::new(folder.path().join("store"));
        let memory = folder.path().join("seen.json");
        let follower = || {
            Follower::new(
                store.clone(),
                vec![logs.clone()],
                Options::default(),
                Some(memory.clone()),
            )
        };
        let mut first = follower();
        let control = Control::default();
        assert!(first.round(&control).unwrap().is_empty());
        let row = |n: u32| format!("{{\"model\":\"m\",\"success\":true,\"n\":{n}}}\n");
        fs::write(logs.join("deep/a.jsonl"), row(1) + &row(2)[..9]).unwrap();
        fs::write(logs.join("notes.txt"), "nothing\n").unwrap();
        assert_eq!(first.round(&control).unwrap().len(), 1);
        assert_eq!(rows(&store), 1, "what is not whole is not there yet");
        fs::write(logs.join("deep/a.jsonl"), row(1) + &row(2)).unwrap();
        first.round(&control).unwrap();
        assert_eq!(rows(&store), 2);
        // Another follower goes on where the first one ended.
        let mut second = follower();
        fs::write(logs.join("deep/a.jsonl"), row(1) + &row(2) + &row(3)).unwrap();
        fs::write(logs.join("b.jsonl"), row(9)).unwrap();
        second.round(&control).unwrap();
        assert_eq!(rows(&store), 4);
        fs::remove_file(logs.join("b.jsonl")).unwrap();
        second.round(&control).unwrap();
        assert_eq!(rows(&store), 4, "a file that goes takes nothing along");
    }
}
