//! Programs that end well, badly, late, loudly, or not at all. `sh` stands for a program here; Hale itself starts no shell.

use std::sync::Arc;

use super::*;

fn exec(argv: &[&str]) -> ExecCheck {
    ExecCheck {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("MORE".into(), "more".into())],
        name: "www.example.test".into(),
    }
}

fn address() -> SocketAddr {
    "192.0.2.1:8080".parse().unwrap()
}

async fn run_for(argv: &[&str], limit: Duration) -> Outcome {
    let limit_of_runs = Limit::new(4);
    let check = exec(argv);
    let probe = probe(&limit_of_runs, address(), &check, limit);
    timeout(Duration::from_secs(20), probe).await.unwrap()
}

async fn check(script: &str, want: &str) {
    let found = match run_for(&["sh", "-c", script], Duration::from_secs(10)).await {
        Outcome::Success => "success".to_owned(),
        Outcome::Failure(why) => format!("failure: {why}"),
        Outcome::LocalError(why) => format!("local: {why}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(found, want, "{script}");
}

#[tokio::test]
async fn the_exit_code_decides_and_the_output_explains() {
    check("exit 0", "success").await;
    check("echo fine; exit 0", "success").await;
    check("echo 'too\tslow'; echo and more >&2; exit 2", "failure: exit code 2: too slow").await;
    check("echo trouble >&2; exit 1", "failure: exit code 1: trouble").await;
    check("exit 1", "failure: exit code 1").await;
    check("kill -9 $$", "local: the program was killed by signal 9").await;
    check("test \"$HALE_ADDRESS,$HALE_PORT,$HALE_NAME,$HALE_TIMEOUT_MS,$MORE\" = 192.0.2.1,8080,www.example.test,10000,more", "success").await;
    // Nothing of the server's environment but what a program needs (`sh` itself adds some).
    check("test -z \"$CARGO_MANIFEST_DIR\" && test -n \"$PATH\"", "success").await;
    check("read line; test $? = 1", "success").await;
}

#[tokio::test]
async fn output_without_end_is_bounded() {
    let outcome = run_for(&["sh", "-c", "yes | head -c 3000000; exit 1"], Duration::from_secs(10)).await;
    let Outcome::Failure(why) = outcome else { panic!("{outcome:?}") };
    assert!(why.starts_with("exit code 1: y y") && why.len() < 400, "{}", why.len());
}

#[tokio::test]
async fn a_program_that_cannot_be_started_says_nothing_of_the_target() {
    for program in ["hale-no-such-program", "/dev/null", "/"] {
        let outcome = run_for(&[program], Duration::from_secs(10)).await;
        let Outcome::LocalError(why) = outcome else { panic!("{program}: {outcome:?}") };
        assert!(why.starts_with(&format!("{program} cannot be started: ")), "{why}");
    }
}

/// Whether a process with this number exists and is no zombie.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z'))
}

async fn gone(pid: &str) -> bool {
    for _ in 0..200 {
        if !lives(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn nothing_survives_the_timeout_the_end_or_an_abort() {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let script = |name: &str, rest: &str| {
        let file = folder.path().join(name);
        format!("trap '' TERM; sleep 300 & echo $! > {0}.tmp; mv {0}.tmp {0}; {rest}", file.display())
    };
    let late = run_for(&["sh", "-c", &script("late", "wait")], Duration::from_millis(500)).await;
    assert_eq!(late, Outcome::Failure("timed out".into()));
    assert!(gone(written("late").trim()).await, "the timeout kills the group");

    let started = Instant::now();
    assert_eq!(
        run_for(&["sh", "-c", &script("left", "exit 0")], Duration::from_secs(10)).await,
        Outcome::Success
    );
    assert!(started.elapsed() < Duration::from_secs(5), "what holds the pipe open is not waited for");
    assert!(gone(written("left").trim()).await, "what is left behind is killed");

    let argv = script("aborted", "wait");
    let task = tokio::spawn(async move { run_for(&["sh", "-c", &argv], Duration::from_secs(10)).await });
    while written("aborted").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    task.abort();
    assert!(gone(written("aborted").trim()).await, "an abort kills the group");
}

#[tokio::test]
async fn waiting_for_other_programs_is_not_the_targets_fault() {
    let running = Arc::new(Limit::new(1));
    let first = {
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            probe(&running, address(), &exec(&["sleep", "1"]), Duration::from_secs(5)).await
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let hasty = probe(&running, address(), &exec(&["true"]), Duration::from_millis(100)).await;
    let Outcome::LocalError(why) = hasty else { panic!("{hasty:?}") };
    assert!(why.contains("1 programs") && why.contains("exec_in_flight"), "{why}");
    // It waits for most of its time, and then has all of it.
    assert_eq!(
        probe(&running, address(), &exec(&["sleep", "0.7"]), Duration::from_millis(900)).await,
        Outcome::Success
    );
    assert_eq!(first.await.unwrap(), Outcome::Success);
}
