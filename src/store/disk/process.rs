//! Processes of this machine: who one is, whether it lives, and how it ended.
//!
//! A process id is used again, so an identity is the id with the time at which the process
//! began, in its namespace of ids, since this boot. Of a process elsewhere nothing is known.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The flag of a process that is on its way out, among those of `/proc/<pid>/stat`.
const EXITING: u64 = 0x4;

/// Which process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// Its id.
    pub pid: u32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
    /// Which namespace its id is of.
    pub namespace: String,
    /// Which boot of the machine.
    pub boot: String,
    /// Its name, for people.
    pub name: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(to, "exit status {status}"),
            Self::Signal(9) => to.write_str("killed by SIGKILL"),
            Self::Signal(15) => to.write_str("ended by SIGTERM"),
            Self::Signal(2) => to.write_str("ended by SIGINT"),
            Self::Signal(signal) => write!(to, "killed by signal {signal}"),
        }
    }
}

impl Exit {
    /// Whether it is the usual end of a program that somebody asked to end: Ctrl-C, SIGTERM, a
    /// terminal that was closed, a reader that went away.
    pub fn is_request(self) -> bool {
        matches!(self, Self::Signal(1 | 2 | 13 | 15))
    }

    /// Of a wait status.
    fn of(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Status((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    name: String,
    state: char,
    parent: u32,
    flags: u64,
    began: u64,
    exit_code: i32,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have any character in it.
    let (head, rest) = text.rsplit_once(") ")?;
    let (_, name) = head.split_once(" (")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| {
        fields
            .get(field - 3)
            .and_then(|text| text.parse::<u64>().ok())
    };
    Some(Stat {
        name: name.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(4)?).ok()?,
        flags: number(9)?,
        began: number(22)?,
        exit_code: fields
            .get(52 - 3)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0),
    })
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").ok();
    link.map_or_else(String::new, |link| link.to_string_lossy().into_owned())
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

impl Identity {
    /// Of this process.
    pub fn own() -> Self {
        let pid = std::process::id();
        Self::of(pid).unwrap_or(Self {
            pid,
            ..Self::default()
        })
    }

    /// Of a process that this one can see.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid)?;
        Some(Self {
            pid,
            began: stat.began,
            namespace: namespace(),
            boot: boot(),
            name: stat.name,
        })
    }

    /// Whether this process could see it: it runs, or ran, on this boot of this machine and in
    /// this namespace of ids.
    pub fn is_visible(&self) -> bool {
        !self.boot.is_empty() && self.boot == boot() && self.namespace == namespace()
    }

    /// Whether it lives; a process that ended and was not waited for does not. `None` where
    /// nobody here can know.
    pub fn is_alive(&self) -> Option<bool> {
        if !self.is_visible() {
            return None;
        }
        let same = stat(self.pid).filter(|stat| stat.began == self.began);
        Some(same.is_some_and(|stat| !matches!(stat.state, 'Z' | 'X')))
    }
}

/// Whether a process with this id lives, of the user that owns a file which it last wrote at
/// `wrote`. `None` where that says nothing: without `/proc`, for the first process of a
/// namespace, for a file of another user.
pub fn lives(pid: u32, owner: u32, wrote: Option<Timestamp>) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    if pid <= 1 || !Path::new("/proc/self/stat").exists() {
        return None;
    }
    let Some(found) = stat(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X')) else {
        return Some(false);
    };
    // One that began after the file was written has the id of the one that wrote it.
    if wrote
        .zip(began(&found))
        .is_some_and(|(wrote, began)| began > wrote.as_second() + 2)
    {
        return Some(false);
    }
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    (uid == owner).then_some(true)
}

/// When a process began, in seconds since the epoch.
fn began(found: &Stat) -> Option<i64> {
    /// What `/proc` counts in, on every Linux.
    const TICKS: u64 = 100;
    let text = fs::read_to_string("/proc/stat").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    let boot: u64 = line.trim().parse().ok()?;
    i64::try_from(boot + found.began / TICKS).ok()
}

/// A process that is watched until it ends, whatever becomes of its id.
#[derive(Debug)]
pub struct Watched {
    /// Which one.
    pub identity: Identity,
    handle: OwnedFd,
}

impl Watched {
    /// Watches a process; `None` where it is gone or the system has no handles of processes.
    pub fn new(pid: u32) -> Option<Self> {
        let handle = open(pid)?;
        // Read after the handle is there: it is of the process that the handle is of.
        let identity = Identity::of(pid)?;
        Some(Self { identity, handle })
    }

    /// Whether it has ended, or is on its way out.
    pub fn is_ending(&self) -> bool {
        let exiting = || {
            let now = stat(self.identity.pid);
            now.is_none_or(|stat| {
                stat.began != self.identity.began || stat.flags & EXITING != 0 || stat.state == 'Z'
            })
        };
        self.has_ended() || exiting()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        loop {
            match poll(&mut handles, Some(&Timespec::default())) {
                Err(Errno::INTR) => {}
                found => return found.is_ok_and(|ready| ready > 0),
            }
        }
    }

    /// How it ended: while nobody has waited for it, its entry says so, and afterwards the
    /// handle (Linux 6.15). `None` while it lives, and where the system does not say.
    pub fn exit(&self) -> Option<Exit> {
        let zombie = stat(self.identity.pid)
            .filter(|stat| stat.began == self.identity.began && stat.state == 'Z');
        // Once it was waited for, the entry is gone; it may be gone between these two.
        zombie
            .map(|stat| Exit::of(stat.exit_code))
            .or_else(|| exit_status(self.handle.as_fd()).map(Exit::of))
    }
}

#[cfg(target_os = "linux")]
fn open(pid: u32) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    pidfd_open(
        Pid::from_raw(i32::try_from(pid).ok()?)?,
        PidfdFlags::empty(),
    )
    .ok()
}

#[cfg(not(target_os = "linux"))]
fn open(_: u32) -> Option<OwnedFd> {
    None
}

/// The wait status that the handle of a process that was waited for says.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn exit_status(handle: std::os::fd::BorrowedFd<'_>) -> Option<i32> {
    use std::os::fd::AsRawFd;
    /// `PIDFD_GET_INFO`: reads and writes 64 bytes, the first form of `struct pidfd_info`.
    const GET_INFO: u64 = 0xC040_FF0B;
    /// `PIDFD_INFO_EXIT`
    const WANTS_EXIT: u64 = 1 << 3;
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        mask: u64,
        cgroup: u64,
        ids: [u32; 11],
        exit_code: i32,
    }
    let mut info = Info {
        mask: WANTS_EXIT,
        ..Info::default()
    };
    // SAFETY: the kernel writes at most the 64 bytes that the request names, which `info` has.
    let done = unsafe { libc::ioctl(handle.as_raw_fd(), GET_INFO as _, &raw mut info) };
    (done == 0 && info.mask & WANTS_EXIT != 0).then_some(info.exit_code)
}

#[cfg(not(target_os = "linux"))]
fn exit_status(_: std::os::fd::BorrowedFd<'_>) -> Option<i32> {
    None
}

/// A process that could write into the pipe that is this process's stdin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// Whether the pipe is its stdout or stderr, as in a pipeline of a shell.
    pub standard: bool,
}

/// Whether a process has started this very program: a worker with a recorder of its own.
pub fn started_this_program(pid: u32) -> bool {
    let own = fs::read_link("/proc/self/exe").ok();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let mut children = children.split_ascii_whitespace();
    own.is_some() && children.any(|child| fs::read_link(format!("/proc/{child}/exe")).ok() == own)
}

/// The processes, but this one, that could write into the pipe that is this process's stdin:
/// its parent first, then by id. None where stdin is not a pipe, or nobody can know.
pub fn holders_of_stdin() -> Vec<Holder> {
    use std::os::unix::fs::FileTypeExt;
    let stdin = Path::new("/proc/self/fd/0");
    let (Ok(pipe), Ok(kind)) = (fs::read_link(stdin), fs::metadata(stdin)) else {
        return Vec::new();
    };
    let own = std::process::id();
    let parent = stat(own).map(|stat| stat.parent);
    if kind.file_type().is_socket() {
        // Programs of Node.js start others with a pair of sockets, whose other end has no name.
        let maker = parent.filter(|parent| maker_of_stdin() == Some(*parent) && !is_sshd(*parent));
        let holder = |pid| Holder {
            pid,
            standard: false,
        };
        return maker.map(holder).into_iter().collect();
    }
    // One with a name in the file system (mkfifo) has the same path for both ends.
    if !kind.file_type().is_fifo() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid.filter(|pid| *pid != own) else {
            continue;
        };
        let descriptors = writes_into(pid, &pipe);
        if let Some(least) = descriptors.iter().min() {
            let standard = *least <= 2;
            found.push(Holder { pid, standard });
        }
    }
    found.sort_by_key(|holder| (Some(holder.pid) != parent, holder.pid));
    found
}

/// The process that made the socket that is this process's stdin.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn maker_of_stdin() -> Option<u32> {
    let mut maker = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut size = libc::socklen_t::try_from(size_of_val(&maker)).ok()?;
    // SAFETY: the kernel writes at most `size` bytes, which `maker` has.
    let done = unsafe {
        libc::getsockopt(
            0,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut maker).cast(),
            &raw mut size,
        )
    };
    (done == 0).then(|| u32::try_from(maker.pid).ok())?
}

#[cfg(not(target_os = "linux"))]
fn maker_of_stdin() -> Option<u32> {
    None
}

/// Whether it is the server at the end of a connection: how it ends says nothing of the program
/// at the other one.
fn is_sshd(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("sshd") || name.starts_with("dropbear")
}

/// The descriptors with which a process could write into a pipe.
fn writes_into(pid: u32, pipe: &Path) -> Vec<u32> {
    let folder = format!("/proc/{pid}/fd");
    let descriptors = fs::read_dir(&folder).into_iter().flatten().flatten();
    let writes = |number: &u32| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok();
        let flags = info.as_deref().and_then(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
        flags.is_some_and(|flags| flags & 0o3 != 0)
    };
    descriptors
        .filter(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == pipe))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(writes)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn sleeper() -> Child {
        let mut sleep = Command::new("sleep");
        sleep.arg("600").stdout(Stdio::null());
        sleep.spawn().unwrap()
    }

    fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn an_identity_outlives_no_process() {
        let own = Identity::own();
        assert_eq!((own.is_alive(), own.is_visible()), (Some(true), true));
        let mut child = sleeper();
        let known = Identity::of(child.id()).unwrap();
        assert_eq!(
            (known.is_alive(), known.name.as_str()),
            (Some(true), "sleep")
        );
        let other = Identity {
            began: known.began + 1,
            ..known.clone()
        };
        assert_eq!(other.is_alive(), Some(false), "its id was used again");
        let elsewhere = Identity {
            boot: "x".into(),
            ..known.clone()
        };
        assert_eq!(elsewhere.is_alive(), None);
        child.kill().unwrap();
        wait_until("a zombie does not live", || known.is_alive() == Some(false));
        child.wait().unwrap();
        assert_eq!(known.is_alive(), Some(false));
    }

    #[test]
    fn the_end_of_a_process_is_reported_before_and_after_it_was_waited_for() {
        for signal in [Signal::KILL, Signal::TERM] {
            let mut child = sleeper();
            let watched = Watched::new(child.id()).unwrap();
            assert_eq!((watched.exit(), watched.has_ended()), (None, false));
            assert!(!watched.is_ending());
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
            wait_until("it ends", || watched.has_ended() && watched.is_ending());
            let expected = Some(Exit::Signal(signal.as_raw()));
            assert_eq!(watched.exit(), expected, "nobody has waited for it");
            child.wait().unwrap();
            let after = watched.exit();
            assert!(after == expected || after.is_none(), "{after:?}");
        }
        let mut child = Command::new("sh")
            .args(["-c", "read x; exit 7"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let watched = Watched::new(child.id()).unwrap();
        drop(child.stdin.take());
        wait_until("it ends", || watched.has_ended());
        assert_eq!(watched.exit(), Some(Exit::Status(7)));
        child.wait().unwrap();
    }
}
