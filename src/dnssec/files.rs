//! Key files on disk: written whole or not at all, readable by their owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::model::name::Name;

/// Longest file name that common file systems take, in octets.
const MAX_FILE_NAME: usize = 255;

/// The file or directory name that stands for a zone: presentation format without the trailing dot, `@` for the root. It has
/// no slash in it, whatever the labels hold, and is no name that the system has a use for (`.` and `..` have empty labels).
pub(super) fn zone_file_name(apex: &Name) -> String {
    if apex.is_root() {
        return "@".into();
    }
    let text = apex.to_string();
    text.trim_end_matches('.').replace('/', "\\047")
}

/// Whether the zone's name fits into a file name with room for a prefix. Names full of escapes are up to four times as
/// long as their wire form.
pub(super) fn check_zone_file_name(apex: &Name) -> io::Result<String> {
    let name = zone_file_name(apex);
    if name.len() + ".new-".len() > MAX_FILE_NAME {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the zone's name is too long for a file name",
        ));
    }
    Ok(name)
}

/// Writes a new file of mode 0600 and fsyncs it and its directory. Never replaces a file.
pub(super) fn write_private(directory: &Path, name: &str, content: &[u8]) -> io::Result<PathBuf> {
    let target = directory.join(name);
    // One writer at a time: what is left of another was left by a crash, and its process number may come again.
    let temporary = directory.join(format!(".{name}.new"));
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = write_synced(&temporary, content).and_then(|()| put_in_place(&temporary, &target));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory(directory)?;
    Ok(target)
}

/// Gives a finished file its name unless that is taken, which only a link does in one step; some file systems have none.
fn put_in_place(temporary: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, target) {
        Ok(()) => fs::remove_file(temporary),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(e),
        Err(_) if target.try_exists()? => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(temporary, target),
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a directory of mode 0700 with those above it.
pub(super) fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes renames and new entries in a directory survive a power cut.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Permission bits of the file, if others than its owner may read or write it.
#[cfg(unix)]
pub(super) fn loose_mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Permission bits are a Unix notion.
#[cfg(not(unix))]
pub(super) fn loose_mode(_: &Path) -> Option<u32> {
    None
}

/// A directory of its own for one test, removed with the value.
#[cfg(test)]
pub(super) mod test_directory {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    pub(in crate::dnssec) struct TestDirectory(PathBuf);

    impl TestDirectory {
        pub(in crate::dnssec) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("hale-dnssec-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(in crate::dnssec) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TestDirectory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test_directory::TestDirectory;
    use super::*;

    #[test]
    fn zone_names_stay_inside_their_directory() {
        for (zone, want) in [
            (".", "@"),
            ("Example.TEST", "example.test"),
            ("a/..b.test", ""),
            ("\\..\\/etc.test", "\\..\\047etc.test"),
            ("0/25.2.0.192.in-addr.arpa", "0\\04725.2.0.192.in-addr.arpa"),
        ] {
            match Name::parse_absolute(zone) {
                Ok(name) => assert_eq!(zone_file_name(&name), want),
                Err(_) => assert_eq!(want, "", "{zone}"),
            }
        }
        let label = "\\000".repeat(63);
        let long = Name::parse_absolute(&format!("{label}.{label}")).unwrap();
        assert!(check_zone_file_name(&long).is_err());
    }

    #[test]
    fn a_file_is_never_replaced() {
        let directory = TestDirectory::new();
        let path = write_private(directory.path(), "k.pem", b"one").unwrap();
        assert!(write_private(directory.path(), "k.pem", b"two").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a temporary file was left behind");
        fs::write(directory.path().join(".l.pem.new"), b"half").unwrap(); // by a crash
        write_private(directory.path(), "l.pem", b"whole").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert_eq!(loose_mode(&path), None);
    }
}
