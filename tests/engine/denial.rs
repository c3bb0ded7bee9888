//! Negative answers: RFC 2308, and their proofs by RFC 4035 §3.1.3.

use crate::zone::snapshot;
use crate::{check, message};
use hale::answer::Transport;
use hale::model::rrtype::RrType;

const ZONE: &str = "
    @          3600 SOA ns1 h 1 2 3 4 60
    @          NS ns1
    ns1        A 192.0.2.53
    a          A 192.0.2.1
    x.y.ent    A 192.0.2.2
    *.w        A 192.0.2.3
    z          A 192.0.2.4
    !pending   wait AAAA
    wait       A 192.0.2.5
    !withheld  down A
    down       AAAA 2001:db8::1
    !withheld  empty A
";

#[test]
fn names_the_soa_with_the_negative_ttl() {
    let snapshot = snapshot(&[("test", ZONE)], true);
    for (query, ttl) in [("none.test A do", 60), ("a.test TXT do", 60), ("test SOA do", 3600)] {
        let (_, response) = message::ask(&snapshot, &message::query(query), Transport::Udp).unwrap();
        for record in message::decode(&response).records.iter().filter(|r| r.covered() == RrType::SOA) {
            assert_eq!(record.ttl, ttl, "{query}");
        }
    }
}

#[test]
fn denies_without_dnssec() {
    check(
        &snapshot(&[("test", ZONE)], true),
        &[
            (
                "none.test A",
                "NXDOMAIN aa
                ns test. SOA",
            ),
            (
                "a.b.c.d.none.test A",
                "NXDOMAIN aa
                ns test. SOA",
            ),
            (
                "a.test TXT",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "ent.test A",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "y.ent.test A",
                "NOERROR aa
                ns test. SOA",
            ),
        ],
    );
}

#[test]
fn proves_denial() {
    check(
        &snapshot(&[("test", ZONE)], true),
        &[
            // One NSEC covers both the name and the wildcard.
            (
                "aa.test A do",
                "NXDOMAIN aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns a.test. NSEC down.test.
                ns a.test. RRSIG(NSEC)
                ns test. NSEC a.test.
                ns test. RRSIG(NSEC)",
            ),
            (
                "%.test A do",
                "NXDOMAIN aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns test. NSEC a.test.
                ns test. RRSIG(NSEC)",
            ),
            // Behind the last name.
            (
                "zz.test A do",
                "NXDOMAIN aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns z.test. NSEC test.
                ns z.test. RRSIG(NSEC)
                ns test. NSEC a.test.
                ns test. RRSIG(NSEC)",
            ),
            (
                "q.x.y.ent.test A do",
                "NXDOMAIN aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns x.y.ent.test. NSEC ns1.test.
                ns x.y.ent.test. RRSIG(NSEC)",
            ),
            (
                "a.test TXT do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns a.test. NSEC down.test.
                ns a.test. RRSIG(NSEC)",
            ),
            // An empty non-terminal: the NSEC before it leads below it.
            (
                "ent.test A do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns empty.test. NSEC x.y.ent.test.
                ns empty.test. RRSIG(NSEC)",
            ),
            (
                "w.test A do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns ns1.test. NSEC *.w.test.
                ns ns1.test. RRSIG(NSEC)",
            ),
            (
                "b.w.test A do",
                "NOERROR aa
                an b.w.test. A 192.0.2.3
                an b.w.test. RRSIG(A)
                ns *.w.test. NSEC wait.test.
                ns *.w.test. RRSIG(NSEC)",
            ),
            (
                "b.w.test TXT do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns *.w.test. NSEC wait.test.
                ns *.w.test. RRSIG(NSEC)",
            ),
            (
                "test DS do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns test. NSEC a.test.
                ns test. RRSIG(NSEC)",
            ),
        ],
    );
}

#[test]
fn says_what_health_has_to_do_with_it() {
    let rotating = format!(
        "{ZONE}
        stale A 192.0.2.6
        !stale stale A
        all A 192.0.2.7
        !all all A
        back A 192.0.2.8
        !fallback back A"
    );
    check(
        &snapshot(&[("test", &rotating)], false),
        &[
            ("wait.test AAAA edns", "SERVFAIL ede=14"),
            ("wait.test AAAA", "SERVFAIL"),
            ("wait.test ANY edns", "SERVFAIL ede=14"),
            (
                "wait.test A edns",
                "NOERROR aa
                an wait.test. A 192.0.2.5",
            ),
            (
                "wait.test TXT edns",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "down.test A edns",
                "NOERROR aa ede=0
                ns test. SOA",
            ),
            (
                "down.test TXT edns",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "empty.test A edns",
                "NOERROR aa ede=0
                ns test. SOA",
            ),
            (
                "stale.test A edns",
                "NOERROR aa ede=3
                an stale.test. A 192.0.2.6",
            ),
            (
                "stale.test A",
                "NOERROR aa
                an stale.test. A 192.0.2.6",
            ),
            (
                "all.test A edns",
                "NOERROR aa ede=0
                an all.test. A 192.0.2.7",
            ),
            (
                "back.test A edns",
                "NOERROR aa ede=0
                an back.test. A 192.0.2.8",
            ),
        ],
    );
}
