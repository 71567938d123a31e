//! Runs the user's own program when alerts change: without a shell, with JSON on
//! stdin, in a process group of its own, killed when it takes too long.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::notify::Call;

/// How often a running program is asked whether it has ended.
const ASK: Duration = Duration::from_millis(50);
/// What is kept of its complaints, in bytes.
const COMPLAINT: u64 = 2_000;

/// Runs the program to its end; why that failed, in one sentence.
pub(crate) fn run(call: &Call) -> Result<(), String> {
    let Some((program, arguments)) = call.command.split_first() else {
        return Ok(());
    };
    let failed = |what: String| format!("notify.hook: {program} {what}");
    // Files rather than pipes: a program that does not read, or writes a lot, blocks nobody.
    let file = || tempfile::tempfile().map_err(|e| failed(format!("can't be run: {e}")));
    let (mut input, mut complaints) = (file()?, file()?);
    let prepared = input
        .write_all(call.input.as_bytes())
        .and_then(|()| input.rewind());
    prepared.map_err(|e| failed(format!("can't be run: {e}")))?;
    let stderr = complaints
        .try_clone()
        .map_err(|e| failed(format!("can't be run: {e}")))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(input))
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr))
        .process_group(0)
        .spawn()
        .map_err(|e| failed(format!("can't be run: {e}")))?;
    let Some(status) =
        wait(&mut child, call.limit).map_err(|e| failed(format!("was lost: {e}")))?
    else {
        return Err(failed(format!(
            "took longer than {} s and was killed",
            call.limit.as_secs()
        )));
    };
    if status.success() {
        return Ok(());
    }
    let length = complaints.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut text = Vec::new();
    let _ = complaints.seek(SeekFrom::Start(length.saturating_sub(COMPLAINT)));
    let _ = complaints.take(COMPLAINT).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let last = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(failed(format!("failed ({status}): {}", last.trim())))
}

/// Waits for the end, or kills the whole group at the limit.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if begun.elapsed() >= limit {
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
                child.kill()?;
            }
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(ASK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(script: &str, arguments: &[&str], limit: u64) -> Call {
        let mut command: Vec<String> = ["sh", "-c", script].map(str::to_owned).to_vec();
        command.extend(arguments.iter().map(|a| (*a).to_owned()));
        Call {
            command,
            input: "{\"a\": 1}\n".to_owned(),
            limit: Duration::from_secs(limit),
        }
    }

    #[test]
    fn gets_its_arguments_as_they_are_and_the_json() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let run = run(&call(
            "cat > \"$0\"; echo \"$1\" >> \"$0\"",
            &[out.to_str().unwrap(), "$HOME; x"],
            300,
        ));
        assert_eq!(run, Ok(()));
        assert_eq!(
            std::fs::read_to_string(out).unwrap(),
            "{\"a\": 1}\n$HOME; x\n"
        );
    }

    #[test]
    fn a_failure_is_one_sentence() {
        let error = run(&call(
            "echo first >&2; echo no network >&2; exit 3",
            &[],
            300,
        ))
        .unwrap_err();
        assert_eq!(error, "notify.hook: sh failed (exit status: 3): no network");
        let command = vec!["/no/such/program".to_owned()];
        let error = run(&Call {
            command,
            ..call("", &[], 1)
        })
        .unwrap_err();
        assert!(
            error.starts_with("notify.hook: /no/such/program can't be run: "),
            "{error}"
        );
    }

    #[test]
    fn what_takes_too_long_is_killed() {
        let begun = Instant::now();
        let error = run(&call("sleep 600 & wait", &[], 0)).unwrap_err();
        assert_eq!(error, "notify.hook: sh took longer than 0 s and was killed");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn one_that_does_not_read_is_no_trouble() {
        let call = Call {
            input: "x".repeat(1 << 20),
            ..call("exit 0", &[], 300)
        };
        assert_eq!(run(&call), Ok(()));
    }
}
