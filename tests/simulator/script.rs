//! What probes find: each target is well, ill, flapping or slow for a while, sites fail together, and now and then everything does.

use std::net::IpAddr;

use hale::health::probe::Outcome;

use super::support::random::Random;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Ill,
    Flapping,
    Slow,
    Unreachable,
    OurFault,
}

struct Life {
    random: Random,
    mood: Mood,
    until_ms: u64,
}

pub(super) struct Script {
    lives: Vec<Life>,
    /// When a site, or everything (the last one), fails: from and to.
    outages: [(u64, u64); 4],
    random: Random,
}

impl Script {
    pub(super) fn new(random: Random) -> Self {
        Self { lives: Vec::new(), outages: [(u64::MAX, 0); 4], random }
    }

    /// What a probe finds that starts now, and for how many milliseconds it takes.
    pub(super) fn probe(&mut self, now_ms: u64, number: usize, address: IpAddr) -> (Outcome, u64) {
        let site = usize::from(match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15],
        }) % 3;
        let is_out = self.is_out(now_ms, site) | self.is_out(now_ms, 3);
        let life = self.life(number);
        if now_ms >= life.until_ms {
            let (mood, minutes) = match life.random.below(20) {
                0..9 => (Mood::Well, 120),
                9..12 => (Mood::Ill, 30),
                12..15 => (Mood::Flapping, 8),
                15..17 => (Mood::Slow, 5),
                17..19 => (Mood::Unreachable, 3),
                _ => (Mood::OurFault, 3),
            };
            life.mood = mood;
            life.until_ms = now_ms + 5_000 + life.random.next() % (minutes * MINUTE);
        }
        let failure = || Outcome::Failure("connection refused".into());
        let quick = 1 + life.random.next() % 40;
        match life.mood {
            _ if is_out => (failure(), quick),
            Mood::Well => (Outcome::Success, quick),
            Mood::Ill => (failure(), quick),
            Mood::Flapping if life.random.percent(50) => (failure(), quick),
            Mood::Flapping => (Outcome::Success, quick),
            Mood::Slow => (Outcome::Success, 400 + life.random.next() % 300),
            Mood::Unreachable => (Outcome::HostUnreachable, 1900),
            Mood::OurFault => (Outcome::LocalError("no descriptor".into()), 0),
        }
    }

    fn is_out(&mut self, now_ms: u64, which: usize) -> bool {
        let (from, to) = &mut self.outages[which];
        if *from == u64::MAX || now_ms >= *to {
            let every = if which == 3 { 6 * HOUR } else { 3 * HOUR };
            *from = now_ms + self.random.next() % every;
            *to = *from + MINUTE / 2 + self.random.next() % (10 * MINUTE);
        }
        (*from..*to).contains(&now_ms)
    }

    fn life(&mut self, number: usize) -> &mut Life {
        while self.lives.len() <= number {
            let random = Random::new(self.random.next());
            self.lives.push(Life { random, mood: Mood::Well, until_ms: 0 });
        }
        &mut self.lives[number]
    }
}
