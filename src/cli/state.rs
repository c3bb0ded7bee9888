//! `hale state`: backups of the state directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::outcome::{Failure, Outcome};
use super::place::Place;
use super::server::{ServerArgs, variable};
use super::terminal::{self, plural};
use crate::app;

#[derive(Subcommand, Debug)]
pub(super) enum StateCommand {
    /// Write the state directory into a file, keys included (mode 0600): consistent also while the server runs
    Backup(BackupArgs),
    /// Fill a new state directory from a backup; no server may run on it
    Restore(RestoreArgs),
}

#[derive(clap::Args, Debug)]
pub(super) struct BackupArgs {
    /// File to write, which is replaced only by a complete backup; `-` for standard output
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct RestoreArgs {
    /// The backup
    file: PathBuf,
    /// State directory to fill: one that is empty, or not there yet [env: HALE_STATE]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(super) fn run(command: &StateCommand) -> Outcome {
    match command {
        StateCommand::Backup(args) => backup(args),
        StateCommand::Restore(args) => restore(args),
    }
}

fn backup(args: &BackupArgs) -> Outcome {
    if args.file == Path::new("-") {
        return write(args, &mut io::stdout().lock());
    }
    let mut partial = args.file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let failed = |error: io::Error| Failure::running(format!("{}: {error}", args.file.display()));
    let result = create(&partial).map_err(failed).and_then(|mut out| {
        write(args, &mut out)?;
        out.sync_all().map_err(failed)
    });
    let result = result.and_then(|()| std::fs::rename(&partial, &args.file).map_err(failed));
    if result.is_err() {
        // It may not exist; the error that is reported is the one that matters.
        let _ = std::fs::remove_file(&partial);
    }
    result
}

/// A new file of our own. Keys go into it: never into a file or link that somebody else has put there, nor with the mode of such a file.
fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Asks the server; where none runs on a local state directory, reads that under its lock.
fn write(args: &BackupArgs, out: &mut impl Write) -> Outcome {
    let client = args.server.client()?;
    if let Place::Unix(socket) = &client.place
        && std::os::unix::net::UnixStream::connect(socket).is_err()
        && let Some(directory) = socket.parent()
    {
        let written = app::backup_stopped(directory, out);
        return written.map(drop).map_err(|error| Failure::Diagnostic(Box::new(error)));
    }
    let mut body = client.request("POST", "/api/v1/state/backup", "")?;
    let copied = io::copy(&mut body, out).and_then(|_| out.flush());
    copied.map_err(|error| client.broke_off(&error).hint("what was written is not a whole backup"))
}

fn restore(args: &RestoreArgs) -> Outcome {
    let state = args.state.clone().or_else(|| variable("HALE_STATE").map(PathBuf::from));
    let state =
        state.ok_or_else(|| Failure::usage("say which state directory to fill").hint("--state DIR"))?;
    let mut archive = File::open(&args.file)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.file.display())))?;
    let files = app::restore(&mut archive, &state).map_err(|error| Failure::Diagnostic(Box::new(error)))?;
    terminal::print(&format!("{} restored to {}\n", plural(files as u64, "file"), state.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn keys_are_not_written_where_somebody_else_points() {
        let folder = tempfile::tempdir().unwrap();
        let (other, partial) = (folder.path().join("other"), folder.path().join("backup.partial"));
        std::fs::write(&other, "theirs").unwrap();
        for prepare in [
            &(|| symlink(&other, &partial).unwrap()) as &dyn Fn(),
            &|| std::fs::write(&partial, "readable by all").unwrap(),
            &|| {},
        ] {
            prepare();
            create(&partial).unwrap().write_all(b"keys").unwrap();
            assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
            assert_eq!(std::fs::read(&partial).unwrap(), b"keys");
            assert_eq!(std::fs::symlink_metadata(&partial).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::remove_file(&partial).unwrap();
        }
    }
}
