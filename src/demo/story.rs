//! What happens while the demo is watched, by the wall clock and not by `--speed`:
//! at 15 s the increments pass 100 files, at 30 s a model runs into HTTP 429s, at
//! 45 s a worker is killed with a test in flight, after five minutes the model's provider answers again. Ending the story ends every process that it started.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::history;
use super::writer::Order;
use crate::store::format::layout;
use crate::store::{Result, Store};

/// Writer processes of the demo.
pub const WRITERS: u64 = 8;
/// The model that runs into rate limits.
pub const LIMITED_MODEL: &str = "garnet-v3-0324";
/// Increments after the second act: above the default threshold of 100.
const CROWD: usize = 104;

/// What is done at a moment of the story.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// These writers publish what they have.
    Publish(u64, u64),
    /// A batch of late results arrives: the increments pass the threshold.
    Crowd,
    /// The model's provider starts to answer HTTP 429.
    Limit,
    /// A writer dies without closing its journal.
    Kill,
    /// The provider answers again.
    Lift,
}

const SCRIPT: [(u64, Act); 7] = [
    (5, Act::Publish(0, 3)),
    (10, Act::Publish(3, 6)),
    (14, Act::Publish(6, 8)),
    (15, Act::Crowd),
    (30, Act::Limit),
    (45, Act::Kill),
    (300, Act::Lift),
];

/// The running story. Dropping it ends the writers and waits for them.
#[derive(Debug)]
pub struct Story {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Story {
    /// Starts the writers (processes of `program`) on `store` and begins the story.
    pub fn begin(
        program: &[OsString],
        store: &Store,
        speed: f64,
        seed: u64,
    ) -> std::io::Result<Self> {
        let writers = (0..WRITERS)
            .map(|index| Writer::start(program, store.layout.root(), index, speed, seed))
            .collect::<std::io::Result<Vec<_>>>()?;
        let (stop, stopped) = channel();
        let store = store.clone();
        let cast = Cast {
            store,
            writers,
            seed,
        };
        let thread = std::thread::Builder::new()
            .name("story".into())
            .spawn(move || cast.perform(&stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the story must not hide what the dashboard returned.
            let _ = thread.join();
        }
    }
}

struct Cast {
    store: Store,
    writers: Vec<Writer>,
    seed: u64,
}

impl Cast {
    fn perform(mut self, stopped: &Receiver<()>) {
        let begin = Instant::now();
        for (second, act) in SCRIPT {
            let wait = Duration::from_secs(second).saturating_sub(begin.elapsed());
            if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            if let Err(error) = self.act(act) {
                tracing::warn!("demo: {error}");
            }
        }
        // Nothing more happens; the sender's end says that the dashboard was left.
        let _ = stopped.recv();
    }

    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Publish(from, to) => self.order(from..to, &Order::Publish),
            Act::Limit => self.order(0..WRITERS, &Order::Limit(LIMITED_MODEL.to_owned())),
            Act::Lift => self.order(0..WRITERS, &Order::Lift),
            Act::Kill => {
                if let Some(writer) = self.writers.last_mut() {
                    // Already dead is as good.
                    let _ = writer.child.kill();
                }
            }
            Act::Crowd => {
                let now = Timestamp::now();
                let there = self
                    .store
                    .disk
                    .list(&self.store.layout.incremental())
                    .map_err(crate::store::Error::io(
                        "list",
                        self.store.layout.incremental(),
                    ))?
                    .iter()
                    .filter(|entry| {
                        layout::classify(&entry.name) == layout::IncrementalName::Increment
                    })
                    .count();
                history::late_batch(&self.store, self.seed, CROWD.saturating_sub(there), now)?;
            }
        }
        Ok(())
    }

    fn order(&mut self, whom: std::ops::Range<u64>, order: &Order) {
        for writer in self
            .writers
            .iter_mut()
            .filter(|writer| whom.contains(&writer.index))
        {
            // A writer that died gets no orders; the story goes on.
            let _ = writer.order(order);
        }
    }
}

/// One writer process. It ends when its standard input does, so also when we die.
struct Writer {
    index: u64,
    child: Child,
}

impl Writer {
    fn start(
        program: &[OsString],
        dir: &Path,
        index: u64,
        speed: f64,
        seed: u64,
    ) -> std::io::Result<Self> {
        let (program, arguments) = program.split_first().ok_or(ErrorKind::InvalidInput)?;
        let child = Command::new(program)
            .args(arguments)
            .arg("demo-writer")
            .arg(PathBuf::from(dir))
            .args([
                "--index",
                &index.to_string(),
                "--speed",
                &speed.to_string(),
                "--seed",
                &seed.to_string(),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { index, child })
    }

    fn order(&mut self, order: &Order) -> std::io::Result<()> {
        let Some(stdin) = &mut self.child.stdin else {
            return Ok(());
        };
        writeln!(stdin, "{order}")?;
        stdin.flush()
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for writer in &mut self.writers {
            drop(writer.child.stdin.take());
        }
        let deadline = Instant::now() + Duration::from_secs(2);
        for writer in &mut self.writers {
            while matches!(writer.child.try_wait(), Ok(None)) {
                if Instant::now() > deadline {
                    let _ = writer.child.kill();
                    let _ = writer.child.wait();
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
