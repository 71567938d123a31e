//! What the size, time and inode number of a file say about it.

use jiff::Timestamp;

use crate::store::disk::Stat;

/// A file without a footer that was modified within this time is being written.
const FRESH_NS: i128 = 60 * 1_000_000_000;

/// Whether a file without a footer may still be being written.
pub(crate) fn is_fresh(stat: &Stat, now: Timestamp) -> bool {
    now.as_nanosecond().saturating_sub(stat.modified_ns) < FRESH_NS
}

/// Whether a file was left alone for long enough before it is read that the next change
/// will show in its time: the clock of file systems has coarse ticks.
pub(crate) fn is_settled(stat: &Stat) -> bool {
    const TICK_NS: i128 = 100_000_000;
    Timestamp::now().as_nanosecond() - stat.modified_ns > TICK_NS
}

/// Whether a file is what it was; links may come and go.
pub(crate) fn same(a: &Stat, b: &Stat) -> bool {
    (a.inode, a.bytes, a.modified_ns) == (b.inode, b.bytes, b.modified_ns)
}
