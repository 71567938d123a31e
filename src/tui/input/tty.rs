//! The terminal that keys come from and whose modes are set: the standard input, or the
//! controlling terminal where the standard input is something else.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal without a size, as a serial line or a fresh pseudo-terminal has none.
const USUAL: (u16, u16) = (80, 24);

/// Where keys come from.
#[derive(Debug)]
pub(crate) enum Tty {
    Stdin(io::Stdin),
    Controlling(File),
}

impl Tty {
    /// Opened once: there may be no file descriptor left for a second time.
    pub(crate) fn get() -> io::Result<&'static Self> {
        static TTY: OnceLock<Tty> = OnceLock::new();
        if let Some(tty) = TTY.get() {
            return Ok(tty);
        }
        let stdin = io::stdin();
        let tty = if stdin.is_terminal() {
            Self::Stdin(stdin)
        } else {
            let both = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
            Self::Controlling(both)
        };
        Ok(TTY.get_or_init(|| tty))
    }

    /// The modes in force.
    pub(crate) fn modes(&self) -> io::Result<Termios> {
        Ok(tcgetattr(self)?)
    }

    /// Sets the modes at once.
    pub(crate) fn set_modes(&self, modes: &Termios) -> io::Result<()> {
        loop {
            match tcsetattr(self, OptionalActions::Now, modes) {
                Err(rustix::io::Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdin(stdin) => stdin.as_fd(),
            Self::Controlling(file) => file.as_fd(),
        }
    }
}

/// Columns and rows of the terminal; 80×24 for what it does not say.
pub(crate) fn size() -> (u16, u16) {
    let reported = tcgetwinsize(io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    known(reported)
}

fn known((columns, rows): (u16, u16)) -> (u16, u16) {
    let or = |reported, usual| if reported == 0 { usual } else { reported };
    (or(columns, USUAL.0), or(rows, USUAL.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_not_known_is_the_usual_one() {
        assert_eq!(known((0, 0)), (80, 24));
        assert_eq!(known((0, 50)), (80, 50));
        assert_eq!(known((132, 0)), (132, 24));
        assert_eq!(known((1, 1)), (1, 1));
    }
}
