//! `pull` from a store on another host: a real sshd on this machine, whose connections are cut and
//! whose clients are killed. Each row arrives, once.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{evaltop_process, missing};

/// A server of its own, with one user's key.
struct Sshd {
    folder: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

fn program(name: &str, folders: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(folders.iter().map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

impl Sshd {
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let keygen = program("ssh-keygen", &[])?;
        program("ssh", &[])?;
        for key in ["host", "user"] {
            let made = Command::new(&keygen)
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.path().join(key))
                .status()
                .unwrap();
            assert!(made.success());
        }
        fs::copy(
            folder.path().join("user.pub"),
            folder.path().join("authorized"),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let at = folder.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\n\
             StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        );
        fs::write(folder.path().join("sshd_config"), config).unwrap();
        let client = format!(
            "#!/bin/sh\nexec ssh -F none -p {port} -i {at}/user -o IdentitiesOnly=yes \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \"$@\"\n"
        );
        let ssh = folder.path().join("ssh");
        fs::write(&ssh, client).unwrap();
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
        let mut sshd = Self {
            folder,
            port,
            server: None,
        };
        sshd.serve().then_some(sshd)
    }

    /// Listens; false where there is no sshd.
    fn serve(&mut self) -> bool {
        let Some(program) = program("sshd", &["/usr/sbin", "/sbin"]) else {
            return false;
        };
        // As the service would make it.
        let _ = fs::create_dir_all("/run/sshd");
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let server = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(self.folder.path().join("sshd_config"))
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        until("sshd listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        true
    }

    /// Ends the server and with it, as a dead host does, every connection.
    fn cut(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let children = |pid: u32| -> Vec<u32> {
            let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let text = text.unwrap_or_default();
            text.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect()
        };
        let mut family = vec![server.id()];
        let mut at = 0;
        while let Some(pid) = family.get(at).copied() {
            family.extend(children(pid));
            at += 1;
        }
        for pid in family {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        }
        server.wait().unwrap();
    }

    /// `evaltop` with this server's client.
    fn evaltop(&self) -> Command {
        let mut command = evaltop_process();
        command
            .env("EVALTOP_SSH", self.folder.path().join("ssh"))
            .env("XDG_CACHE_HOME", self.folder.path().join("cache"))
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `evaltop record` into a store, kept open.
fn recorder(store: &Path) -> (Child, ChildStdin) {
    let mut child = evaltop_process()
        .arg("record")
        .arg(store)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

fn add(input: &mut ChildStdin, rows: std::ops::Range<u32>) {
    let note = "x".repeat(200);
    let line =
        |row| format!(r#"{{"model":"m","success":true,"test_id":"t{row}","note":"{note}"}}"#);
    let lines: Vec<String> = rows.map(line).collect();
    writeln!(input, "{}", lines.join("\n")).unwrap();
    input.flush().unwrap();
}

fn status(store: &Path) -> Option<Value> {
    let output = evaltop_process()
        .args(["status", "--format", "json"])
        .arg(store)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

fn tests(store: &Path) -> u64 {
    status(store).map_or(0, |status| status["totals"]["tests"].as_u64().unwrap())
}

#[test]
fn a_store_on_another_host_arrives_whole_though_pulls_are_killed() {
    let Some(sshd) = Sshd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    // A name that a shell would take for something else.
    let source = folder.path().join("it's $(touch gone) & \"so\"");
    let store = folder.path().join("all");
    let place = format!("127.0.0.1:{}", source.display());
    let (mut writer, mut input) = recorder(&source);
    let mut rows = 0;
    for round in 0..12_u32 {
        add(&mut input, rows..rows + 500);
        rows += 500;
        until("rows are recorded", || tests(&source) == u64::from(rows));
        if round % 4 == 3 {
            let done = evaltop_process()
                .arg("consolidate")
                .arg(&source)
                .arg("--yes")
                .output();
            assert!(done.unwrap().status.success());
        }
        let mut pull = sshd
            .evaltop()
            .args(["pull", &place, "--into"])
            .arg(&store)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(round) * 37 % 200));
        pull.kill().unwrap();
        pull.wait().unwrap();
    }
    drop(input);
    writer.wait().unwrap();
    let pull = |expected: &str| {
        let output = sshd
            .evaltop()
            .args(["pull", &place, "--into"])
            .arg(&store)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{complaints}");
        assert!(said.contains(expected), "{said}");
    };
    pull("");
    assert_eq!(tests(&store), u64::from(rows));
    pull("nothing changed");
    let status = status(&store).unwrap();
    assert_eq!(
        status["totals"]["repeated"], 0,
        "nothing was taken twice: {status}"
    );
    assert_eq!(status["sources"][0]["source"], place.as_str());
    assert_eq!(status["sources"][0]["error"], Value::Null);
    assert!(!folder.path().join("gone").exists());
}

#[test]
fn a_pull_that_goes_on_survives_a_host_that_does_not() {
    let Some(mut sshd) = Sshd::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (source, store) = (folder.path().join("source"), folder.path().join("all"));
    let place = format!("127.0.0.1:{}", source.display());
    let (mut writer, mut input) = recorder(&source);
    add(&mut input, 0..100);
    until("rows are recorded", || tests(&source) == 100);
    let mut pull = sshd
        .evaltop()
        .args(["pull", &place, "--follow", "--every", "1s", "--into"])
        .arg(&store)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.path().join("said")).unwrap())
        .spawn()
        .unwrap();
    until("the first rows arrive", || tests(&store) == 100);
    sshd.cut();
    add(&mut input, 100..200);
    let error = || status(&store).map(|status| status["sources"][0]["error"].clone());
    until("the loss is seen", || {
        error().is_some_and(|error| error.is_string())
    });
    assert!(sshd.serve());
    until("the rest arrives", || tests(&store) == 200);
    until("the loss is over", || error() == Some(Value::Null));
    Command::new("kill")
        .args(["-INT", &pull.id().to_string()])
        .status()
        .unwrap();
    assert!(pull.wait().unwrap().success());
    drop(input);
    writer.wait().unwrap();
    let said = fs::read_to_string(folder.path().join("said")).unwrap();
    assert!(said.contains("127.0.0.1"), "{said}");
}

#[test]
fn what_is_no_host_or_no_store_is_said() {
    let Some(sshd) = Sshd::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let said = |source: &str| {
        let output = sshd
            .evaltop()
            .args(["pull", "--into"])
            .arg(folder.path().join("all"))
            .arg("--")
            .arg(source)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let option = said("-oProxyCommand=touch gone:/runs");
    assert!(option.contains("-oProxyCommand"), "{option}");
    let nothing = said(&format!("127.0.0.1:{}/nothing", folder.path().display()));
    assert!(nothing.contains("no store at"), "{nothing}");
    let here = said("nothing");
    assert!(here.contains("no store"), "{here}");
    assert!(!folder.path().join("gone").exists() && !folder.path().join("all").exists());
}
