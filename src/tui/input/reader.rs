//! Reads the terminal on a thread of its own, so that nothing that is typed waits for a
//! frame, and sends what it decodes.

use std::io;
use std::thread;
use std::time::Instant;

use crossterm::event::Event;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedSender;

use super::decoder::Decoder;
use super::tty::Tty;
use crate::tui::runtime::signals::Outside;

/// Starts to read. The end of the input is the end of the terminal.
pub(crate) fn read(to: UnboundedSender<Event>, over: UnboundedSender<Outside>) -> io::Result<()> {
    let tty = Tty::get()?;
    thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            if decode(tty, &to).is_err() {
                let _ = over.send(Outside::End);
            }
        })?;
    Ok(())
}

/// Returns when nobody listens any more; an error at the end of the input.
fn decode(tty: &Tty, to: &UnboundedSender<Event>) -> Result<(), Errno> {
    let mut decoder = Decoder::default();
    let mut buffer = [0; 4096];
    loop {
        let patience = decoder.due().map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let ready = match poll(&mut [PollFd::new(tty, PollFlags::IN)], patience.as_ref()) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        let events = if ready == 0 {
            decoder.silence(Instant::now())
        } else {
            match rustix::io::read(tty, &mut buffer) {
                Ok(0) => return Err(Errno::IO),
                Ok(n) => decoder.feed(buffer.get(..n).unwrap_or_default(), Instant::now()),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(error) => return Err(error),
            }
        };
        for event in events {
            if to.send(event).is_err() {
                return Ok(());
            }
        }
    }
}
