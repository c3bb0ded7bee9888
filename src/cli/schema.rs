//! `hale schema`: the JSON Schema of zone files and of `hale.json`, for editors.

use clap::ValueEnum;

use super::outcome::Outcome;
use super::terminal;
use crate::config::schema;

#[derive(clap::Args, Debug)]
pub(super) struct SchemaArgs {
    /// What to describe
    #[arg(value_enum, default_value_t = Subject::Zone)]
    of: Subject,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Subject {
    /// Zone files
    Zone,
    /// hale.json
    Config,
}

/// Prints the schema (draft 2020-12).
pub(super) fn run(args: &SchemaArgs) -> Outcome {
    let mut text = match args.of {
        Subject::Zone => schema::zone(),
        Subject::Config => schema::config(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    terminal::print(&text)
}
