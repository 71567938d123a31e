//! Why a program can't be started, as far as its file says.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is wrong with a script that does not begin with `#!`.
const WITHOUT: &str = "it is a script without an interpreter: begin it with a line such as #!/bin/sh, \
                       or give the interpreter first (sh script)";
/// Bytes of a first line that the kernel reads.
const LINE: u64 = 256;

/// Refuses what would fail in every test, or run as something else: a script whose `env` does
/// not find its interpreter, and one without, which the system's library takes for a shell's.
pub(super) fn check(program: &OsStr) -> Result<(), String> {
    let Some(path) = find(program) else {
        return Ok(());
    };
    match interpreter(&path) {
        None if is_text(&path) && is_executable(&path) => Err(format!(
            "cannot start '{}': {WITHOUT}",
            program.to_string_lossy()
        )),
        Some(Interpreter::OfPath(name)) if find(OsStr::from_bytes(&name)).is_none() => {
            Err(format!(
                "cannot start '{}': its interpreter '{}' is not on the PATH: install it, or correct the \
             script's first line",
                program.to_string_lossy(),
                String::from_utf8_lossy(&name)
            ))
        }
        _ => Ok(()),
    }
}

/// One sentence for the error of starting it.
pub(super) fn why_not(program: &OsStr, error: &io::Error) -> String {
    let name = program.to_string_lossy();
    let path = find(program);
    let interpreter = path.as_deref().and_then(interpreter);
    let why = match (error.kind(), &path, interpreter) {
        (io::ErrorKind::NotFound, Some(_), Some(Interpreter::At(at))) => {
            let shown = String::from_utf8_lossy(&at).into_owned();
            match at.strip_suffix(b"\r") {
                Some(_) => format!(
                    "its first line ends in a carriage return, so that its interpreter is not found: \
                     save it with Unix line ends ({})",
                    shown.trim_end()
                ),
                None => format!(
                    "its interpreter '{shown}' does not exist: install it, or correct the script's first line"
                ),
            }
        }
        (io::ErrorKind::NotFound, Some(_), _) => {
            "a library or loader that it needs does not exist: was it built for this system?"
                .to_owned()
        }
        (io::ErrorKind::NotFound, None, _) => {
            format!("{error}: give a program on the PATH, or its path")
        }
        (io::ErrorKind::PermissionDenied, Some(path), _) if path.is_dir() => {
            "it is a folder: give the program in it".to_owned()
        }
        (io::ErrorKind::PermissionDenied, _, Some(Interpreter::At(at)))
            if path.as_deref().is_some_and(is_executable) =>
        {
            format!(
                "its interpreter '{}' may not be executed",
                String::from_utf8_lossy(&at)
            )
        }
        (io::ErrorKind::PermissionDenied, ..) => format!("{error}: make it executable (chmod +x)"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            if path.as_deref().is_some_and(is_text) {
                WITHOUT.to_owned()
            } else {
                format!("{error}: it is not a program for this machine")
            }
        }
        _ => format!("{error}: run with fewer --workers, then again: what was recorded stays"),
    };
    format!("cannot start '{name}': {why}")
}

/// The file that is meant: by its path, else the first of that name on the PATH.
fn find(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return path.exists().then_some(path);
    }
    let folders = std::env::var_os("PATH")?;
    let mut found = std::env::split_paths(&folders).map(|folder| folder.join(program));
    found.find(|path| path.is_file() && is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

enum Interpreter {
    /// By its path.
    At(Vec<u8>),
    /// By its name, for `env` to find.
    OfPath(Vec<u8>),
}

/// What the first line of a script names.
fn interpreter(path: &Path) -> Option<Interpreter> {
    let head = head(path)?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let mut words = line
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    let program = words.next()?;
    if !program.ends_with(b"/env") {
        return Some(Interpreter::At(program.to_vec()));
    }
    // `env -S python3 -u`, `env NAME=value python3`.
    let name = words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?;
    Some(Interpreter::OfPath(name.to_vec()))
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let file = fs::metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
        .and_then(|_| File::open(path).ok())?;
    let mut head = Vec::new();
    file.take(LINE).read_to_end(&mut head).ok()?;
    Some(head)
}

fn is_text(path: &Path) -> bool {
    head(path).is_some_and(|head| !head.is_empty() && !head.contains(&0))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.py");
        for (text, mode, said) in [
            (
                "echo no\n",
                0o755,
                "it is a script without an interpreter: begin it with a line such as #!/bin/sh",
            ),
            (
                "#!/no/such/python -u\n",
                0o755,
                "its interpreter '/no/such/python' does not exist",
            ),
            (
                "#!/bin/sh\r\necho no\r\n",
                0o755,
                "its first line ends in a carriage return",
            ),
            ("#!/bin/sh\n", 0o644, "make it executable"),
            ("\0\u{1}\0", 0o755, "it is not a program for this machine"),
            (
                "#!/usr/bin/env no-such-python\n",
                0o755,
                "its interpreter 'no-such-python' is not on the PATH",
            ),
            (
                "#!/usr/bin/env -S no-such-python -u\n",
                0o755,
                "its interpreter 'no-such-python' is not on the PATH",
            ),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let program = path.as_os_str();
            let sentence = match check(program) {
                Err(sentence) => sentence,
                Ok(()) => why_not(program, &Command::new(program).output().unwrap_err()),
            };
            assert!(sentence.contains(said), "{text:?}: {sentence}");
            assert!(sentence.starts_with("cannot start '"), "{sentence}");
        }
        for (program, said) in [
            (
                "/no/such/program",
                "give a program on the PATH, or its path",
            ),
            ("no-such-program", "give a program on the PATH, or its path"),
            ("/", "it is a folder"),
        ] {
            let error = Command::new(program).output().unwrap_err();
            let sentence = why_not(OsStr::new(program), &error);
            assert!(sentence.contains(said), "{sentence}");
        }
        assert_eq!(check(OsStr::new("sh")), Ok(()));
        fs::write(&path, "#!/usr/bin/env -S A=b sh -e\n").unwrap();
        assert_eq!(check(path.as_os_str()), Ok(()));
    }
}
