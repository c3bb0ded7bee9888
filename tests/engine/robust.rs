//! What must hold for any response size and any octets.

use std::collections::BTreeMap;

use hickory_proto::op::Message;

use crate::message::{Decoded, ask, ask_with, decode, opt, query, settings};
use crate::zone::snapshot;
use hale::answer::{Scratch, Transport};
use hale::model::name::Name;
use hale::model::rrtype::RrType;
use hale::snapshot::Snapshot;

/// A zone with everything: large RRsets, cuts with much glue, DNAME, wildcards, chains, health's marks.
fn zone(is_signed: bool) -> Snapshot {
    let mut text = "
        @        SOA ns1 h 1 2 3 4 60
        @        NS ns1
        @        NS ns2
        @        MX 10 mail
        ns1      A 192.0.2.53
        ns2      AAAA 2001:db8::53
        mail     A 192.0.2.25
        www      A 192.0.2.1
        www      A 192.0.2.2
        !rotate  www A
        *.w      A 192.0.2.3
        *.w      TXT \"wild\"
        *.cw     CNAME www
        alias    CNAME x.w
        chain    CNAME a.dn
        dn       DNAME w
        out      CNAME www.other.example.
        x.y.ent  A 192.0.2.4
        !pending wait A
        wait     AAAA 2001:db8::4
        !withheld down A
        down     AAAA 2001:db8::5
        stale    A 192.0.2.6
        !stale   stale A
        svc      HTTPS 1 . alpn=h2
        svc      A 192.0.2.7
    "
    .to_owned();
    for i in 0..40 {
        text.push_str(&format!("big TXT \"{i} {}\"\n", "x".repeat(20)));
        text.push_str(&format!(
            "del NS ns{i}.del\n ns{i}.del A 192.0.2.{i}\n ns{i}.del AAAA 2001:db8::{i}\n"
        ));
        text.push_str(&format!("mx MX {i} m{i}\n m{i} A 198.51.100.{i}\n"));
    }
    text.push_str("del DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123\n");
    let other = "@ SOA ns1.test. h 1 2 3 4 60\n @ NS ns1.test.\n www A 203.0.113.1\n back CNAME chain.test.";
    snapshot(&[("test", &text), ("other.example", other), ("broken.example", "broken")], is_signed)
}

const NAMES: [&str; 22] = [
    "test",
    "www.test",
    "none.test",
    "a.b.none.test",
    "x.w.test",
    "y.x.w.test",
    "x.cw.test",
    "alias.test",
    "chain.test",
    "q.dn.test",
    "out.test",
    "ent.test",
    "y.ent.test",
    "wait.test",
    "down.test",
    "stale.test",
    "svc.test",
    "big.test",
    "a.del.test",
    "del.test",
    "mx.test",
    "back.other.example",
];
const TYPES: [&str; 14] = [
    "A", "AAAA", "TXT", "MX", "NS", "SOA", "DS", "CNAME", "DNAME", "HTTPS", "ANY", "RRSIG", "NSEC", "DNSKEY",
];

/// How many records each RRset has in a section; RRSIGs count with what they cover.
fn sets(decoded: &Decoded) -> BTreeMap<(&'static str, Name, RrType), usize> {
    let mut sets = BTreeMap::new();
    for record in &decoded.records {
        *sets.entry((record.section, record.owner.clone(), record.covered())).or_default() += 1;
    }
    sets
}

#[test]
fn truncates_between_rrsets_and_keeps_opt() {
    for is_signed in [false, true] {
        let snapshot = zone(is_signed);
        for (name, rtype) in NAMES.iter().flat_map(|n| TYPES.map(|t| (n, t))) {
            let text = format!("{name} {rtype} do");
            let full = decode(&ask(&snapshot, &query(&text), Transport::Tcp).unwrap().1);
            assert_eq!(full.flags & 0x200, 0, "{text}");
            let full_sets = sets(&full);
            let full_len = ask(&snapshot, &query(&text), Transport::Tcp).unwrap().0.len;
            for size in (512..=1232).step_by(if full_len < 512 { 720 } else { 7 }) {
                let message = query(&format!("{text} size={size}"));
                let (reply, response) = ask(&snapshot, &message, Transport::Udp).unwrap();
                assert!(response.len() <= size, "{text} {size}");
                let decoded = decode(&response);
                assert!(decoded.opt.is_some(), "{text} {size}");
                let mut lost = full_sets.clone();
                for (set, count) in sets(&decoded) {
                    assert_eq!(lost.remove(&set), Some(count), "{text} {size} {set:?} is whole");
                }
                // Only addresses that are no glue may be missing without TC.
                let essential = lost.keys().any(|(section, ..)| *section != "ar");
                let glue = lost.keys().any(|(.., owner, _)| owner.to_string().contains(".del."));
                assert_eq!(reply.class.truncated, essential || glue, "{text} {size}");
            }
        }
    }
}

/// xorshift64*, so that a failure is found again by its seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// A sound query, then a few octets changed, cut or added.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut message = query(&format!("{} {}", random.pick(&NAMES), random.pick(&TYPES)));
    if random.below(3) > 0 {
        message[11] = 1;
        let sizes = [0u16, 512, 700, 1232, 65_535];
        let options: [&[u8]; 6] = [
            b"",
            b"\0\x03\0\0",
            b"\0\x0a\0\x08clientck",
            b"\0\x0b\0\0",
            b"\0\x0a\0\x03abc",
            b"\0\x03\0\x05x",
        ];
        let size = sizes[random.below(sizes.len())];
        let version = u8::from(random.below(8) == 0);
        message.extend(opt(size, version, random.below(2) == 0, random.pick(&options)));
    }
    for _ in 0..random.below(4) {
        let at = random.below(message.len());
        match random.below(4) {
            0 => message[at] = random.next() as u8,
            1 => message[at] ^= 1 << random.below(8),
            2 => message.truncate(at),
            _ => message.insert(at, random.next() as u8),
        }
        if message.is_empty() {
            break;
        }
    }
    message
}

#[test]
fn survives_any_octets() {
    let number = |variable| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = if number("HALE_LONG").is_some_and(|on| on > 0) { 1_000_000 } else { 50_000 };
    let seed = number("HALE_SEED").unwrap_or(0x5eed);
    let snapshots = [zone(false), zone(true)];
    let mut scratch = Scratch::new(settings());
    let mut random = Random(seed | 1);
    let mut answered = 0;
    for case in 0..cases {
        let message = if case % 4 == 0 {
            (0..random.below(80)).map(|_| random.next() as u8).collect()
        } else {
            mutated(&mut random)
        };
        let transport = if case % 5 == 0 { Transport::Tcp } else { Transport::Udp };
        let snapshot = &snapshots[(case % 2) as usize];
        let Some((reply, response)) = ask_with(snapshot, &mut scratch, &message, transport) else {
            assert!(message.len() < 12 || message[2] & 0x80 != 0, "seed {seed} case {case}: dropped");
            continue;
        };
        answered += 1;
        assert_eq!(response[..2], message[..2], "seed {seed} case {case}");
        let decoded = decode(&response);
        assert_eq!(decoded.rcode(), reply.class.rcode, "seed {seed} case {case}");
        let parsed = Message::from_vec(&response);
        assert!(parsed.is_ok(), "seed {seed} case {case}: {parsed:?} of {message:02x?}");
        // Our own errors sent back to us end there (CVE-2024-2169).
        assert_eq!(ask(snapshot, &response, transport), None);
    }
    assert!(answered > cases / 2, "most cases get an answer");
}
