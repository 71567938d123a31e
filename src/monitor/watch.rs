//! Hints that something changed in a store, from the operating system where it
//! says and by polling where it doesn't (network file systems, no watches left).
//!
//! A hint says "look again", not what happened: scans are the truth. Hints coalesce,
//! so a storm of events costs one. The folder may be missing, vanish and come back;
//! watches follow it. Reading the store makes no hint, or looking would never end.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::WatchMode;
use crate::store::Layout;
use crate::store::format::layout::is_temporary;

mod network;

/// How often the folders are checked for still being the ones that are watched.
const REARM: Duration = Duration::from_secs(2);
/// How often native events are tried again while polling: watches may have become free.
const RETRY: Duration = Duration::from_secs(300);
/// The least time between two hints.
const PAUSE: Duration = Duration::from_millis(20);

/// A running watch of one store. Dropping it ends its thread.
#[derive(Debug)]
pub struct Watch {
    /// A message whenever the store may have changed since the last one.
    pub hints: mpsc::Receiver<()>,
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    mode: Mutex<WatchMode>,
    /// A watched folder was removed, or may have been. A new one may have its inode.
    lost: AtomicBool,
}

/// Starts to watch the store in `root`, which need not be there yet. `poll` is the
/// time between two scans where the system gives no events.
pub fn start(root: &Path, poll: Duration) -> io::Result<Watch> {
    start_with(root, poll, RETRY, network::reason_to_poll)
}

fn start_with(
    root: &Path,
    poll: Duration,
    retry: Duration,
    judge: fn(&Path) -> Option<String>,
) -> io::Result<Watch> {
    // One waiting message says as much as a hundred, on both channels.
    let (sender, hints) = mpsc::channel(1);
    let (wake, woken) = sync_channel(1);
    let shared = Arc::<Shared>::default();
    let layout = Layout::new(root);
    let mut watching = Watching {
        folders: [layout.root().to_path_buf(), layout.incremental()],
        poll,
        retry,
        judge,
        shared: Arc::clone(&shared),
        wake: wake.clone(),
        identities: None,
        tried: Instant::now(),
        watcher: None,
        print: Vec::new(),
    };
    // Before the thread starts, so that the caller knows the mode and misses nothing.
    watching.follow();
    thread::Builder::new()
        .name("evaltop-watch".to_owned())
        .spawn(move || watching.run(&woken, &sender))?;
    Ok(Watch {
        hints,
        shared,
        wake,
    })
}

impl Watch {
    /// How changes are noticed at this moment.
    pub fn mode(&self) -> WatchMode {
        self.shared
            .mode
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Not joined: a stat on a dead network mount may hang for minutes.
        self.shared.stop.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
    }
}

/// Which folder a path is, whatever its name: device and inode.
type Identity = Option<(u64, u64)>;

/// The thread's side.
struct Watching {
    /// The store and its `incremental/`.
    folders: [PathBuf; 2],
    poll: Duration,
    retry: Duration,
    judge: fn(&Path) -> Option<String>,
    shared: Arc<Shared>,
    wake: SyncSender<()>,
    /// The folders that are watched; `None` before the first time.
    identities: Option<[Identity; 2]>,
    /// When native events were tried the last time.
    tried: Instant,
    /// `None` when polling.
    watcher: Option<RecommendedWatcher>,
    /// When polling: name, inode, size and time of everything at the last scan.
    print: Vec<(PathBuf, u64, u64, i64, i64)>,
}

impl Watching {
    fn run(mut self, woken: &Receiver<()>, hints: &mpsc::Sender<()>) {
        let mut checked = Instant::now();
        loop {
            let period = if self.watcher.is_some() {
                REARM
            } else {
                self.poll
            };
            let reported = match woken.recv_timeout(period.saturating_sub(checked.elapsed())) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.shared.stop.load(Ordering::Acquire) || hints.is_closed() {
                return;
            }
            checked = Instant::now();
            let moved = self.follow();
            let differs = self.watcher.is_none() && self.looks_different();
            // A store that comes back and goes again between two checks would leave no trace.
            let missing = matches!(self.identities, Some([None, _]));
            if reported || moved || differs || missing {
                let _ = hints.try_send(());
                thread::sleep(PAUSE);
            }
        }
    }

    /// Watches the folders that are there now; `true` when they are other ones, or tried again.
    fn follow(&mut self) -> bool {
        let now = self.folders.each_ref().map(|folder| {
            let meta = std::fs::metadata(folder)
                .ok()
                .filter(std::fs::Metadata::is_dir)?;
            Some((meta.dev(), meta.ino()))
        });
        let again = self.watcher.is_none() && self.tried.elapsed() >= self.retry;
        let lost = self.shared.lost.swap(false, Ordering::AcqRel);
        if self.identities == Some(now) && !again && !lost {
            return false;
        }
        self.tried = Instant::now();
        let first = self.identities.replace(now).is_none();
        self.watcher = None;
        // The library asserts that it gets its thread.
        let armed = catch_unwind(AssertUnwindSafe(|| self.arm()));
        let mode = match armed.unwrap_or_else(|_| Err("the system gave no thread".to_owned())) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                WatchMode::Native(NATIVE)
            }
            Err(reason) => {
                self.looks_different();
                WatchMode::Polling(reason)
            }
        };
        *self
            .shared
            .mode
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = mode;
        !first
    }

    fn arm(&self) -> Result<RecommendedWatcher, String> {
        let [root, _] = &self.folders;
        if let Some(reason) = (self.judge)(root) {
            return Err(reason);
        }
        let (wake, shared, folders) = (
            self.wake.clone(),
            Arc::clone(&self.shared),
            self.folders.clone(),
        );
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event
                .as_ref()
                .map_or(true, |event| may_remove(event, &folders))
            {
                shared.lost.store(true, Ordering::Release);
            }
            if event.as_ref().map_or(true, matters) {
                let _ = wake.try_send(());
            }
        })
        .map_err(|error| why(&error))?;
        for folder in &self.folders {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // Not there yet, or any more: the next check follows it, even if it came just now.
                Err(error) if is_missing(&error) || !folder.is_dir() => {}
                Err(error) => return Err(why(&error)),
            }
        }
        Ok(watcher)
    }

    /// Compares everything in the folders with the last scan.
    fn looks_different(&mut self) -> bool {
        let mut print = Vec::new();
        for folder in &self.folders {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if let Ok(meta) = entry.metadata() {
                    print.push((
                        entry.path(),
                        meta.ino(),
                        meta.len(),
                        meta.mtime(),
                        meta.mtime_nsec(),
                    ));
                }
            }
        }
        print.sort_unstable();
        let different = print != self.print;
        self.print = print;
        different
    }
}

/// The name of the system's own events.
const NATIVE: &str = if cfg!(any(target_os = "linux", target_os = "android")) {
    "inotify"
} else if cfg!(target_os = "macos") {
    "fsevents"
} else {
    "kqueue"
};

/// Whether an event can mean new data. Opening and reading can't, nor can what becomes of a
/// file that has no name of its own yet; closing after a write can; an overflow of the queue
/// always does.
fn matters(event: &Event) -> bool {
    let unnamed = |path: &PathBuf| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_temporary)
    };
    let changes = match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        _ => true,
    };
    event.need_rescan() || (changes && (event.paths.is_empty() || !event.paths.iter().all(unnamed)))
}

/// Whether an event can mean that one of the folders was removed.
fn may_remove(event: &Event, folders: &[PathBuf]) -> bool {
    event.need_rescan()
        || (matches!(event.kind, EventKind::Remove(_))
            && event.paths.iter().any(|path| folders.contains(path)))
}

/// Whether there was nothing to watch.
fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(io) => io.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Why there are no native events, for people.
fn why(error: &notify::Error) -> String {
    let none_left = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        // ENOSPC: no watches left; EMFILE: no inotify instances or file descriptors left.
        notify::ErrorKind::Io(io) => {
            io.kind() == io::ErrorKind::StorageFull
                || io.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
        }
        _ => false,
    };
    if none_left {
        "no watches left (raise fs.inotify.max_user_watches and max_user_instances)".to_owned()
    } else {
        format!("the system refused to watch: {error}")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn native(_: &Path) -> Option<String> {
        None
    }

    #[allow(clippy::unnecessary_wraps)] // stands for a function that may return None
    fn polled(_: &Path) -> Option<String> {
        Some("a test".to_owned())
    }

    /// Waits for a hint; long enough that only a lost one fails.
    fn hinted(watch: &mut Watch) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(300), watch.hints.recv())
                .await
                .is_ok_and(|h| h.is_some())
        })
    }

    fn hinted_by(watch: &mut Watch, change: impl FnOnce()) -> bool {
        while watch.hints.try_recv().is_ok() {}
        change();
        hinted(watch)
    }

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
    }

    fn sees_everything(judge: fn(&Path) -> Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let poll = Duration::from_millis(20);
        let mut watch = start_with(&root, poll, RETRY, judge).unwrap();
        assert!(
            hinted_by(&mut watch, || fs::create_dir(&root).unwrap()),
            "the store appears"
        );
        let incremental = root.join("incremental");
        assert!(
            hinted_by(&mut watch, || fs::create_dir(&incremental).unwrap()),
            "incremental/ appears"
        );
        assert!(
            hinted_by(&mut watch, || write(&incremental.join("a"), "1")),
            "an increment appears"
        );
        assert!(
            hinted_by(&mut watch, || write(&incremental.join("a"), "22")),
            "it grows"
        );
        assert!(
            hinted_by(&mut watch, || fs::rename(
                incremental.join("a"),
                root.join("b")
            )
            .unwrap()),
            "a rename"
        );
        assert!(
            hinted_by(&mut watch, || fs::remove_file(root.join("b")).unwrap()),
            "it vanishes"
        );
        assert!(
            hinted_by(&mut watch, || fs::remove_dir_all(&root).unwrap()),
            "the store vanishes"
        );
        assert!(
            hinted_by(&mut watch, || fs::create_dir_all(&incremental).unwrap()),
            "it comes back"
        );
        assert!(
            hinted_by(&mut watch, || write(&incremental.join("c"), "1")),
            "and is watched again"
        );
    }

    #[test]
    fn a_folder_with_the_inode_of_a_removed_one_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("store");
        let incremental = root.join("incremental");
        fs::create_dir_all(&incremental).unwrap();
        let mut watch = start_with(&root, Duration::from_secs(600), RETRY, native).unwrap();
        for round in 0..10 {
            fs::remove_dir_all(&root).unwrap();
            fs::create_dir_all(&incremental).unwrap();
            thread::sleep(PAUSE * 2);
            assert!(
                hinted_by(&mut watch, || write(&incremental.join("a"), "1")),
                "round {round}"
            );
        }
    }

    #[test]
    fn native_events_follow_a_store_through_its_life() {
        sees_everything(native);
    }

    #[test]
    fn polling_sees_the_same() {
        sees_everything(polled);
    }

    #[test]
    fn the_mode_says_how_and_why() {
        let folder = tempfile::tempdir().unwrap();
        let poll = Duration::from_secs(5);
        let watch = start_with(folder.path(), poll, RETRY, polled).unwrap();
        assert_eq!(watch.mode(), WatchMode::Polling("a test".to_owned()));
        let watch = start_with(folder.path(), poll, RETRY, native).unwrap();
        assert_eq!(watch.mode(), WatchMode::Native(NATIVE));
        let full = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        assert!(why(&full).contains("max_user_watches"));
    }

    #[test]
    fn native_events_come_back_when_they_can() {
        static REFUSED: AtomicBool = AtomicBool::new(true);
        fn at_first(_: &Path) -> Option<String> {
            REFUSED
                .load(Ordering::SeqCst)
                .then(|| "no watches left".to_owned())
        }
        let folder = tempfile::tempdir().unwrap();
        let poll = Duration::from_millis(5);
        let mut watch = start_with(folder.path(), poll, Duration::ZERO, at_first).unwrap();
        assert_eq!(
            watch.mode(),
            WatchMode::Polling("no watches left".to_owned())
        );
        REFUSED.store(false, Ordering::SeqCst);
        while watch.mode() != WatchMode::Native(NATIVE) {
            assert!(hinted(&mut watch), "a look shows the new mode");
        }
        assert!(hinted_by(&mut watch, || write(
            &folder.path().join("a"),
            "1"
        )));
    }

    #[test]
    fn a_hundred_thousand_events_cost_few_hints_and_the_next_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = start_with(folder.path(), Duration::from_secs(600), RETRY, native).unwrap();
        let begun = Instant::now();
        let mut hints = 0;
        // Made, closed, renamed from and to, removed: five events each.
        for number in 0..20_000 {
            let (path, other) = (
                folder.path().join("a"),
                folder.path().join(format!("b{}", number % 7)),
            );
            write(&path, "");
            fs::rename(&path, &other).unwrap();
            fs::remove_file(&other).unwrap();
            hints += u32::from(watch.hints.try_recv().is_ok());
        }
        let most = begun.elapsed().as_millis() / PAUSE.as_millis() + 1;
        assert!(
            (1..=most).contains(&u128::from(hints)),
            "{hints} of at most {most}"
        );
        assert!(hinted_by(&mut watch, || write(
            &folder.path().join("after"),
            "1"
        )));
    }

    #[test]
    fn reading_makes_no_hint_and_writing_does() {
        let open = Event::new(EventKind::Access(AccessKind::Open(AccessMode::Any)));
        assert!(!matters(&open));
        assert!(!matters(&Event::new(EventKind::Access(AccessKind::Close(
            AccessMode::Read
        )))));
        assert!(matters(&Event::new(EventKind::Access(AccessKind::Close(
            AccessMode::Write
        )))));
        assert!(matters(
            &Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan)
        ));
    }

    #[test]
    fn a_file_matters_once_it_has_its_name() {
        let temporary = PathBuf::from("incremental/.increment_1.parquet.tmp");
        let made = Event::new(EventKind::Create(notify::event::CreateKind::File))
            .add_path(temporary.clone());
        assert!(!matters(&made));
        let named = Event::new(EventKind::Modify(notify::event::ModifyKind::Any));
        let named = named
            .add_path(temporary)
            .add_path(PathBuf::from("incremental/increment_1.parquet"));
        assert!(matters(&named));
    }

    #[test]
    fn dropping_ends_the_thread() {
        let folder = tempfile::tempdir().unwrap();
        let watch = start_with(folder.path(), Duration::from_secs(600), RETRY, polled).unwrap();
        let shared = Arc::downgrade(&watch.shared);
        drop(watch);
        // The thread holds the other reference.
        while shared.strong_count() > 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
