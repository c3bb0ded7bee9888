//! Backups of the state directory: of a running server's by the server, else by the command line under the directory's lock.

use std::io::{self, Read, Write};
use std::path::Path;

use super::control::Handles;
use crate::admin::ExportError;
use crate::health::persist;
use crate::model::diagnostic::Diagnostic;
use crate::state::{StateDir, StateError, backup};

impl Handles {
    /// Saves what is saved only now and then, and writes the state directory as an archive.
    pub(super) fn backup_to(&self, out: &mut dyn Write) -> Result<(), ExportError> {
        let Some(state) = &self.discovery.state else {
            return Err(ExportError::Broken("the server has no state directory".to_owned()));
        };
        let failed = |error: StateError| ExportError::Write(io::Error::other(error.to_string()));
        persist::save(&self.health, state).map_err(failed)?;
        self.discovery.save_now().map_err(failed)?;
        let files = backup::write(state.path(), out).map_err(failed)?;
        tracing::info!(files, "state backed up");
        Ok(())
    }
}

fn diagnostic(directory: &Path, error: &StateError) -> Diagnostic {
    Diagnostic::error(directory, error.to_string())
}

/// Writes the state directory of a server that does not run as an archive; returns how many files.
///
/// # Errors
/// A server uses it, or it cannot be read.
pub fn backup_stopped(directory: &Path, out: &mut dyn Write) -> Result<usize, Diagnostic> {
    if !directory.is_dir() {
        return Err(Diagnostic::error(directory, "there is no such state directory"));
    }
    let state = StateDir::open(directory).map_err(|error| diagnostic(directory, &error))?;
    backup::write(state.path(), out).map_err(|error| diagnostic(directory, &error))
}

/// Fills a state directory from an archive; returns how many files.
///
/// # Errors
/// A server uses it, it holds state already, or the archive is none; nothing has changed then.
pub fn restore(archive: &mut dyn Read, directory: &Path) -> Result<usize, Diagnostic> {
    backup::restore(archive, directory).map_err(|error| diagnostic(directory, &error))
}
