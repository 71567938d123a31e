//! Heartbeats as they lie in `live/`, each read again only when its file has changed.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::store::disk::{Stat, read};
use crate::store::format::heartbeat::Heartbeat;
use crate::store::format::layout::{is_live, live_name};
use crate::store::{Store, disk};

/// So many writers are listed; the newest files first.
const MOST: usize = 4_096;
/// No heartbeat is longer.
const LONGEST: u64 = 1 << 20;

/// A heartbeat, and when its file changed last by that file system's time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beat {
    /// What the writer says.
    pub(crate) said: Arc<Heartbeat>,
    /// When it said so.
    pub(crate) at: Option<Timestamp>,
}

/// The heartbeats of the last scan.
#[derive(Debug, Default)]
pub(crate) struct Beats(HashMap<String, (Stat, Beat)>);

impl Beats {
    /// What the writers say now. Nothing depends on it, so what can't be read is passed over;
    /// of a file that is torn at this moment the last reading stands.
    pub(crate) fn look(&mut self, store: &Store) -> Vec<Beat> {
        let folder = store.layout.live();
        let mut entries = store.disk.list(&folder).unwrap_or_default();
        entries.retain(|entry| is_live(&entry.name) && entry.stat.bytes <= LONGEST);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.stat.modified_ns));
        entries.truncate(MOST);
        let mut before = std::mem::take(&mut self.0);
        for disk::Entry { name, stat, .. } in entries {
            let known = before.remove(&name);
            let known = match known {
                Some((seen, beat)) if seen == stat => Some((seen, beat)),
                known => {
                    let path = folder.join(&name);
                    let bytes = read(&*store.disk, &path).ok();
                    let said = bytes.as_deref().and_then(Heartbeat::read);
                    // A writer has its own file and no other's; what it says of itself comes from
                    // other machines, and becomes a name here.
                    match said.filter(|said| live_name(&said.writer) == name) {
                        Some(said) => {
                            let at = match said.brought {
                                Some(brought) => Timestamp::from_microsecond(brought.at),
                                None => Timestamp::from_nanosecond(stat.modified_ns),
                            };
                            let (at, said) = (at.ok(), Arc::new(said));
                            Some((stat, Beat { said, at }))
                        }
                        None => known,
                    }
                }
            };
            if let Some(known) = known {
                self.0.insert(name, known);
            }
        }
        let mut beats: Vec<Beat> = self.0.values().map(|(_, beat)| beat.clone()).collect();
        beats.sort_by(|one, other| one.said.writer.cmp(&other.said.writer));
        beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::heartbeat::FORMAT;

    #[test]
    fn a_heartbeat_under_another_name_is_nobodys() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        std::fs::create_dir_all(store.layout.live()).unwrap();
        let say = |name: &str, writer: &str| {
            let said = Heartbeat {
                format: FORMAT,
                writer: writer.to_owned(),
                ..Heartbeat::default()
            };
            std::fs::write(store.layout.live().join(name), said.to_bytes()).unwrap();
        };
        say(
            &live_name("1_20260131_120000_h_0a1b"),
            "1_20260131_120000_h_0a1b",
        );
        say("x.json", "../../x");
        say("y.json", "/tmp/y");
        say("z.json", "1_20260131_120000_h_0a1b");
        let beats = Beats::default().look(&store);
        let writers: Vec<&str> = beats.iter().map(|beat| &*beat.said.writer).collect();
        assert_eq!(writers, ["1_20260131_120000_h_0a1b"]);
    }
}
