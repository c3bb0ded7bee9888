use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use super::mailbox::each_record;
use super::*;
use crate::telemetry::counters::Protocol;

const QUERY: &[u8] = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";

fn logged<'a>(query: &'a [u8], response: &'a [u8]) -> Logged<'a> {
    Logged {
        protocol: Protocol::Udp,
        fate: Fate::Answered,
        rcode: 0,
        client: "192.0.2.1:5353".parse().unwrap(),
        server: Some("[2001:db8::53]:53".parse().unwrap()),
        zone_octets: 0,
        query,
        response,
    }
}

fn output(sample: u32, buffer_octets: usize) -> Arc<Output> {
    Arc::new(Output::new("test", sample, buffer_octets))
}

fn tap_of(output: &Arc<Output>) -> Tap {
    let all = Outputs::default();
    all.replace(vec![Arc::clone(output)]);
    Tap::new(Arc::new(all))
}

/// How many records an output's mailboxes hold.
fn held(output: &Output) -> u64 {
    let mut count = 0;
    for mailbox in lock(&output.mailboxes).iter() {
        let mut buffer = Vec::with_capacity(output.buffer_octets);
        mailbox.take(&mut buffer);
        each_record(&buffer, |_, _| {
            count += 1;
            Ok::<(), ()>(())
        })
        .unwrap();
    }
    count
}

#[test]
fn a_record_comes_out_as_it_went_in() {
    let output = output(1, 1 << 16);
    let mut tap = tap_of(&output);
    let records = [
        logged(QUERY, b"response"),
        Logged {
            protocol: Protocol::Tcp,
            rcode: 4095,
            zone_octets: 255,
            client: "[2001:db8::1]:1".parse().unwrap(),
            ..logged(b"", b"")
        },
        Logged { fate: Fate::FairShare, server: None, ..logged(&[7; 300], b"") },
    ];
    for batch in [&records[..2], &records[2..]] {
        tap.begin();
        batch.iter().for_each(|record| tap.record(record));
        tap.end(Duration::from_nanos(batch.len() as u64));
    }
    let mut buffer = Vec::with_capacity(1 << 16);
    lock(&output.mailboxes)[0].take(&mut buffer);
    let mut seen = 0;
    each_record(&buffer, |time, logged| {
        assert_eq!(*logged, records[seen]);
        assert_eq!(time.took.as_nanos(), if seen < 2 { 2 } else { 1 });
        assert!(time.received > Duration::from_secs(1_700_000_000));
        seen += 1;
        Ok::<(), ()>(())
    })
    .unwrap();
    assert_eq!(seen, 3);
    // Whatever is cut off or wrong, nothing is read that is not there.
    for end in 0..buffer.len() {
        assert!(each_record(&buffer[..end], |_, _| Ok::<(), ()>(())).is_ok());
    }
}

#[test]
fn what_is_not_taken_is_counted_and_nobody_waits() {
    let output = output(1, 1 << 16);
    let mut tap = tap_of(&output);
    let mailbox = Arc::clone(&lock(&output.mailboxes)[0]);
    let busy = Instant::now();
    for _ in 0..10_000 {
        tap.begin();
        tap.record(&logged(QUERY, &[0; 100]));
        tap.end(Duration::ZERO);
    }
    // A lock that somebody holds is not waited for either: this would never end.
    {
        let mut other = Vec::new();
        std::thread::scope(|scope| {
            mailbox.take(&mut other);
            scope.spawn(|| {
                tap.idle();
                tap.record(&logged(QUERY, &[0; 100]));
            });
        });
    }
    assert!(busy.elapsed() < Duration::from_secs(5), "{:?}", busy.elapsed());
    assert!(output.left_out() > 9_000, "{}", output.left_out());
    assert!(held(&output) < 1_000);
}

#[test]
fn one_in_so_many_is_drawn() {
    for (sample, least, most) in [(1, 100_000, 100_000), (10, 9_000, 11_000), (1000, 40, 180)] {
        let output = output(sample, 64 << 20);
        let mut tap = tap_of(&output);
        for _ in 0..1000 {
            tap.begin();
            (0..100).for_each(|_| tap.record(&logged(QUERY, b"")));
            tap.end(Duration::ZERO);
        }
        let held = held(&output);
        assert!((least..=most).contains(&held), "1 in {sample}: {held}");
    }
}

fn settings() -> Settings {
    Settings { dnstap: None, json: None, buffer_octets: 1 << 16 }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn record(log: &QueryLog, count: usize) {
    let mut tap = log.tap();
    tap.begin();
    (0..count).for_each(|_| tap.record(&logged(QUERY, &[0; 12])));
    tap.end(Duration::from_micros(10));
}

#[test]
fn a_file_that_was_renamed_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("queries.jsonl"), folder.path().join("old"));
    // A line that a full disk has cut.
    std::fs::write(&file, "{\"time").unwrap();
    let json = JsonSettings { file: file.clone(), sample: 1 };
    let log = QueryLog::start(&Settings { json: Some(json), ..settings() }).unwrap();
    record(&log, 3);
    until("three lines", || log.outputs.current()[0].written.load(Relaxed) == 3);
    std::fs::rename(&file, &old).unwrap();
    log.reopen();
    until("it is there again", || file.exists());
    record(&log, 2);
    log.stop();
    let lines = |file| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(&old), lines(&file));
    assert_eq!((before.len(), after.len()), (4, 2), "{before:?} {after:?}");
    assert!(before[1..].iter().chain(&after).all(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["name"] == "test." && line["server"] == "[2001:db8::53]:53"
    }));
}

#[test]
fn other_outputs_count_while_it_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let to = |name: &str, buffer_octets| Settings {
        json: Some(JsonSettings { file: file(name), sample: 1 }),
        buffer_octets,
        ..settings()
    };
    let log = QueryLog::start(&settings()).unwrap();
    let (over, batches) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut tap = log.tap();
    assert!(!tap.is_open());
    let recording = |tap: &mut Tap| {
        while !over.load(Relaxed) {
            tap.begin();
            tap.record(&logged(QUERY, &[0; 12]));
            tap.end(Duration::ZERO);
            tap.idle();
            batches.fetch_add(u64::from(tap.is_open()), Relaxed);
            std::thread::sleep(Duration::from_micros(200));
        }
    };
    let lines = |name: &str| {
        let text = std::fs::read_to_string(file(name)).unwrap();
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
        text.lines().count() as u64
    };
    std::thread::scope(|scope| {
        scope.spawn(|| recording(&mut tap));
        // Of one and the same file no line is torn or lost, whoever writes it.
        for (name, buffer) in [("a", 1 << 16), ("a", 1 << 17), ("b", 1 << 16), ("a", 1 << 16)] {
            log.change(&to(name, buffer)).unwrap();
            let before = batches.load(Relaxed);
            until("some batches", || batches.load(Relaxed) > before + 50);
        }
        let wrong = log.change(&to("missing/file", 1 << 16)).unwrap_err().to_string();
        assert!(wrong.contains("missing/file"), "{wrong}");
        let before = batches.load(Relaxed);
        until("it goes on", || batches.load(Relaxed) > before + 50);
        log.change(&settings()).unwrap();
        over.store(true, Relaxed);
    });
    log.stop();
    assert!(lines("b") >= 50);
    assert_eq!(lines("a") + lines("b"), batches.load(Relaxed), "each query is a line");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_at_start_and_counted_later() {
    let folder = tempfile::tempdir().unwrap();
    let json = JsonSettings { file: folder.path().join("missing/file"), sample: 1 };
    let wrong = QueryLog::start(&Settings { json: Some(json), ..settings() }).unwrap_err().to_string();
    assert!(wrong.contains("missing/file"), "{wrong}");
    if cfg!(target_os = "linux") {
        let json = JsonSettings { file: "/dev/full".into(), sample: 1 };
        let log = QueryLog::start(&Settings { json: Some(json), ..settings() }).unwrap();
        record(&log, 1);
        until("a failure", || log.outputs.current()[0].failures.load(Relaxed) > 0);
        log.stop();
    }
}

/// A reader of dnstap: shakes hands, and gives the frames until the connection ends.
fn read_frames(listener: &UnixListener, most: usize) -> Vec<Vec<u8>> {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut ready = [0; 42];
    stream.read_exact(&mut ready).unwrap();
    assert_eq!(ready[..12], [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 4]);
    stream.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x01").unwrap();
    stream.read_exact(&mut ready).unwrap();
    assert_eq!(ready[11], 2, "START");
    let mut frames = Vec::new();
    while frames.len() < most {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        if length == [0; 4] {
            let mut stop = [0; 8];
            stream.read_exact(&mut stop).unwrap();
            assert_eq!(stop, [0, 0, 0, 4, 0, 0, 0, 3], "STOP");
            stream.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x05").unwrap();
            break;
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut frame).unwrap();
        frames.push(frame);
    }
    frames
}

#[test]
fn a_reader_that_comes_late_and_goes_is_sent_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dnstap.sock");
    let dnstap = DnstapSettings {
        socket: socket.clone(),
        queries: true,
        responses: true,
        responses_with_queries: false,
        identity: "ns1".to_owned(),
        sample: 1,
    };
    let log = QueryLog::start(&Settings { dnstap: Some(dnstap), ..settings() }).unwrap();
    // Nobody listens yet: it is kept.
    record(&log, 2);
    until("a failed try", || log.outputs.current()[0].failures.load(Relaxed) > 0);
    let listener = UnixListener::bind(&socket).unwrap();
    let frames = read_frames(&listener, 4);
    // Identity, version, then the message and its type.
    let start =
        [b"\x0a\x03ns1\x12".as_slice(), &[5 + env!("CARGO_PKG_VERSION").len() as u8], b"hale "].concat();
    assert!(frames.iter().all(|frame| frame.starts_with(&start) && frame.ends_with(&[0x78, 1])));
    let has = |frame: &[u8], part: &[u8]| frame.windows(part.len()).any(|window| window == part);
    assert!(has(&frames[0], QUERY) && !has(&frames[1], QUERY));
    // It has gone; that is seen without writing, and a new one is sent the rest, to the orderly end.
    until("its going is seen", || !log.outputs.current()[0].is_up.load(Relaxed));
    let reading = std::thread::spawn(move || read_frames(&listener, usize::MAX));
    until("a new connection", || log.outputs.current()[0].is_up.load(Relaxed));
    record(&log, 1);
    log.stop();
    assert_eq!(reading.join().unwrap().len(), 2);
}

#[test]
fn a_reader_that_takes_nothing_is_left_and_costs_no_worker_anything() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dnstap.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let dnstap = DnstapSettings {
        socket,
        queries: true,
        responses: true,
        responses_with_queries: true,
        identity: String::new(),
        sample: 1,
    };
    let log = QueryLog::start(&Settings { dnstap: Some(dnstap), ..settings() }).unwrap();
    let stuck = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut ready = [0; 42];
        stream.read_exact(&mut ready).unwrap();
        stream.write_all(b"\0\0\0\0\0\0\0\x04\0\0\0\x01").unwrap();
        (stream, listener)
    });
    until("connected", || log.outputs.current()[0].is_up.load(Relaxed));
    let kept = stuck.join().unwrap();
    let mut tap = log.tap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut slowest = Duration::ZERO;
    while log.outputs.current()[0].failures.load(Relaxed) == 0 {
        assert!(Instant::now() < deadline, "the reader is not left");
        let began = Instant::now();
        tap.begin();
        tap.record(&logged(QUERY, &[0; 1000]));
        tap.end(Duration::ZERO);
        slowest = slowest.max(began.elapsed());
        std::thread::sleep(Duration::from_micros(100));
    }
    // A second would be the writer's patience; what a busy machine takes is far less.
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(log.outputs.current()[0].left_out() > 0);
    drop(kept);
    log.stop();
}
