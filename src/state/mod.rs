//! Everything under `--state`: what survives a restart.
//!
//! | file | what | when it is lost |
//! |---|---|---|
//! | `lock` | held while a server runs on the directory | – |
//! | `instance-id` | a random name of this installation | a new one is drawn |
//! | `verdicts.json` | the last verdict of each target | targets are probed before they count |
//! | `history.json` | the last transitions of each target | nobody knows what happened before |
//! | `discovered.json` | names that sources have discovered (discovery's) | they are gone until their sources answer |
//! | `hidden.json` | discovered names that people hide | they are published again |
//! | `overrides.json`, and `overrides.copy.json` for when it is damaged | what people say over verdicts | verdicts count again |
//! | `zones.json` | up to which serial each zone may have used, and after an orderly stop a digest of what was served (the keeper's) | serials go on from the clock |
//! | `zones.json.room0`, `.room1` | room for `zones.json` on a full disk | a crash on a full disk could repeat a serial |
//! | `signed-zones.json`, and `signed-zones.copy.json` for when it is damaged | zones that have been signed | a zone whose `dnssec` block was deleted is served unsigned; if both are damaged, no zone is without such a block |
//! | `signatures-<zone>.bin` | signatures to use again (the keeper's) | the zone is signed anew |
//! | `keys/` | keys of `"keys": "auto"` (dnssec's) | the zone is not served: its parent still vouches for the lost key |
//! | `hale.sock` | the admin listener's socket, while a server runs | – |
//!
//! Every `.json` and `.bin` file is written whole: into a temporary file beside it, fsync, rename, fsync of the directory. So at any
//! moment, also after a power cut or on a full disk, either the old or the new content stands there. A header line carries a
//! version and a checksum; a file that does not hold what it says is set aside under another name and reported, never half used.

pub mod backup;
pub mod choices;
mod envelope;
pub mod error;
pub mod hidden;
pub mod history;
pub mod overrides;
pub mod room;
pub mod signed;
pub mod verdicts;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;

use envelope::{HashingWriter, Header};
pub use error::StateError;

/// An open state directory. No other server opens it while this value lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    instance_id: String,
    /// The lock goes with the descriptor.
    _lock: File,
    temporary: AtomicU64,
    failed_writes: AtomicU64,
}

/// What a read found.
#[derive(Debug, PartialEq, Eq)]
pub enum Stored {
    /// There is no such file.
    Absent,
    /// The content, complete and unchanged.
    Good(Vec<u8>),
    /// There was a file, but its content cannot be used.
    SetAside(SetAside),
}

/// A file whose content could not be used, and what was done with it. To be reported: something was forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The file.
    pub file: PathBuf,
    /// Where it lies now.
    pub moved_to: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; set aside as {}", self.file.display(), self.why, self.moved_to.display())
    }
}

impl StateDir {
    /// Opens a state directory, and makes it (mode 0700) where it is missing.
    ///
    /// Fails when another server uses it, or when it cannot be written.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |doing| move |source| StateError::new(doing, path, source);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create"))?;
        let lock = lock(path)?;
        for entry in fs::read_dir(path).map_err(failed("read"))? {
            let entry = entry.map_err(failed("read"))?;
            // What a server that was killed while it wrote left behind; nobody else writes, since we hold the lock.
            if is_temporary(&entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|e| StateError::new("remove", &entry.path(), e))?;
            }
        }
        let mut state = Self {
            path: path.to_owned(),
            instance_id: String::new(),
            _lock: lock,
            temporary: AtomicU64::new(0),
            failed_writes: AtomicU64::new(0),
        };
        state.instance_id = state.load_instance_id()?;
        Ok(state)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A random name that this installation keeps: 32 hexadecimal digits.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// Writes a file whole. When this returns the content is on the disk; when it fails the old content still stands there.
    /// `version` is of the content's form, and belongs to the caller.
    pub fn write_blob(&self, name: &str, version: u32, content: &[u8]) -> Result<(), StateError> {
        self.write_blob_with(name, version, |writer| writer.write_all(content))
    }

    /// As [`StateDir::write_blob`], for content that is too large to be built in memory first. Small writes are buffered.
    pub fn write_blob_with(
        &self,
        name: &str,
        version: u32,
        content: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
    ) -> Result<(), StateError> {
        self.replace(name, |file| {
            Header::new(name, version).write(file)?;
            let mut writer = HashingWriter::new(&mut *file);
            content(&mut writer)?;
            let (length, checksum) = writer.finish()?;
            file.rewind()?;
            Header { length, checksum, ..Header::new(name, version) }.write(file)
        })
    }

    /// Reads a file that [`StateDir::write_blob`] wrote with the same version. A file that is damaged or of another version is
    /// moved out of the way.
    pub fn read_blob(&self, name: &str, version: u32) -> Result<Stored, StateError> {
        let path = self.file(name)?;
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Stored::Absent),
            Err(e) => return Err(StateError::new("read", &path, e)),
        }
        match envelope::open(name, version, bytes) {
            Ok(content) => Ok(Stored::Good(content)),
            Err(why) => Ok(Stored::SetAside(self.set_aside(name, why)?)),
        }
    }

    /// Removes a file; it need not be there.
    pub fn remove_blob(&self, name: &str) -> Result<(), StateError> {
        let path = self.file(name)?;
        match fs::remove_file(&path).and_then(|()| self.sync_directory()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StateError::new("remove", &path, e)),
            _ => Ok(()),
        }
    }

    /// Moves a file whose content cannot be used out of the way.
    pub(crate) fn set_aside(&self, name: &str, why: String) -> Result<SetAside, StateError> {
        let file = self.file(name)?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut moved_to = self.path.join(format!("{name}.corrupt-{now_s}"));
        for further in 1.. {
            if !moved_to.exists() {
                break;
            }
            moved_to = self.path.join(format!("{name}.corrupt-{now_s}.{further}"));
        }
        fs::rename(&file, &moved_to).map_err(|e| StateError::new("set aside", &file, e))?;
        Ok(SetAside { file, moved_to, why })
    }

    fn file(&self, name: &str) -> Result<PathBuf, StateError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(plain) {
            // Names come from our own code; this keeps one that is made from outside data from leaving the directory.
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name");
            return Err(StateError::new("use", &self.path.join(name), error));
        }
        Ok(self.path.join(name))
    }

    /// Writes a temporary file by `fill` and puts it in the place of `name`.
    fn replace(&self, name: &str, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StateError> {
        let path = self.file(name)?;
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path.join(format!(".{name}.{number}.tmp"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            fill(&mut file)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            self.sync_directory()
        };
        write().map_err(|e| {
            self.failed_writes.fetch_add(1, Ordering::Relaxed);
            // If this fails as well, the next start removes it.
            let _ = fs::remove_file(&temporary);
            StateError::new("write", &path, e)
        })
    }

    /// Without it the rename itself may be lost in a power cut.
    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// How often a file could not be written since the directory was opened.
    pub fn failed_writes(&self) -> u64 {
        self.failed_writes.load(Ordering::Relaxed)
    }

    fn load_instance_id(&self) -> Result<String, StateError> {
        let path = self.file("instance-id")?;
        match fs::read_to_string(&path) {
            Ok(text) if text.len() == 33 && text.trim_end().bytes().all(|b| b.is_ascii_hexdigit()) => {
                return Ok(text.trim_end().to_owned());
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(StateError::new("read", &path, e)),
        }
        let mut random = [0u8; 16];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn
            .map_err(|_| StateError::new("write", &path, io::Error::other("no random numbers to be had")))?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.replace("instance-id", |file| writeln!(file, "{id}"))?;
        Ok(id)
    }
}

/// Reads a JSON value; what cannot be used is set aside and replaced by the default.
fn load_json<T: DeserializeOwned + Default>(
    state: &StateDir,
    name: &str,
    version: u32,
) -> Result<(T, Option<SetAside>), StateError> {
    let content = match state.read_blob(name, version)? {
        Stored::Absent => return Ok((T::default(), None)),
        Stored::SetAside(set_aside) => return Ok((T::default(), Some(set_aside))),
        Stored::Good(content) => content,
    };
    match serde_json::from_slice(&content) {
        Ok(value) => Ok((value, None)),
        Err(e) => Ok((T::default(), Some(state.set_aside(name, format!("cannot be understood: {e}"))?))),
    }
}

fn save_json(state: &StateDir, name: &str, version: u32, value: &impl Serialize) -> Result<(), StateError> {
    state.write_blob_with(name, version, |writer| Ok(serde_json::to_writer_pretty(writer, value)?))
}

fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// How often the lock is tried for. A program that was being started when the last holder let go still has it, until it is running.
const LOCK_TRIES: u32 = 20;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Takes the lock. It is a `flock`, which the kernel lets go of however the process ends, so a lock file that is left behind
/// blocks nobody. The file carries the process id for the error message only.
fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join("lock");
    let failed = |source| StateError::new("lock", &path, source);
    let options =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = options.map_err(failed)?;
    let mut tries = LOCK_TRIES;
    let taken = loop {
        tries -= 1;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if tries > 0 => std::thread::sleep(LOCK_PAUSE),
            other => break other,
        }
    };
    match taken {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Who holds it is only said to be helpful.
            let _ = file.read_to_string(&mut holder);
            return Err(StateError::InUse {
                directory: directory.to_owned(),
                process: holder.trim().parse().ok(),
            });
        }
        Err(e) => return Err(failed(e.into())),
    }
    // A full disk need not keep the server from starting: writing what matters will say so.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

#[cfg(test)]
pub(crate) mod tests;
