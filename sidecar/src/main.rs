//! The sidecar's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallpass_sidecar::cli::run(std::env::args_os())
}
