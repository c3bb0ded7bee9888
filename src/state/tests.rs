use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// A folder of a test's own that goes with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("hale-state-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn is_private_locked_and_keeps_its_name() {
    let folder = Folder::new();
    let path = folder.path().join("deep/er");
    let state = StateDir::open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let id = state.instance_id().to_owned();
    assert_eq!(id.len(), 32);
    state.write_blob("secret", 1, b"x").unwrap();
    assert_eq!(fs::metadata(path.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);

    let error = StateDir::open(&path).unwrap_err();
    let process = std::process::id();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: the state directory is in use by another server (process {process})\n  \
             hint: stop it first, or give this server a --state of its own",
            path.display()
        )
    );
    drop(state);
    assert_eq!(StateDir::open(&path).unwrap().instance_id(), id);
}

#[test]
fn blobs_come_back_and_are_replaced_whole() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Absent);
    let large: Vec<u8> = (0..300_000u32).map(|n| (n * 7) as u8).collect();
    for content in [&b""[..], b"\n\n", &large, b"short"] {
        state.write_blob("cache", 1, content).unwrap();
        assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Good(content.to_vec()));
    }
    state.remove_blob("cache").unwrap();
    state.remove_blob("cache").unwrap();
    assert_eq!(folder.names(), ["instance-id", "lock"]);
}

#[test]
fn names_stay_in_the_directory() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    for name in ["", ".hidden", "../x", "a/b", "a b", "ä"] {
        assert!(state.write_blob(name, 1, b"x").is_err(), "{name:?}");
        assert!(state.read_blob(name, 1).is_err(), "{name:?}");
    }
}

/// Any single damaged byte, and any shortening, is noticed; the file is moved aside and a new one can be written.
#[test]
fn damage_is_noticed_and_set_aside() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    let path = folder.path().join("cache");
    state.write_blob("cache", 1, b"some content\nof two lines").unwrap();
    let good = fs::read(&path).unwrap();
    let damaged = (0..good.len()).flat_map(|at| {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        [flipped, good[..at].to_vec()]
    });
    let mut count = 0;
    for bytes in damaged.chain([[&good[..], b"x"].concat()]) {
        fs::write(&path, &bytes).unwrap();
        let Stored::SetAside(set_aside) = state.read_blob("cache", 1).unwrap() else {
            panic!("not noticed: {}", String::from_utf8_lossy(&bytes));
        };
        assert_eq!(fs::read(&set_aside.moved_to).unwrap(), bytes, "nothing is thrown away");
        assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Absent);
        count += 1;
    }
    assert_eq!(folder.names().iter().filter(|name| name.starts_with("cache.corrupt-")).count(), count);
}

#[test]
fn another_version_or_another_file_is_not_misread() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    state.write_blob("cache", 2, b"new").unwrap();
    fs::copy(folder.path().join("cache"), folder.path().join("other")).unwrap();
    let why = |name: &str, version| match state.read_blob(name, version).unwrap() {
        Stored::SetAside(set_aside) => set_aside.why,
        other => panic!("{other:?}"),
    };
    assert_eq!(why("cache", 1), "has version 2, and this server reads version 1");
    assert_eq!(why("other", 2), "is damaged: its checksum does not match");
}

#[test]
fn killed_while_writing() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    state.write_blob("cache", 1, b"old").unwrap();
    drop(state);
    fs::write(folder.path().join(".cache.7.tmp"), b"hale-state 1 cache version=00").unwrap();
    let state = StateDir::open(folder.path()).unwrap();
    assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Good(b"old".to_vec()));
    assert_eq!(folder.names(), ["cache", "instance-id", "lock"]);
}

#[test]
fn a_write_that_fails_half_way_changes_nothing() {
    let folder = Folder::new();
    let state = StateDir::open(folder.path()).unwrap();
    state.write_blob("cache", 1, b"old").unwrap();
    let failed = state.write_blob_with("cache", 1, |writer| {
        writer.write_all(&[7; 200_000])?;
        Err(io::ErrorKind::StorageFull.into())
    });
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("cache: cannot write this") && error.contains("hint: make room"), "{error}");
    assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Good(b"old".to_vec()));
    assert_eq!(folder.names(), ["cache", "instance-id", "lock"]);
}

/// On a real file system that is really full; needs the right to mount.
#[test]
#[allow(clippy::print_stderr)]
fn a_full_disk_loses_nothing() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no right to mount a small file system");
        return;
    }
    let checked = std::panic::catch_unwind(|| {
        let state = StateDir::open(folder.path()).unwrap();
        state.write_blob("cache", 1, b"old").unwrap();
        let error = state.write_blob("cache", 1, &[7; 100_000]).unwrap_err().to_string();
        assert!(error.contains("No space left") && error.contains("hint: make room"), "{error}");
        assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Good(b"old".to_vec()));
        assert_eq!(folder.names(), ["cache", "instance-id", "lock"]);
        state.write_blob("cache", 1, b"new").unwrap();
        assert_eq!(state.read_blob("cache", 1).unwrap(), Stored::Good(b"new".to_vec()));
    });
    let unmounted = Command::new("umount").arg(folder.path()).status().unwrap();
    assert!(unmounted.success());
    checked.unwrap();
}
