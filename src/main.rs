//! The `evaltop` program: parse, dispatch, exit code.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: evaltop::Allocator = evaltop::Allocator;

fn main() -> ExitCode {
    evaltop::main()
}
