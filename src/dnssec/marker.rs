//! Remembers which zones have been served signed, so that a zone whose `dnssec` block or keys vanish is not served unsigned:
//! resolvers that hold its DS record would call every answer bogus (RFC 4035 §5.2).
//!
//! One small file a zone under `STATE/signed/`; `"dnssec": "off"` takes it away.

use std::io;
use std::path::{Path, PathBuf};

use super::files;
use crate::model::name::Name;

/// The folder under the state directory.
const FOLDER: &str = "signed";

fn path(state: &Path, apex: &Name) -> io::Result<PathBuf> {
    Ok(state.join(FOLDER).join(files::check_zone_file_name(apex)?))
}

/// Whether the zone has been served signed.
///
/// # Errors
/// The state directory cannot be read: treat the zone as signed before.
pub fn is_set(state: &Path, apex: &Name) -> io::Result<bool> {
    path(state, apex)?.try_exists()
}

/// Remembers, before the first signed snapshot is published, that the zone is signed. Durable when it returns.
///
/// # Errors
/// The file cannot be written.
pub fn set(state: &Path, apex: &Name) -> io::Result<()> {
    let name = files::check_zone_file_name(apex)?;
    if is_set(state, apex)? {
        return Ok(());
    }
    let folder = state.join(FOLDER);
    files::create_private_directory(&folder)?;
    match files::write_private(&folder, &name, b"served signed\n") {
        // Another zone file of the same apex came first.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => drop(other?),
    }
    files::sync_directory(&folder)?;
    files::sync_directory(state)
}

/// Forgets it: the operator has written `"dnssec": "off"`.
///
/// # Errors
/// The file is there and cannot be removed.
pub fn clear(state: &Path, apex: &Name) -> io::Result<()> {
    match std::fs::remove_file(path(state, apex)?) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => files::sync_directory(&state.join(FOLDER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dnssec::files::test_directory::TestDirectory;

    #[test]
    fn remembers_until_told_to_forget() {
        let state = TestDirectory::new();
        let (apex, other) =
            (Name::parse_absolute("a.test").unwrap(), Name::parse_absolute("b.test").unwrap());
        assert!(!is_set(state.path(), &apex).unwrap());
        clear(state.path(), &apex).unwrap();
        set(state.path(), &apex).unwrap();
        set(state.path(), &apex).unwrap();
        assert!(is_set(state.path(), &apex).unwrap());
        assert!(!is_set(state.path(), &other).unwrap());
        clear(state.path(), &apex).unwrap();
        assert!(!is_set(state.path(), &apex).unwrap());
    }
}
