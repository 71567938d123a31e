//! What a command left out, said on stderr: silence would be the worst answer.

use std::io::{self, Write};

use super::Exit;
use crate::store::Control;
use crate::text::sanitise::sanitise;

/// Says which files did not count in what was read last, a line each. With `strict` that is a
/// warning in the exit status.
pub(super) fn say(control: &Control, strict: bool) -> Exit {
    let left_out = control.left_out();
    sentences(&left_out);
    if strict && !left_out.is_empty() {
        Exit::Warning
    } else {
        Exit::Ok
    }
}

/// The same for sentences of any source.
pub(super) fn sentences(left_out: &[String]) {
    let mut to = io::stderr().lock();
    for sentence in left_out {
        // Nobody need read it.
        let _ = writeln!(to, "evaltop: left out: {}", sanitise(sentence));
    }
}
