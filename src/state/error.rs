//! What goes wrong with files, for people.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An error of the state directory. `Display` gives a line for people and, where there is something to do, a hint.
#[derive(Debug)]
pub enum StateError {
    /// Another server runs on the directory.
    InUse {
        /// The directory.
        directory: PathBuf,
        /// The other server's process id, if it can be told.
        process: Option<u32>,
    },
    /// An operation on a file failed. Where it was a write, the old content still stands.
    File {
        /// What was tried: `read`, `write`, …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl StateError {
    pub(super) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { directory, process } => {
                write!(f, "{}: the state directory is in use by another server", directory.display())?;
                if let Some(process) = process {
                    write!(f, " (process {process})")?;
                }
                f.write_str("\n  hint: stop it first, or give this server a --state of its own")
            }
            Self::File { doing, path, source } => {
                write!(f, "{}: cannot {doing} this: {source}", path.display())?;
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        f.write_str("\n  hint: make room; what was saved before is still there")
                    }
                    io::ErrorKind::ReadOnlyFilesystem => {
                        f.write_str("\n  hint: --state must lie on a file system that can be written")
                    }
                    io::ErrorKind::PermissionDenied => {
                        f.write_str("\n  hint: the user that the server runs as must own the state directory")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::File { source, .. } => Some(source),
        }
    }
}
