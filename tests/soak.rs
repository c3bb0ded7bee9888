//! 200 targets that flap at random while queries go on: every answer is a state that the backends had just then, it validates, and the
//! serial never goes back. A minute with `HALE_LONG=1`, else a few seconds.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use support::backends::Backends;
use support::client::{Client, Via};
use support::fixture::APEX;
use support::hale::Setup;
use support::random::Random;
use support::verify::{dnskeys, now_s, verify_section};
use support::wire::{QueryBuilder, rtype};

const TARGETS: usize = 200;
/// A probe starts every 200 ms, and the machine may be busy: an answer is right if the backend had this state so recently.
const LAG: Duration = Duration::from_secs(3);

#[test]
fn answers_follow_flapping_backends_and_validate() {
    let seed = support::seed("soak");
    let mut random = Random::new(seed);
    let backends = Backends::start(TARGETS);
    let config =
        r#"{ "health": { "brake": { "down_percent": 100 }, "probes_per_second_per_address": 100000 } }"#;
    let hale = Setup::new("soak").config(config).zone("zone.json", &zone(&backends)).start();
    let mut client = Client::new(hale.address);
    let keys = dnskeys(&mut client, APEX);
    let started = Instant::now();
    let length = Duration::from_secs(if support::long() { 60 } else { 6 });
    // When each backend took which state, the newest last.
    let mut history: Vec<VecDeque<(Instant, bool)>> = vec![VecDeque::from([(started, true)]); TARGETS];
    let (mut queries, mut flips, mut serial, mut partial) = (0u64, 0u64, None, 0u64);
    let mut next_flip = started;
    while started.elapsed() < length {
        if Instant::now() >= next_flip {
            let number = random.below(TARGETS);
            let up = !history[number].back().unwrap().1;
            backends.set(number, up);
            history[number].push_back((Instant::now(), up));
            flips += 1;
            next_flip = Instant::now() + Duration::from_millis(random.below(40) as u64);
        }
        let number = random.below(TARGETS);
        let via = if random.percent(10) { Via::Tcp } else { Via::Udp };
        let query = QueryBuilder::new(&format!("host{number}.{APEX}"), rtype::A).edns(1232, true);
        let asked = Instant::now();
        let answer = client.ask(&query, via).unwrap();
        let mut last: Vec<u8> = answer.answers(rtype::A).map(|record| record.rdata[1]).collect();
        last.sort_unstable();
        let up = match &last[..] {
            [0, 1] => true,
            [1] => false,
            other => panic!("host{number}: {other:?} is neither state: {answer:#?}"),
        };
        partial += u64::from(!up);
        assert!(
            had(&history[number], up, asked),
            "seed {seed}: host{number} answers up={up} at {asked:?}: {:?}",
            history[number]
        );
        verify_section(&answer.answer, &keys, now_s()).unwrap();
        queries += 1;
        if queries.is_multiple_of(10) {
            let soa = client.ask(&QueryBuilder::new(APEX, rtype::SOA).edns(1232, true), Via::Udp).unwrap();
            verify_section(&soa.answer, &keys, now_s()).unwrap();
            let now = soa.answers(rtype::SOA).next().unwrap().soa_serial();
            let before = serial.replace(now).unwrap_or(now);
            assert!(now.wrapping_sub(before) < 1 << 31, "the serial went from {before} to {now}");
        }
    }
    eprintln!(
        "{queries} queries, {flips} flips, {partial} answers without the checked address, serial {serial:?}"
    );
    assert!(partial > 0 && flips > 50, "nothing flapped");
}

/// Whether a backend had this state at some moment of the last [`LAG`].
fn had(history: &VecDeque<(Instant, bool)>, up: bool, asked: Instant) -> bool {
    let window = asked.checked_sub(LAG).unwrap_or(asked);
    let mut end = None;
    for (since, state) in history.iter().rev() {
        let still = end.is_none_or(|end: Instant| end >= window);
        if *state == up && still {
            return true;
        }
        end = Some(*since);
    }
    false
}

/// A name a target: one address that is checked, one that is not.
fn zone(backends: &Backends) -> String {
    let mut records = String::new();
    for number in 0..TARGETS {
        write!(
            records,
            r#", "host{number}": {{ "ttl": 1, "A": [
                {{ "address": "10.0.0.{number}", "probe": "127.0.0.1", "check": {{ "http": {{ "path": "/{number}", "port": {} }},
                   "interval": "200ms", "timeout": "200ms", "rise": 1, "fall": 1 }} }}, "10.1.0.{number}"] }}"#,
            backends.address.port()
        )
        .unwrap();
    }
    format!(
        r#"{{ "zone": "{APEX}", "nameservers": ["ns1.{APEX}"], "dnssec": {{ "keys": "auto" }},
            "records": {{ "ns1": {{ "A": ["192.0.2.53"] }}{records} }} }}"#
    )
}
