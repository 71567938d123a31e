//! Whether a model's tests of this run fail in a burst, test after test.

use std::collections::HashMap;
use std::sync::Arc;

use crate::stats::burst::{Alarm, Before, detect};

/// Tests of a model that are looked at together; older ones say what is usual.
const WINDOW: usize = 200;

/// The latest tests of each model.
#[derive(Debug, Default)]
pub(super) struct Bursts(HashMap<Arc<str>, (Before, Vec<bool>)>);

impl Bursts {
    /// Takes a test in; the burst that it is part of, if any.
    pub(super) fn add(&mut self, model: &Arc<str>, failed: bool) -> Option<Alarm> {
        let (before, recent) = self.0.entry(model.clone()).or_default();
        recent.push(failed);
        if recent.len() >= 2 * WINDOW {
            let old = recent.drain(..WINDOW);
            before.tests += WINDOW as u64;
            before.failed += old.filter(|failed| *failed).count() as u64;
        }
        detect(*before, recent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_stops_passing_alarms_however_long_it_ran() {
        for passes in [30, 1_000] {
            let mut bursts = Bursts::default();
            let model: Arc<str> = "m".into();
            assert!((0..passes).all(|_| bursts.add(&model, false).is_none()));
            assert!(bursts.add(&"other".into(), true).is_none());
            let alarm = (0..6).find_map(|_| bursts.add(&model, true)).unwrap();
            assert_eq!(alarm.failed, alarm.of);
        }
    }
}
