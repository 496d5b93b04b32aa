//! `tapekeeper-operator`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    tapekeeper_operator::cli::main()
}
