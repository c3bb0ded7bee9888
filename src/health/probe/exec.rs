//! The exec check: a program of the operator's own ends with exit code 0.
//!
//! The program is started without a shell, in a process group of its own, with a small environment. When its time is over, and when
//! it has ended and left others behind, the whole group is killed.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::Outcome;
use crate::model::check::ExecCheck;

/// So much of what the program writes is kept; the rest is read and thrown away.
const OUTPUT_LIMIT: usize = 4096;
/// So much of it stands in a failure's reason.
const SHOWN: usize = 300;
/// How often the dead of a group are looked for.
const REAP_TRIES: usize = 50;
/// What is passed on of the server's own environment, which may hold secrets.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Runs the program, once fewer than the limit of `running` do. Waiting for that is not the target's fault, so the program always has
/// its full time.
pub(super) async fn probe(
    running: &Limit,
    address: SocketAddr,
    check: &ExecCheck,
    limit: Duration,
) -> Outcome {
    let Ok(permit) = timeout(limit, running.free.acquire()).await else {
        let text = format!("{} programs of exec checks run already (health.exec_in_flight)", running.most);
        return Outcome::LocalError(text.into());
    };
    let outcome = run(address, check, limit).await.unwrap_or_else(|local| local);
    drop(permit);
    outcome
}

/// How many programs may run at once.
#[derive(Debug)]
pub(super) struct Limit {
    free: Semaphore,
    most: usize,
}

impl Limit {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { free: Semaphore::new(most), most }
    }
}

async fn run(address: SocketAddr, check: &ExecCheck, limit: Duration) -> Result<Outcome, Outcome> {
    let local = |what: &str, e: std::io::Error| Outcome::LocalError(format!("{what}: {e}").into());
    // Asked for before the start, so that no end is missed.
    let mut ends = signal(SignalKind::child()).map_err(|e| local("signals", e))?;
    let deadline = Instant::now() + limit;
    let mut child = command(address, check, limit)
        .spawn()
        .map_err(|e| local(&format!("{} cannot be started", check.argv[0]), e))?;
    let mut group = Group::of(&child).ok_or(Outcome::LocalError("the program has no process id".into()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let reading = async { tokio::join!(read(stdout, &mut out), read(stderr, &mut err)) };
        tokio::pin!(reading);
        let mut has_read = false;
        loop {
            if let Some(status) = group.has_ended().map_err(|e| local("waitid", e.into()))? {
                if !has_read {
                    // What it wrote last is in the pipe; one that it left behind may hold the pipe open.
                    let _ = timeout(Duration::from_millis(20), &mut reading).await;
                }
                break Some(status);
            }
            let changed = async {
                tokio::select! {
                    _ = ends.recv() => {}
                    _ = &mut reading, if !has_read => has_read = true,
                }
            };
            if timeout_at(deadline, changed).await.is_err() {
                break None;
            }
        }
    };
    // While the program is not waited for, its number, and so the group's, cannot be another's.
    group.kill();
    // It has ended, or does so now.
    let _ = child.wait().await;
    group.reap_orphans().await;
    Ok(match ended {
        None => Outcome::Failure("timed out".into()),
        Some(status) => judge(&status, if out.is_empty() { &err } else { &out }),
    })
}

fn command(address: SocketAddr, check: &ExecCheck, limit: Duration) -> Command {
    let mut command = Command::new(&check.argv[0]);
    command.args(&check.argv[1..]).env_clear();
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(check.env.iter().map(|(name, value)| (name, value)));
    command.env("HALE_ADDRESS", address.ip().to_string()).env("HALE_NAME", &check.name);
    command.env("HALE_TIMEOUT_MS", limit.as_millis().to_string());
    if address.port() != 0 {
        command.env("HALE_PORT", address.port().to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // `kill_on_drop` alone would leave what the program has started.
    command.process_group(0).kill_on_drop(true);
    command
}

/// Reads to the end and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let room = OUTPUT_LIMIT - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
}

/// The process group of a program that has not been waited for. Killed when dropped: a probe that is aborted leaves nothing behind.
struct Group {
    leader: Pid,
    killed: bool,
}

impl Group {
    fn of(child: &Child) -> Option<Self> {
        let id = i32::try_from(child.id()?).ok()?;
        Some(Self { leader: Pid::from_raw(id)?, killed: false })
    }

    /// How the program ended, if it has. It stays to be waited for.
    fn has_ended(&self) -> rustix::io::Result<Option<WaitIdStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.leader), options)
    }

    /// In a container without an init the killed ones become children of this process, and would stay as zombies.
    async fn reap_orphans(&self) {
        if std::process::id() != 1 {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        for _ in 0..REAP_TRIES {
            match waitid(WaitId::Pgid(Some(self.leader)), options) {
                Ok(Some(_)) => {}
                Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                // ECHILD: nobody of the group is ours.
                Err(_) => return,
            }
        }
    }

    fn kill(&mut self) {
        if !std::mem::replace(&mut self.killed, true) {
            // Nobody left in it is no trouble.
            let _ = kill_process_group(self.leader, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn judge(status: &WaitIdStatus, output: &[u8]) -> Outcome {
    let said = shown(output);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Outcome::Success,
        (Some(code), _) => Outcome::Failure(format!("exit code {code}{said}").into()),
        // Nobody kills a program to say that the target is down: it crashed, or memory ran out.
        (None, Some(signal)) => {
            Outcome::LocalError(format!("the program was killed by signal {signal}{said}").into())
        }
        (None, None) => Outcome::LocalError("the program ended in an unknown way".into()),
    }
}

/// `: ` and the output on one line, if there is any.
fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line: Vec<&str> =
        text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
    let line: String = line.join(" ").chars().take(SHOWN).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
