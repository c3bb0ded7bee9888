//! Loads the configuration for a command.

use std::path::Path;

use super::outcome::Failure;
use crate::config::{Config, ServeArgs};
use crate::model::diagnostic::Diagnostic;

/// Flags over environment over file, with the warnings.
///
/// # Errors
/// Everything that is wrong with any of them.
pub(super) fn load(args: &ServeArgs) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    // The empty path: relative paths stay as short in messages as they were written.
    Config::load(args, &variable, Path::new(""))
}

/// An environment variable. One that is not Unicode cannot be any setting of ours.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(diagnostics: Vec<Diagnostic>) -> Self {
        Self::Configuration(diagnostics)
    }
}
