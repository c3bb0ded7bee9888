//! Commands whose names are fixed but which this version does not have.

use std::ffi::OsString;

use super::outcome::{Failure, Outcome};

/// Takes any arguments, `--help` among them, so that the answer is always the same.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub(super) struct Later {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// The answer of a command that is not built yet.
pub(super) fn refuse(command: &str) -> Outcome {
    Err(Failure::usage(format!("`hale {command}` is not in this version"))
        .hint("`hale --help` lists the commands that are"))
}
