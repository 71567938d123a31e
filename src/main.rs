//! The `evaltop` program: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    evaltop::cli::main()
}
