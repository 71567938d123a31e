//! Mounts for tests: one folder seen through bindfs, or through sshfs with a local
//! sftp-server and no network. Where `/dev/fuse` is missing the check is skipped, loudly; a
//! program that is missing fails with `CI=true`.

#![allow(dead_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A mounted folder, until this is dropped.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    /// What it is made of next to the folder.
    _parts: Option<tempfile::TempDir>,
}

impl Mount {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmount = |program: &str, arguments: &[&str]| {
            Command::new(program)
                .args(arguments)
                .arg(&self.path)
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        };
        // Something may have a file open there still: lazily.
        if !unmount("fusermount3", &["-u", "-z"]) && !unmount("umount", &["-l"]) {
            eprintln!("{} stays mounted", self.path.display());
        }
    }
}

/// Shows `source` in the empty folder `at`. Locks that are taken through it are seen through it
/// alone.
pub fn bindfs(source: &Path, at: &Path) -> Option<Mount> {
    needed("bindfs")?;
    let mut command = Command::new("bindfs");
    command.arg("-o").arg(options()).arg(source).arg(at);
    Some(mounted(&mut command, at, None))
}

/// Shows `source` in the empty folder `at` as another machine would see it.
pub fn sshfs(source: &Path, at: &Path) -> Option<Mount> {
    needed("sshfs")?;
    let server = [
        "/usr/lib/openssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/libexec/sftp-server",
    ]
    .into_iter()
    .find(|path| Path::new(path).exists());
    let Some(server) = server else {
        return missing("sftp-server");
    };
    // It speaks to whatever the command is: an ssh that goes nowhere.
    let parts = tempfile::tempdir().unwrap();
    let ssh = parts.path().join("ssh");
    std::fs::write(&ssh, format!("#!/bin/sh\nexec {server}\n")).unwrap();
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new("sshfs");
    command
        .arg("-o")
        .arg(format!("ssh_command={},{}", ssh.display(), options()))
        .arg(format!("localhost:{}", source.display()))
        .arg(at);
    Some(mounted(&mut command, at, Some(parts)))
}

fn mounted(command: &mut Command, at: &Path, parts: Option<tempfile::TempDir>) -> Mount {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let mount = Mount {
        path: at.to_path_buf(),
        _parts: parts,
    };
    wait("the mount is there", || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let at = at.to_str().unwrap();
        mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(at))
    });
    mount
}

/// Other users may look into it where root mounts it.
fn options() -> &'static str {
    if is_root() { "allow_other" } else { "rw" }
}

/// Whether the tests run as root, who can be any user.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a program is there. Without `/dev/fuse` nothing can be mounted at all.
fn needed(program: &str) -> Option<()> {
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIPPED: there is no /dev/fuse, so this check did not run");
        return None;
    }
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    if found.is_ok_and(|status| status.success()) {
        return Some(());
    }
    missing(program)
}

/// A program that the gate installs is not there.
pub fn missing<T>(program: &str) -> Option<T> {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{program} is missing: .ci/run installs it"
    );
    eprintln!("SKIPPED: {program} is missing, so this check did not run");
    None
}

/// Waits until something holds, for minutes where the machine is busy.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "it does not come about that {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
