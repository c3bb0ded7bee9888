//! The `hale` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hale::cli::main(std::env::args_os())
}
