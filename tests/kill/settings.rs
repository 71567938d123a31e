//! How long, how many, and which sequence of victims: from the environment.

use std::time::Duration;

/// No round is longer: each ends with a check of the whole store, and begins with a
/// new one, so that a run of hours does not become slow.
const ROUND: u64 = 45;

#[derive(Debug, Clone)]
pub struct Settings {
    pub seconds: u64,
    /// Writers of ours; legacy ones come on top.
    pub writers: usize,
    pub seed: u64,
    /// Seconds behind each kind of mount.
    pub mounted: u64,
}

fn rounds(seconds: u64) -> impl Iterator<Item = Duration> {
    let count = seconds.div_ceil(ROUND).max(1);
    let each = Duration::from_secs(seconds) / count as u32;
    (0..count).map(move |_| each)
}

impl Settings {
    pub fn from_environment() -> Self {
        let number = |name: &str, default: u64| match std::env::var(name) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
            Err(_) => default,
        };
        Self {
            seconds: number("EVALTOP_KILL_SECONDS", 18),
            writers: number("EVALTOP_KILL_WRITERS", 8) as usize,
            seed: number("EVALTOP_KILL_SEED", 1),
            mounted: number("EVALTOP_KILL_MOUNT_SECONDS", 8),
        }
    }

    /// The lengths of the rounds.
    pub fn rounds(&self) -> impl Iterator<Item = Duration> + use<> {
        rounds(self.seconds)
    }

    /// The lengths of those behind one kind of mount.
    pub fn mounted_rounds(&self) -> impl Iterator<Item = Duration> + use<> {
        rounds(self.mounted)
    }

    /// Legacy writers of each way of writing.
    pub fn legacy(&self) -> usize {
        (self.writers / 16).max(1)
    }
}
