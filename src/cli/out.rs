//! The standard output, whose errors say that they are its own.

use std::io::{self, ErrorKind, Write};

/// The standard output.
pub(super) fn stdout() -> Stdout {
    Stdout(io::stdout())
}

/// See [`stdout`].
#[derive(Debug)]
pub(super) struct Stdout(io::Stdout);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| named(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(|error| named(&error))
    }
}

/// Writes what is still held back: at the end of the process nobody would learn that it failed.
pub(super) fn flush() -> io::Result<()> {
    stdout().flush()
}

/// Whether a reader went away, who has seen enough.
pub(super) fn is_closed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// The same kind of error, naming the stream.
pub(super) fn named(error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot write to the standard output: {error}"),
    )
}
