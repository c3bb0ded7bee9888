//! Watching the files that the server was read from (`--watch`): what has changed is read again.
//!
//! A kernel that tells of changes (inotify) says only that it is time to look; what counts is what looking finds, so that an editor which
//! renames a file over the old one, a ConfigMap whose `..data` link is swapped, and a file that is written in pieces are all the same. Where
//! the kernel tells nothing (another system, or a network file system, which cannot), looking now and then finds it too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Reread;
use super::signals::Signal;
use crate::config::{Config, Inputs};

/// Nothing has happened for so long: whoever writes is done.
const QUIET: Duration = Duration::from_millis(200);
/// A file that changes all the time is read after this long all the same.
const RESTLESS: Duration = Duration::from_secs(5);
/// How often it is looked where the kernel tells of changes: for file systems that it knows nothing of.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// And where it does not.
const POLL_EVERY: Duration = Duration::from_secs(2);
/// So much the clock that files take their times from may be behind.
const CLOCK_LAG: Duration = Duration::from_millis(20);
/// Files that a line of the log names.
const NAMED: usize = 5;
/// Links that are followed from one to the next.
#[cfg(target_os = "linux")]
const LINKS: usize = 16;

/// What watches. It is made before anything is read, so that a change meanwhile is not missed.
pub(super) struct Watch {
    inputs: Inputs,
    /// Where zones found their keys; more with each zone that is read.
    keys: Arc<Mutex<BTreeSet<PathBuf>>>,
    seen: View,
    /// From when [`Watch::seen`] is at the latest.
    seen_at: SystemTime,
}

impl Watch {
    /// Looks at the files of a configuration.
    pub(super) fn new(config: &Config, keys: Arc<Mutex<BTreeSet<PathBuf>>>) -> Self {
        let (inputs, seen_at) = (config.inputs.clone(), SystemTime::now());
        Self { seen: View::of(&inputs, &keys), inputs, keys, seen_at }
    }

    /// Begins to watch; each change is a [`Signal::Changed`].
    pub(super) fn spawn(self, runtime: &Handle, reread: Reread, signals: mpsc::Sender<Signal>) {
        runtime.spawn(self.run(reread, signals));
    }

    async fn run(mut self, reread: Reread, signals: mpsc::Sender<Signal>) {
        let mut bell = Bell::new();
        loop {
            bell.listen_to(&self.inputs, &self.keys);
            bell.wait().await;
            let Some((now, at)) = self.settled().await else { return };
            let changed = self.seen.changed(&now, self.seen_at);
            (self.seen, self.seen_at) = (now, at);
            if changed.is_empty() {
                continue;
            }
            let named: Vec<String> = changed.iter().take(NAMED).map(|p| p.display().to_string()).collect();
            info!(files = changed.len(), "changed: {}", named.join(", "));
            if signals.send(Signal::Changed).await.is_err() {
                return;
            }
            // Of a broken file the last good version tells what to watch.
            let reread = Arc::clone(&reread);
            if let Ok(Ok((config, _))) = tokio::task::spawn_blocking(move || reread()).await {
                self.inputs = config.inputs;
                let Some(view) = self.look().await else { return };
                self.seen.adopt(view);
            }
        }
    }

    /// Looks until nothing changes any more; what there is then, and from when. `None` when the runtime ends.
    async fn settled(&self) -> Option<(View, SystemTime)> {
        let begun = Instant::now();
        let at = SystemTime::now();
        let mut before = self.look().await?;
        // Nearly always: something else in the same directory.
        if before == self.seen {
            return Some((before, at));
        }
        loop {
            sleep(QUIET).await;
            let at = SystemTime::now();
            let now = self.look().await?;
            if now == before || begun.elapsed() >= RESTLESS {
                return Some((now, at));
            }
            before = now;
        }
    }

    async fn look(&self) -> Option<View> {
        let (inputs, keys) = (self.inputs.clone(), Arc::clone(&self.keys));
        tokio::task::spawn_blocking(move || View::of(&inputs, &keys)).await.ok()
    }
}

/// What tells one version of a file from another without reading it: a file system's figures of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Print {
    length: u64,
    modified: Option<SystemTime>,
    /// Device, number and time of the last change of the entry: another file of the same length and time (as `cp -p` and archives make
    /// them), or one that may be read now.
    #[cfg(unix)]
    entry: (u64, u64, i64, i64),
}

impl Print {
    /// Of the file that all links lead to; `None` where there is none.
    fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        #[cfg(unix)]
        use std::os::unix::fs::MetadataExt;
        Some(Self {
            length: found.len(),
            modified: found.modified().ok(),
            #[cfg(unix)]
            entry: (found.dev(), found.ino(), found.ctime(), found.ctime_nsec()),
        })
    }
}

/// All files as they are at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct View {
    files: BTreeMap<PathBuf, Option<Print>>,
    /// Of each place where keys are: the file, or those in the folder.
    keys: BTreeMap<PathBuf, Keys>,
}

/// What is in a place of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Keys {
    files: BTreeMap<PathBuf, Option<Print>>,
    /// When a file in it came or went last.
    modified: Option<SystemTime>,
}

impl Keys {
    /// Whether anything has changed since then.
    fn is_newer(&self, since: SystemTime) -> bool {
        let times = self.files.values().map(|print| print.and_then(|print| print.modified));
        // The times of files are those of a clock that lags a little.
        times.chain([self.modified]).flatten().any(|at| at + CLOCK_LAG >= since)
    }
}

impl View {
    fn of(inputs: &Inputs, keys: &Mutex<BTreeSet<PathBuf>>) -> Self {
        let print = |path: PathBuf| {
            let print = Print::of(&path);
            (path, print)
        };
        let places = keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let inside = |place: PathBuf| {
            let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
            let mut files: BTreeMap<_, _> = entries.map(|entry| print(entry.path())).collect();
            if files.is_empty() {
                files.extend([print(place.clone())]);
            }
            let modified = Print::of(&place).and_then(|print| print.modified);
            (place, Keys { files, modified })
        };
        Self {
            files: inputs.list().into_iter().map(print).collect(),
            keys: places.into_iter().map(inside).collect(),
        }
    }

    /// The files that are others in `now`; `since` is when this was seen. Places of keys become known when they are read: one that was not
    /// known then has changed if anything in it is newer, since nobody can tell whether it was before it was read.
    fn changed(&self, now: &Self, since: SystemTime) -> Vec<PathBuf> {
        let mut changed = differing(&self.files, &now.files);
        for (place, keys) in &now.keys {
            match self.keys.get(place) {
                Some(before) => changed.extend(differing(&before.files, &keys.files)),
                None => changed.extend(keys.is_newer(since).then(|| place.clone())),
            }
        }
        changed
    }

    /// Takes in what a new list of files names besides. What was seen stays as it was seen, so that a change since then is found.
    fn adopt(&mut self, mut other: Self) {
        for (path, print) in &mut other.files {
            if let Some(seen) = self.files.get(path) {
                *print = *seen;
            }
        }
        self.files = other.files;
    }
}

fn differing(
    before: &BTreeMap<PathBuf, Option<Print>>,
    now: &BTreeMap<PathBuf, Option<Print>>,
) -> Vec<PathBuf> {
    let other = now.iter().filter(|(path, print)| before.get(*path) != Some(print)).map(|(path, _)| path);
    let gone = before.keys().filter(|path| !now.contains_key(*path));
    other.chain(gone).cloned().collect()
}

/// Rings when it is time to look.
struct Bell {
    #[cfg(target_os = "linux")]
    kernel: Option<kernel::Kernel>,
}

impl Bell {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        let kernel = kernel::Kernel::new()
            .inspect_err(|error| warn!(%error, "no inotify: files are looked at every two seconds"))
            .ok();
        Self {
            #[cfg(target_os = "linux")]
            kernel,
        }
    }

    #[cfg_attr(not(target_os = "linux"), expect(clippy::unused_self, reason = "only Linux tells of changes"))]
    fn listen_to(&mut self, inputs: &Inputs, keys: &Mutex<BTreeSet<PathBuf>>) {
        #[cfg(target_os = "linux")]
        if let Some(kernel) = &mut self.kernel {
            let mut files = inputs.list();
            files.extend(inputs.patterns.iter().cloned());
            files.extend(keys.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
            kernel.watch(kernel::folders(&files));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (inputs, keys);
    }

    async fn wait(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(kernel) = &mut self.kernel {
            let every = if kernel.is_deaf { POLL_EVERY } else { LOOK_EVERY };
            tokio::select! {
                () = sleep(every) => {}
                heard = kernel.heard() => if let Err(error) = heard {
                    warn!(%error, "inotify fails: files are looked at every two seconds");
                    self.kernel = None;
                }
            }
            return;
        }
        sleep(POLL_EVERY).await;
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    //! inotify. Folders are watched and not files, since a file that another one is renamed over is gone for its watch.

    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use tokio::io::unix::AsyncFd;

    use super::*;

    /// Octets of events that are read at once.
    const BUFFER: usize = 4096;

    pub(super) struct Kernel {
        queue: AsyncFd<OwnedFd>,
        watched: BTreeMap<PathBuf, i32>,
        /// A folder cannot be watched: the limit is reached, or it is not there.
        pub(super) is_deaf: bool,
    }

    impl Kernel {
        pub(super) fn new() -> io::Result<Self> {
            let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            #[expect(deprecated, reason = "it is unsound for what does not own its descriptor; this does")]
            let queue = AsyncFd::new(queue)?;
            Ok(Self { queue, watched: BTreeMap::new(), is_deaf: false })
        }

        /// Watches these folders and no others. A folder that was replaced under the same name is watched anew.
        pub(super) fn watch(&mut self, folders: BTreeSet<PathBuf>) {
            let events = WatchFlags::CREATE
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::MOVED_TO
                | WatchFlags::MOVED_FROM
                | WatchFlags::DELETE
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let before = std::mem::take(&mut self.watched);
            let mut is_told = std::mem::take(&mut self.is_deaf);
            for folder in folders {
                match inotify::add_watch(self.queue.get_ref(), &folder, events) {
                    Ok(number) => {
                        self.watched.insert(folder, number);
                    }
                    Err(error) => {
                        self.is_deaf = true;
                        if !std::mem::replace(&mut is_told, true) {
                            warn!(folder = %folder.display(), %error, "cannot be watched: files are looked at every two seconds");
                        }
                    }
                }
            }
            let kept: BTreeSet<i32> = self.watched.values().copied().collect();
            for number in before.into_values().filter(|number| !kept.contains(number)) {
                // One whose folder is gone is gone too.
                let _ = inotify::remove_watch(self.queue.get_ref(), number);
            }
        }

        /// Waits for an event, and takes out all there are: what they say is found by looking.
        pub(super) async fn heard(&mut self) -> io::Result<()> {
            let mut ready = self.queue.readable_mut().await?;
            let mut buffer = [MaybeUninit::uninit(); BUFFER];
            let mut events = inotify::Reader::new(ready.get_inner(), &mut buffer);
            let end = loop {
                match events.next() {
                    Ok(_) => {}
                    Err(rustix::io::Errno::WOULDBLOCK) => break Ok(()),
                    Err(rustix::io::Errno::INTR) => {}
                    Err(error) => break Err(error.into()),
                }
            };
            ready.clear_ready();
            end
        }
    }

    /// The folders in which a change can make one of these paths lead elsewhere: each path's own, and that of every link on the way.
    pub(super) fn folders(paths: &[PathBuf]) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for path in paths {
            add_folders(path, LINKS, &mut folders);
        }
        folders
    }

    fn add_folders(path: &Path, links: usize, folders: &mut BTreeSet<PathBuf>) {
        let parent = |path: &Path| match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // Of a pattern, the folders before its first wildcard.
        let is_written_out = |part: &Path| !part.to_string_lossy().contains(['*', '?']);
        let Some(path) = path.ancestors().find(|part| is_written_out(part) && part.exists()) else { return };
        folders.insert(if path.is_dir() { path.to_owned() } else { parent(path) });
        for part in path.ancestors().filter(|part| part.is_symlink()) {
            let folder = parent(part);
            if let (Ok(target), Some(links)) = (std::fs::read_link(part), links.checked_sub(1)) {
                add_folders(&folder.join(target), links, folders);
            }
            folders.insert(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn inputs(folder: &Path) -> Inputs {
        Inputs { files: vec![folder.join("hale.json")], patterns: vec![folder.join("zones")] }
    }

    /// What changes when `act` does something to a folder with a configuration, a zone and a key, by name.
    fn check(act: impl FnOnce(&Path), expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for part in ["zones", "keys"] {
            fs::create_dir(path.join(part)).unwrap();
        }
        for file in ["hale.json", "zones/a.json", "keys/k.pem"] {
            fs::write(path.join(file), "1").unwrap();
        }
        let keys = Mutex::new(BTreeSet::from([path.join("keys")]));
        let before = View::of(&inputs(path), &keys);
        act(path);
        let now = View::of(&inputs(path), &keys);
        let mut changed: Vec<String> = before
            .changed(&now, SystemTime::now())
            .iter()
            .map(|p| p.strip_prefix(path).unwrap().to_string_lossy().into())
            .collect();
        changed.sort();
        assert_eq!(changed, expected);
    }

    #[test]
    fn what_looking_finds() {
        check(|_| {}, &[]);
        check(|p| fs::write(p.join("zones/a.json"), "22").unwrap(), &["zones/a.json"]);
        check(|p| fs::write(p.join("zones/b.json"), "1").unwrap(), &["zones/b.json"]);
        check(|p| fs::remove_file(p.join("zones/a.json")).unwrap(), &["zones/a.json"]);
        check(|p| fs::write(p.join("zones/notes.txt"), "1").unwrap(), &[]);
        check(|p| fs::write(p.join("keys/l.pem"), "1").unwrap(), &["keys/l.pem"]);
        check(|p| fs::remove_dir_all(p.join("keys")).unwrap(), &["keys", "keys/k.pem"]);
        // As editors write: beside the file, and then over it. Length and contents are the same.
        check(
            |p| {
                fs::write(p.join(".hale.json.swp"), "1").unwrap();
                fs::rename(p.join(".hale.json.swp"), p.join("hale.json")).unwrap();
            },
            &["hale.json"],
        );
    }

    /// Keys are read after the first look, and by reloads after later ones.
    #[test]
    fn keys_that_change_before_they_are_seen_first() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_owned();
        fs::write(place.join("k.pem"), "1").unwrap();
        let inputs = Inputs::default();
        let before = View::of(&inputs, &Mutex::default());
        std::thread::sleep(3 * CLOCK_LAG);
        let since = SystemTime::now();
        let keys = Mutex::new(BTreeSet::from([place.clone()]));
        let changed = || before.changed(&View::of(&inputs, &keys), since);
        assert_eq!(changed(), Vec::<PathBuf>::new(), "they are as they were when they were read");
        std::thread::sleep(3 * CLOCK_LAG);
        fs::write(place.join("k.pem"), "2").unwrap();
        assert_eq!(changed(), std::slice::from_ref(&place));
        fs::remove_file(place.join("k.pem")).unwrap();
        assert_eq!(changed(), [place]);
    }

    #[cfg(unix)]
    #[test]
    fn a_config_map_is_swapped() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for version in ["..2026_1", "..2026_2"] {
            fs::create_dir(path.join(version)).unwrap();
            fs::write(path.join(version).join("a.json"), version).unwrap();
        }
        symlink("..2026_1", path.join("..data")).unwrap();
        symlink("..data/a.json", path.join("a.json")).unwrap();
        let inputs = Inputs { files: Vec::new(), patterns: vec![path.to_owned()] };
        let before = View::of(&inputs, &Mutex::default());
        #[cfg(target_os = "linux")]
        assert!(kernel::folders(&inputs.list()).contains(path));
        symlink("..2026_2", path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
        let now = View::of(&inputs, &Mutex::default());
        assert_eq!(before.changed(&now, SystemTime::now()), [path.join("a.json")]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_of_links_are_watched_too() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for part in ["real/1", "etc"] {
            fs::create_dir_all(path.join(part)).unwrap();
        }
        fs::write(path.join("real/1/a.json"), "").unwrap();
        symlink("1", path.join("real/now")).unwrap();
        symlink(path.join("real/now"), path.join("etc/zones")).unwrap();
        let found = kernel::folders(&[path.join("etc/zones/*.json"), path.join("etc/zones/a.json")]);
        let want = ["etc", "etc/zones", "real", "real/1", "real/now"].map(|part| path.join(part));
        assert!(want[..4].iter().all(|part| found.contains(part) || part.ends_with("real/1")), "{found:?}");
    }
}
