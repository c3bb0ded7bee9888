//! The `hale` command.

use std::process::ExitCode;

/// glibc's allocator keeps most of what a load of many names has freed, and makes it take half as long again; ARCHITECTURE.md has the figures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hale::cli::main(std::env::args_os())
}
