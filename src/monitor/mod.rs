//! Watching and scanning a store: turns snapshots and file-system events into
//! [`Observation`]s, the plain data that `status` prints and the dashboard draws.

use jiff::Timestamp;

use crate::config::Config;
use crate::store::{Error, Store};

pub mod watch;

pub use crate::observation::{self, Observation, StoreState, WatchMode};
pub use watch::Watch;

/// Looks at one store again and again. What it remembers between two looks only
/// makes the next one cheaper or tells what became of something; a single look at
/// a store gives the same numbers.
#[derive(Debug)]
pub struct Monitor {
    store: Store,
    config: Config,
    watch: WatchMode,
}

impl Monitor {
    /// A monitor that has not looked yet. Touches nothing.
    pub fn new(store: Store, config: Config) -> Self {
        Self { store, config, watch: WatchMode::Off }
    }

    /// Says how changes are noticed, for the observations to come.
    pub fn set_watch(&mut self, mode: WatchMode) {
        self.watch = mode;
    }

    /// One look. Blocks while it reads; never fails and never writes: what can't be
    /// read becomes a state or an alert.
    pub fn observe(&mut self, now: Timestamp) -> Observation {
        let mut seen = Observation {
            at: now,
            store: self.store.layout.root().to_path_buf(),
            watch: self.watch.clone(),
            disk: self.store.disk.space(self.store.layout.root()).ok().map(|space| (space.free, space.total)),
            ..Observation::default()
        };
        seen.state = match self.store.check() {
            Ok(()) => StoreState::Ready,
            Err(Error::NoStore { .. }) => StoreState::Missing,
            Err(error) => StoreState::Unreadable(error.to_string()),
        };
        seen.alerts = crate::health::check(&seen, &self.config.thresholds);
        seen
    }
}
