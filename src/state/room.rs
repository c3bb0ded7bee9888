//! Room that is taken on the disk ahead of need, for what must be kept also when the disk is full.
//!
//! Beside a state file two files of fixed size lie, full of zeros. Where the state file cannot be replaced, which takes new blocks, its content
//! goes into one of them and the next time into the other: blocks that are there already are written over, so that a full disk does not
//! matter, and one of two stays whole should the power fail meanwhile. (A file system that never writes over its blocks, as btrfs and ZFS, may
//! refuse that too; then it is an error like any other.) What stands there counts beside the state file until that can be written again.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use ring::digest::{SHA256, digest};

use super::envelope::{self, Header};
use super::{StateDir, StateError};

const PLACES: [&str; 2] = ["room0", "room1"];
/// Sizes are multiples of it: mostly a block.
const STEP: usize = 4096;

/// The room beside one state file.
#[derive(Debug)]
pub struct Room {
    name: &'static str,
    version: u32,
    /// Octets of each place; 0 while there are none.
    size: usize,
    turn: usize,
    /// Whether something stands there that the state file does not hold.
    is_used: bool,
}

impl Room {
    /// The room beside the state file `name`, whose content has the form `version`. Returns what stands there, too.
    pub fn open(state: &StateDir, name: &'static str, version: u32) -> (Self, Vec<Vec<u8>>) {
        let mut found = Vec::new();
        let mut sizes = [0; PLACES.len()];
        for (place, size) in sizes.iter_mut().enumerate() {
            // What cannot be read is not there.
            let octets = path(state, name, place).and_then(std::fs::read).unwrap_or_default();
            *size = octets.len();
            found.extend(content(name, version, octets));
        }
        let size = sizes.into_iter().min().unwrap_or(0);
        (Self { name, version, size, turn: 0, is_used: !found.is_empty() }, found)
    }

    /// Replaces the state file; where that fails, keeps the content here. Returns why it had to be kept here.
    ///
    /// # Errors
    /// It is kept nowhere.
    pub fn save(&mut self, state: &StateDir, octets: &[u8]) -> Result<Option<StateError>, StateError> {
        let Err(why) = state.write_blob(self.name, self.version, octets) else {
            self.settle(state, octets.len());
            return Ok(None);
        };
        match self.write(state, octets) {
            Ok(()) => {
                self.is_used = true;
                Ok(Some(why))
            }
            Err(_) => Err(why),
        }
    }

    /// The state file holds everything: what stands here is void, and there is to be room for twice as much.
    fn settle(&mut self, state: &StateDir, octets: usize) {
        let header = Header::new(self.name, self.version).octets();
        let wanted = (header + 2 * octets).next_multiple_of(STEP);
        let is_small = self.size < header + octets + octets / 2;
        if !self.is_used && !is_small {
            return;
        }
        let zeros = vec![0; wanted.max(self.size)];
        let made = (0..PLACES.len()).try_for_each(|place| {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path(state, self.name, place)?)?;
            file.write_all(&zeros)?;
            file.sync_all()
        });
        match made.and_then(|()| state.sync_directory()) {
            Ok(()) => (self.size, self.is_used) = (zeros.len(), false),
            // There is less room than is wanted, or more stands there than is needed: neither does harm.
            Err(error) => {
                tracing::debug!(%error, file = self.name, "no room is kept for when the disk is full");
            }
        }
    }

    fn write(&mut self, state: &StateDir, content: &[u8]) -> io::Result<()> {
        let mut checksum = [0; 32];
        checksum.copy_from_slice(digest(&SHA256, content).as_ref());
        let mut octets = Vec::with_capacity(self.size);
        Header { length: content.len() as u64, checksum, ..Header::new(self.name, self.version) }
            .write(&mut octets)?;
        octets.extend_from_slice(content);
        if octets.len() > self.size {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = OpenOptions::new().write(true).open(path(state, self.name, self.turn)?)?;
        file.write_all(&octets)?;
        file.sync_data()?;
        self.turn = (self.turn + 1) % PLACES.len();
        Ok(())
    }
}

fn path(state: &StateDir, name: &str, place: usize) -> io::Result<std::path::PathBuf> {
    state.file(&format!("{name}.{}", PLACES[place])).map_err(io::Error::other)
}

/// What stands in a place, without the rest of an earlier one behind it.
fn content(name: &str, version: u32, mut octets: Vec<u8>) -> Option<Vec<u8>> {
    let end = octets.iter().position(|octet| *octet == b'\n')?;
    let header = std::str::from_utf8(&octets[..end]).ok()?;
    let length = header.split(' ').find_map(|word| word.strip_prefix("length=")?.parse::<usize>().ok())?;
    octets.truncate(end.checked_add(1)?.checked_add(length)?);
    envelope::open(name, version, octets).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn what_cannot_be_written_in_full_is_kept_here() {
        let folder = Folder::new();
        let state = StateDir::open(folder.path()).unwrap();
        let open = || Room::open(&state, "serials.json", 1);
        let stands = || open().1;
        let (mut room, found) = open();
        assert!(found.is_empty());
        // Without room there is nowhere to keep it.
        let blocked = folder.path().join("serials.json");
        std::fs::create_dir(&blocked).unwrap();
        assert!(room.save(&state, b"first").is_err());
        std::fs::remove_dir(&blocked).unwrap();
        assert!(room.save(&state, b"second").unwrap().is_none());
        assert!(stands().is_empty());
        // A folder in the file's place stands for a disk without a free block.
        std::fs::remove_file(&blocked).unwrap();
        std::fs::create_dir(&blocked).unwrap();
        for (content, expected) in [
            (&b"third, and longer"[..], vec![&b"third, and longer"[..]]),
            (b"4th", vec![b"third, and longer", b"4th"]),
            (b"5th", vec![b"5th", b"4th"]),
        ] {
            assert!(room.save(&state, content).unwrap().is_some());
            assert_eq!(stands(), expected);
        }
        assert_eq!(state.failed_writes(), 4);
        // Too much is refused, and what is there stays.
        assert!(room.save(&state, &[7; 2 * STEP]).is_err());
        // Cut off by a crash, a place counts for nothing.
        let place = path(&state, "serials.json", 0).unwrap();
        let whole = std::fs::read(&place).unwrap();
        std::fs::write(&place, [&whole[..130], &vec![0; whole.len() - 130]].concat()).unwrap();
        assert_eq!(stands(), [b"4th"]);
        // The next run knows that something stands here, and the state file takes over again.
        let mut room = open().0;
        std::fs::remove_dir(&blocked).unwrap();
        assert!(room.save(&state, &[7; 2 * STEP]).unwrap().is_none());
        assert!(stands().is_empty() && room.size >= 4 * STEP);
    }
}
