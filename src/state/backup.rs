//! Backups of a state directory: a tar archive (POSIX.1-1988, "ustar") of its files, the keys among them.
//!
//! Every file is replaced whole (see [`super`]), so one that is read while a server runs is whole, too, and no file means anything only
//! together with another: serials are reserved ahead of use, signatures are only used where they fit. So a backup needs no pause.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::{StateDir, StateError};

/// What a tar archive consists of.
const BLOCK: usize = 512;
/// Files of a state directory are far smaller; an archive that says otherwise is none of ours.
const LARGEST: u64 = 1 << 36;
/// Folders within each other; a state directory has two.
const DEEPEST: usize = 8;
/// Without it a directory is no state: every one has it from its first moment.
const INSTANCE: &str = "instance-id";
/// Files that belong to the process that runs, not to the installation.
const OF_THE_PROCESS: [&str; 3] = ["lock", "hale.sock", "hale.new"];

/// Writes every file below a state directory. Returns how many.
///
/// # Errors
/// A file cannot be read, or `out` cannot be written.
pub fn write(directory: &Path, out: &mut dyn Write) -> Result<usize, StateError> {
    let mut files = Vec::new();
    collect(directory, Path::new(""), &mut files)?;
    files.sort();
    let mut count = 0;
    for path in files {
        let full = directory.join(&path);
        let failed = |source| StateError::new("back up", &full, source);
        let mut content = Vec::new();
        match File::open(&full).and_then(|mut file| file.read_to_end(&mut content)) {
            Ok(_) => {}
            // Signatures of a zone that has just been removed, say.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(e)),
        }
        let header = header(&path, content.len() as u64).map_err(failed)?;
        let padding = content.len().next_multiple_of(BLOCK) - content.len();
        out.write_all(&header)
            .and_then(|()| out.write_all(&content))
            .and_then(|()| out.write_all(&[0; BLOCK][..padding]))
            .map_err(failed)?;
        count += 1;
    }
    // Two empty blocks end an archive.
    out.write_all(&[0; 2 * BLOCK]).map_err(|e| StateError::new("back up", directory, e))?;
    Ok(count)
}

fn collect(directory: &Path, below: &Path, files: &mut Vec<PathBuf>) -> Result<(), StateError> {
    let full = directory.join(below);
    let failed = |source| StateError::new("read", &full, source);
    for entry in fs::read_dir(&full).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let kind = entry.file_type().map_err(failed)?;
        let is_left_out = name.to_string_lossy().starts_with('.')
            || (below.as_os_str().is_empty() && OF_THE_PROCESS.iter().any(|own| name == *own));
        if is_left_out {
            continue;
        }
        let path = below.join(&name);
        // A link stands for what it leads to, as for the server: keys kept on another disk are a part of the state.
        let kind = if kind.is_symlink() {
            let full = directory.join(&path);
            fs::metadata(&full).map_err(|source| StateError::new("read", &full, source))?.file_type()
        } else {
            kind
        };
        if kind.is_dir() {
            if path.components().count() > DEEPEST {
                let why = format!("folders within folders, {DEEPEST} deep: a link that leads back?");
                return Err(StateError::new("read", &directory.join(&path), io::Error::other(why)));
            }
            collect(directory, &path, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

fn header(path: &Path, size: u64) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let text = path.to_str().filter(|text| text.len() <= 255);
    let text = text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "its name fits no archive"))?;
    // A name of more than 100 octets is divided at a slash.
    let (prefix, name) = match text.len() {
        ..=100 => ("", text),
        long => {
            let at = text.bytes().enumerate().position(|(i, b)| b == b'/' && i >= long - 101 && i <= 155);
            let at =
                at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "its name fits no archive"))?;
            (&text[..at], &text[at + 1..])
        }
    };
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\0");
    put(263, b"00");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// Writes the files of an archive into a state directory, which is made where it is missing, and must hold no state of its own yet.
/// Returns how many.
///
/// # Errors
/// A server uses the directory, it holds state already, or the archive is not one of [`write()`]'s, in which case nothing is left there.
pub fn restore(archive: &mut dyn Read, directory: &Path) -> Result<usize, StateError> {
    if let Some(found) = state_in(directory) {
        let why = "it holds state already: move it away first";
        return Err(StateError::new(
            "restore over",
            &found,
            io::Error::new(io::ErrorKind::AlreadyExists, why),
        ));
    }
    // The lock is held to the end: no server starts on half a state.
    let state = StateDir::open(directory)?;
    let mut done = Vec::new();
    let result = unpack(archive, &state, &mut done);
    if result.is_err() {
        for path in &done {
            // What cannot be removed is told by the next try.
            let _ = fs::remove_file(path);
            let folders = path.ancestors().skip(1).take_while(|folder| *folder != state.path());
            // Those that were made for it; what holds anything else stays.
            folders.for_each(|folder| drop(fs::remove_dir(folder)));
        }
    }
    result.map(|()| done.len())
}

/// A file that says that a state directory has been used.
fn state_in(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    let mut found = entries.flatten().map(|entry| entry.path());
    found.find(|path| {
        path.extension().is_some_and(|kind| kind == "json" || kind == "bin") || path.ends_with("keys")
    })
}

const NOT_OURS: &str = "it is not a backup of a state directory";

fn unpack(archive: &mut dyn Read, state: &StateDir, done: &mut Vec<PathBuf>) -> Result<(), StateError> {
    let failed = |source| StateError::new("restore", state.path(), source);
    let bad =
        |why: &str| StateError::new("restore", state.path(), io::Error::new(io::ErrorKind::InvalidData, why));
    loop {
        let mut block = [0; BLOCK];
        archive.read_exact(&mut block).map_err(failed)?;
        if block == [0; BLOCK] {
            return if done.is_empty() {
                Err(bad("the archive is empty"))
            } else if !done.contains(&state.path().join(INSTANCE)) {
                Err(bad(NOT_OURS))
            } else {
                state.sync_directory().map_err(failed)
            };
        }
        let (path, size) = entry(&block).ok_or_else(|| bad(NOT_OURS))?;
        let full = state.path().join(&path);
        if let Some(parent) = full.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        }
        // Only the instance's name is there: it was drawn when the directory was opened.
        if path == Path::new(INSTANCE) {
            fs::remove_file(&full).map_err(failed)?;
        }
        done.push(full.clone());
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&full).map_err(failed)?;
        let copied = io::copy(&mut archive.take(size), &mut file).map_err(failed)?;
        if copied != size {
            return Err(bad("the archive ends within a file"));
        }
        file.sync_all().map_err(failed)?;
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        io::copy(&mut archive.take(padding), &mut io::sink()).map_err(failed)?;
    }
}

/// Path and size of an entry that [`write()`] may have made.
fn entry(block: &[u8; BLOCK]) -> Option<(PathBuf, u64)> {
    let text = |from: usize, to: usize| {
        let field = &block[from..to];
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).ok()
    };
    let octal = |from: usize, to: usize| u64::from_str_radix(text(from, to)?.trim(), 8).ok();
    let mut plain = *block;
    plain[148..156].fill(b' ');
    let sum: u64 = plain.iter().map(|b| u64::from(*b)).sum();
    let is_ours = text(257, 263)? == "ustar" && octal(148, 156)? == sum && block[156] == b'0';
    let path = match (text(345, 500)?, text(0, 100)?) {
        ("", name) => PathBuf::from(name),
        (prefix, name) => Path::new(prefix).join(name),
    };
    let size = octal(124, 136)?;
    let stays_inside = !path.as_os_str().is_empty()
        && path.components().all(|part| match part {
            Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
            _ => false,
        });
    let is_state = !OF_THE_PROCESS.iter().any(|own| path == Path::new(own));
    (is_ours && stays_inside && is_state && size <= LARGEST).then_some((path, size))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn what_was_backed_up_comes_back() {
        let (from, to) = (Folder::new(), Folder::new());
        let state = StateDir::open(from.path()).unwrap();
        state.write_blob("verdicts.json", 1, b"[]").unwrap();
        let deep = from.path().join("keys/example.test");
        fs::create_dir_all(&deep).unwrap();
        let long = format!("{}.pem", "x".repeat(96));
        fs::write(deep.join(&long), vec![7; 1000]).unwrap();
        fs::write(from.path().join(".half.1.tmp"), b"half").unwrap();
        let mut archive = Vec::new();
        assert_eq!(write(from.path(), &mut archive).unwrap(), 3);
        assert_eq!(archive.len() % BLOCK, 0);
        let target = to.path().join("new");
        assert_eq!(restore(&mut &archive[..], &target).unwrap(), 3);
        let key = target.join("keys/example.test").join(&long);
        assert_eq!(fs::read(&key).unwrap(), vec![7; 1000]);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(StateDir::open(&target).unwrap().instance_id(), state.instance_id());
        assert!(restore(&mut &archive[..], &target).unwrap_err().to_string().contains("holds state already"));
    }

    #[test]
    fn a_directory_in_use_and_archives_of_others_are_refused() {
        let folder = Folder::new();
        let state = StateDir::open(folder.path()).unwrap();
        let mut archive = Vec::new();
        write(folder.path(), &mut archive).unwrap();
        assert!(matches!(restore(&mut &archive[..], folder.path()), Err(StateError::InUse { .. })));
        drop(state);
        let header = |path: &str| header(Path::new(path), 1).unwrap().to_vec();
        let cut_off =
            [header("keys/a.test/13.csk.1.pem")[..].to_vec(), vec![1; BLOCK], header("b.json")].concat();
        let with = |path: &str| [header(path), vec![1; BLOCK], vec![0; 2 * BLOCK]].concat();
        let mut broken = with("zones.json");
        broken[0] = b'Z';
        for (archive, why) in [
            (with("../zones.json"), "not a backup"),
            (with("/etc/passwd"), "not a backup"),
            (with("lock"), "not a backup"),
            (with(".hidden"), "not a backup"),
            (broken, "not a backup"),
            (vec![0; 2 * BLOCK], "is empty"),
            ([with("a.json")[..2 * BLOCK].to_vec(), header("b.json")].concat(), "ends within"),
            (b"{}".to_vec(), "fill whole buffer"),
            (with("etc/passwd"), "not a backup"),
            (cut_off, "ends within"),
        ] {
            let target = Folder::new();
            let error = restore(&mut &archive[..], target.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error} and not {why}");
            assert!(state_in(target.path()).is_none(), "nothing is left");
            let folders =
                fs::read_dir(target.path()).unwrap().flatten().filter(|entry| entry.path().is_dir());
            assert_eq!(folders.count(), 0, "nor a folder: {why}");
        }
    }

    #[test]
    fn links_are_followed_and_circles_told() {
        let (from, elsewhere, to) = (Folder::new(), Folder::new(), Folder::new());
        let state = StateDir::open(from.path()).unwrap();
        fs::create_dir_all(elsewhere.path().join("a.test")).unwrap();
        fs::write(elsewhere.path().join("a.test/k.pem"), "key").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), from.path().join("keys")).unwrap();
        let mut archive = Vec::new();
        assert_eq!(write(from.path(), &mut archive).unwrap(), 2);
        restore(&mut &archive[..], &to.path().join("new")).unwrap();
        assert_eq!(fs::read(to.path().join("new/keys/a.test/k.pem")).unwrap(), b"key");
        std::os::unix::fs::symlink(from.path(), elsewhere.path().join("back")).unwrap();
        assert!(write(from.path(), &mut Vec::new()).unwrap_err().to_string().contains("leads back"));
        drop(state);
    }
}
