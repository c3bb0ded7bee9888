//! `hale completions` and `hale man`: made from the argument definitions, so that they cannot fall behind.

use clap::CommandFactory;
use clap_complete::Shell;

use super::Arguments;
use super::outcome::{Failure, Outcome};
use super::terminal;

#[derive(clap::Args, Debug)]
pub(super) struct CompletionsArgs {
    /// Shell to complete for
    shell: Shell,
}

/// Prints the completion script, to be put where the shell looks for it.
pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "hale", &mut script);
    terminal::print(&String::from_utf8_lossy(&script))
}

#[derive(clap::Args, Debug)]
pub(super) struct ManArgs {
    /// Command such as `serve` or `zone export`
    command: Vec<String>,
}

/// Prints a manual page in roff: `hale man serve | man -l -`.
pub(super) fn man(args: &ManArgs) -> Outcome {
    let mut command = Arguments::command();
    command.build();
    for name in &args.command {
        let found = command.find_subcommand(name).filter(|found| !found.is_hide_set());
        command = found.cloned().ok_or_else(|| {
            Failure::usage(format!("`hale {}` is not a command", args.command.join(" ")))
                .hint("`hale --help` lists them")
        })?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::running(format!("cannot make the manual page: {error}")))?;
    terminal::print(&String::from_utf8_lossy(&page))
}
