//! Reading files that others write. Whatever stands in a file's place, a read comes to an end: it is bounded in size, and a pipe in time.
//!
//! A plain `open` of a pipe waits for somebody who writes, for ever, and with it would every reload; `/dev/zero` and a file of terabytes
//! would end the server for want of memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::time::Timespec;

/// The largest zone file and geo database, in octets: ten million names.
pub const LARGEST: u64 = 1 << 30;
/// The largest `hale.json`.
pub(super) const LARGEST_SETTINGS: u64 = 64 << 20;
/// The largest file with a secret, a key or certificates.
pub const LARGEST_SECRET: u64 = 1 << 20;
/// So long a pipe may take in all; long enough for the other end of `hale check <(jq … zone.json)`.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a file, or a pipe to its end.
///
/// # Errors
/// Those of the system; it is longer than `most` octets, a pipe that is not closed in time, or a device.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_within(path, most, PATIENCE)
}

/// As [`read`], of a text.
///
/// # Errors
/// See [`read`]; and it is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn read_within(path: &Path, most: u64, patience: Duration) -> io::Result<Vec<u8>> {
    // A regular file takes no notice of the flag; with it a pipe is opened whoever is at its other end.
    let flag = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flag).open(path)?;
    let found = file.metadata()?;
    let kind = found.file_type();
    let mut bytes = Vec::new();
    if kind.is_fifo() {
        read_pipe(&file, most, patience, &mut bytes)?;
    } else if kind.is_file() || kind.is_dir() {
        // Of a directory the system says what it is.
        if found.len() > most && kind.is_file() {
            return Err(too_long(most));
        }
        bytes.reserve_exact(usize::try_from(found.len()).unwrap_or(0) + 1);
        // It may have grown since.
        file.by_ref().take(most + 1).read_to_end(&mut bytes)?;
    } else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device, not a file"));
    }
    if bytes.len() as u64 > most { Err(too_long(most)) } else { Ok(bytes) }
}

fn read_pipe(mut file: &File, most: u64, patience: Duration, bytes: &mut Vec<u8>) -> io::Result<()> {
    let until = Instant::now() + patience;
    let mut buffer = [0; 16 * 1024];
    while bytes.len() as u64 <= most {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Before the first writer has come a read would say that it has ended.
        let ready = poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left))?;
        if ready == 0 {
            let why = format!("it is a pipe that nobody has written to and closed within {patience:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn too_long(most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} octets"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// What becomes of reading the file that `make` puts in a place.
    fn check(make: impl FnOnce(&Path), expected: Result<&[u8], &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        make(&path);
        let got = read_within(&path, 8, Duration::from_millis(200)).map_err(|error| error.to_string());
        match (&got, expected) {
            (Ok(got), Ok(wanted)) => assert_eq!(got, wanted),
            (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
            _ => panic!("{got:?}, and not {expected:?}"),
        }
    }

    fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// A pipe that is written to and then held open for a while.
    fn written(path: &Path, text: &'static [u8], held: Duration) {
        fifo(path);
        let path = path.to_owned();
        std::thread::spawn(move || {
            let mut file = File::options().write(true).open(path).unwrap();
            // Of what is too much nobody reads the end.
            let _ = file.write_all(text);
            std::thread::sleep(held);
        });
    }

    #[test]
    fn every_read_ends() {
        let file = |text: &'static str| move |path: &Path| std::fs::write(path, text).unwrap();
        check(file("12345678"), Ok(b"12345678"));
        check(file(""), Ok(b""));
        check(file("123456789"), Err("longer than 8 octets"));
        check(|path| File::create(path).unwrap().set_len(1 << 33).unwrap(), Err("longer than 8 octets"));
        check(|_| {}, Err("No such file"));
        check(|path| std::fs::create_dir(path).unwrap(), Err("directory"));
        for device in ["/dev/zero", "/dev/null"] {
            check(|path| std::os::unix::fs::symlink(device, path).unwrap(), Err("a device"));
        }
        check(fifo, Err("a pipe that nobody"));
        check(|path| written(path, b"12", Duration::ZERO), Ok(b"12"));
        check(|path| written(path, b"12", Duration::from_secs(2)), Err("a pipe that nobody"));
        check(|path| written(path, &[b'x'; 100], Duration::from_secs(2)), Err("longer than 8 octets"));
    }
}
