//! The command line: one file a subcommand. Exit codes are 0 fine, 1 failed while running, 2 bad configuration or arguments.

mod check;
mod client;
mod configuration;
mod connect;
mod demo;
mod events;
mod explain;
mod healthcheck;
mod keys;
mod later;
mod outcome;
mod overrides;
mod place;
#[cfg(test)]
mod reference;
mod reload;
mod schema;
mod serve;
mod server;
mod shell;
mod sources;
mod state;
mod status;
mod terminal;
mod top;
mod zone;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use later::Later;
use outcome::Outcome;

use crate::config::ServeArgs;

/// An authoritative DNS server that answers only with what is healthy
#[derive(Parser, Debug)]
#[command(name = "hale", version, propagate_version = true, max_term_width = 100, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Start with `hale demo`. Every flag has an environment variable (--log-level: HALE_LOG_LEVEL) and a key in hale.json; a flag wins \
over the environment, the environment over the file.
Exit codes: 0 fine, 1 failed while running, 2 bad configuration or arguments.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Try it: the example zone with two backends of its own, one of which you can stop
    Demo(demo::DemoArgs),
    /// Serve zones
    Serve(Box<ServeArgs>),
    /// Check configuration and zones, and print every error
    Check(Box<ServeArgs>),
    /// Print the JSON Schema of zone files or of hale.json
    Schema(schema::SchemaArgs),
    /// Look at the zones of the running server
    #[command(subcommand)]
    Zone(zone::ZoneCommand),
    /// Show the running server at a glance
    Status(status::StatusArgs),
    /// Watch targets, flips and queries, live
    Top(top::TopArgs),
    /// Tell why an answer is what it is
    Explain(explain::ExplainArgs),
    /// Say what health is not to decide: endpoints that are up, down or drained, for a while
    #[command(subcommand)]
    Override(overrides::OverrideCommand),
    /// Show where names are discovered, and what is wrong there
    Sources(server::ListArgs),
    /// Show what sources would add, change and remove if nothing were held back, and what is refused
    Plan(server::ListArgs),
    /// List a source afresh, at once
    Resync(sources::SourceArgs),
    /// Leave a source alone: what it has published stays
    Pause(sources::SourceArgs),
    /// Go on with a source that was paused
    Resume(sources::SourceArgs),
    /// Let removals go that a source's delete brake holds
    #[command(subcommand)]
    Brake(sources::BrakeCommand),
    /// Show what has happened, and follow what happens
    Events(events::EventsArgs),
    /// Make the running server read its zones again
    Reload(reload::ReloadArgs),
    /// Exit with 0 if the server lives, for a container's health check
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Back up the state directory, and restore it
    #[command(subcommand)]
    State(state::StateCommand),
    /// Make, import and list signing keys, and print DS records
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Print the completion script of a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, of hale or of one command
    Man(shell::ManArgs),

    // Names that are promised but not built yet say so, rather than being unknown.
    #[command(hide = true)]
    Mirror(Later),
}

/// Runs the command that `arguments` name (the program's own name first), and gives the process's exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => outcome::conclude(run(arguments.command)),
        Err(error) => {
            // Help and version are answers, not mistakes: clap prints them to standard output.
            let code = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(outcome::USAGE),
            };
            // A closed pipe is the only way for this to fail, and then nobody reads.
            let _ = error.print();
            code
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Serve(args) => serve::run(*args),
        Command::Check(args) => check::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Zone(command) => zone::run(&command),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Override(command) => overrides::run(&command),
        Command::Reload(args) => reload::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Keys(command) => keys::run(command),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Sources(args) => sources::sources(&args),
        Command::Plan(args) => sources::plan(&args),
        Command::Resync(args) => sources::change(&args, "resync"),
        Command::Pause(args) => sources::change(&args, "pause"),
        Command::Resume(args) => sources::change(&args, "resume"),
        Command::Brake(command) => sources::brake(&command),
        Command::Events(args) => events::run(&args),
        Command::State(command) => state::run(&command),
        Command::Mirror(_) => later::refuse("mirror"),
    }
}
