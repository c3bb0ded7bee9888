//! CNAME and DNAME (RFC 1034 §3.6.2, RFC 6672), inside a zone and across zones.

use crate::zone::snapshot;
use crate::{check, message};
use hale::answer::{Kind, Transport};

const ZONE: &str = "
    @         SOA ns1 h 1 2 3 4 60
    @         NS ns1
    ns1       A 192.0.2.53
    www       CNAME web
    web       A 192.0.2.1
    web       MX 10 mail
    mail      A 192.0.2.25
    mail      AAAA 2001:db8::25
    up        CNAME @
    gone      CNAME nothing
    nodata    CNAME mail
    out       CNAME www.example.com.
    other     CNAME a.other.example.
    child     CNAME x.child
    child.del CNAME y.del
    del       NS ns.del
    ns.del    A 192.0.2.54
    loop1     CNAME loop2
    loop2     CNAME loop1
    self      CNAME self
    c0 CNAME c1
    c1 CNAME c2
    c2 CNAME c3
    c3 CNAME c4
    c4 CNAME c5
    c5 CNAME c6
    c6 CNAME c7
    c7 CNAME c8
    c8 CNAME c9
    c9 CNAME c10
    c10 A 192.0.2.10
    wait      CNAME slow
    !pending  slow A
    tobroken  CNAME a.broken.example.
    todel     CNAME a.del
    dn        DNAME mail-domain.other.example.
    short     DNAME test.
    loopd     DNAME loopd2
    loopd2    DNAME loopd
    occ.dn    A 192.0.2.99
    long      DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.
";
const OTHER: &str = "
    @              SOA ns1 h 1 2 3 4 60
    @              NS ns1.test.
    a              A 198.51.100.1
    x.mail-domain  A 198.51.100.2
    back           CNAME web.test.
";
const CHILD: &str = "
    @  SOA ns1 h 1 2 3 4 60
    @  NS ns1.test.
    x  A 203.0.113.1
";
const ZONES: &[(&str, &str)] =
    &[("test", ZONE), ("other.example", OTHER), ("child.test", CHILD), ("broken.example", "broken")];

#[test]
fn follows_cnames() {
    check(
        &snapshot(ZONES, false),
        &[
            (
                "www.test A",
                "NOERROR aa
                an www.test. CNAME web.test.
                an web.test. A 192.0.2.1",
            ),
            (
                "www.test CNAME",
                "NOERROR aa
                an www.test. CNAME web.test.",
            ),
            (
                "www.test MX",
                "NOERROR aa
                an www.test. CNAME web.test.
                an web.test. MX 10 mail.test.
                ar mail.test. A 192.0.2.25
                ar mail.test. AAAA 2001:db8::25",
            ),
            (
                "up.test NS",
                "NOERROR aa
                an up.test. CNAME test.
                an test. NS ns1.test.
                ar ns1.test. A 192.0.2.53",
            ),
            (
                "gone.test A",
                "NXDOMAIN aa
                an gone.test. CNAME nothing.test.
                ns test. SOA",
            ),
            (
                "nodata.test TXT",
                "NOERROR aa
                an nodata.test. CNAME mail.test.
                ns test. SOA",
            ),
            (
                "out.test A",
                "NOERROR aa
                an out.test. CNAME www.example.com.",
            ),
            (
                "other.test A",
                "NOERROR aa
                an other.test. CNAME a.other.example.
                an a.other.example. A 198.51.100.1",
            ),
            (
                "other.test TXT",
                "NOERROR aa
                an other.test. CNAME a.other.example.
                ns other.example. SOA",
            ),
            (
                "back.other.example A",
                "NOERROR aa
                an back.other.example. CNAME web.test.
                an web.test. A 192.0.2.1",
            ),
            (
                "todel.test A",
                "NOERROR aa
                an todel.test. CNAME a.del.test.
                ns del.test. NS ns.del.test.
                ar ns.del.test. A 192.0.2.54",
            ),
            (
                "loop1.test A",
                "NOERROR aa
                an loop1.test. CNAME loop2.test.
                an loop2.test. CNAME loop1.test.",
            ),
            (
                "self.test A",
                "NOERROR aa
                an self.test. CNAME self.test.",
            ),
            (
                "c2.test A",
                "NOERROR aa
                an c2.test. CNAME c3.test.
                an c3.test. CNAME c4.test.
                an c4.test. CNAME c5.test.
                an c5.test. CNAME c6.test.
                an c6.test. CNAME c7.test.
                an c7.test. CNAME c8.test.
                an c8.test. CNAME c9.test.
                an c9.test. CNAME c10.test.
                an c10.test. A 192.0.2.10",
            ),
            // The ninth CNAME is shown and not followed.
            (
                "c1.test A",
                "NOERROR aa
                an c1.test. CNAME c2.test.
                an c2.test. CNAME c3.test.
                an c3.test. CNAME c4.test.
                an c4.test. CNAME c5.test.
                an c5.test. CNAME c6.test.
                an c6.test. CNAME c7.test.
                an c7.test. CNAME c8.test.
                an c8.test. CNAME c9.test.
                an c9.test. CNAME c10.test.",
            ),
            ("wait.test A edns", "SERVFAIL ede=14"),
            (
                "wait.test TXT",
                "NOERROR aa
                an wait.test. CNAME slow.test.
                ns test. SOA",
            ),
            ("tobroken.test A edns", "SERVFAIL ede=0"),
            (
                "www.test ANY",
                "NOERROR aa
                an www.test. CNAME web.test.",
            ),
        ],
    );
}

#[test]
fn synthesises_from_dnames() {
    check(
        &snapshot(ZONES, false),
        &[
            ("x.dn.test A", "NOERROR aa
                an dn.test. DNAME mail-domain.other.example.
                an x.dn.test. CNAME x.mail-domain.other.example.
                an x.mail-domain.other.example. A 198.51.100.2"),
            ("y.dn.test A", "NXDOMAIN aa
                an dn.test. DNAME mail-domain.other.example.
                an y.dn.test. CNAME y.mail-domain.other.example.
                ns other.example. SOA"),
            // What stands below a DNAME is occluded.
            ("occ.dn.test A", "NXDOMAIN aa
                an dn.test. DNAME mail-domain.other.example.
                an occ.dn.test. CNAME occ.mail-domain.other.example.
                ns other.example. SOA"),
            // A DNAME does not redirect its own owner.
            ("dn.test A", "NOERROR aa
                ns test. SOA"),
            ("dn.test DNAME", "NOERROR aa
                an dn.test. DNAME mail-domain.other.example."),
            ("web.short.test A", "NOERROR aa
                an short.test. DNAME test.
                an web.short.test. CNAME web.test.
                an web.test. A 192.0.2.1"),
            // The same DNAME passed twice is shown once.
            ("web.short.short.test A", "NOERROR aa
                an short.test. DNAME test.
                an web.short.short.test. CNAME web.short.test.
                an web.short.test. CNAME web.test.
                an web.test. A 192.0.2.1"),
            ("x.loopd.test A", "NOERROR aa
                an loopd.test. DNAME loopd2.test.
                an x.loopd.test. CNAME x.loopd2.test.
                an loopd2.test. DNAME loopd.test.
                an x.loopd2.test. CNAME x.loopd.test."),
            // RFC 6672 §2.2: the name would be too long.
            ("0123456789012345678.long.test A", "YXDOMAIN aa
                an long.test. DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."),
        ],
    );
}

#[test]
fn signs_what_is_real_and_proves_the_end() {
    check(
        &snapshot(ZONES, true),
        &[
            (
                "x.dn.test A do",
                "NOERROR aa
                an dn.test. DNAME mail-domain.other.example.
                an dn.test. RRSIG(DNAME)
                an x.dn.test. CNAME x.mail-domain.other.example.
                an x.mail-domain.other.example. A 198.51.100.2
                an x.mail-domain.other.example. RRSIG(A)",
            ),
            (
                "other.test TXT do",
                "NOERROR aa
                an other.test. CNAME a.other.example.
                an other.test. RRSIG(CNAME)
                ns other.example. SOA
                ns other.example. RRSIG(SOA)
                ns a.other.example. NSEC back.other.example.
                ns a.other.example. RRSIG(NSEC)",
            ),
            (
                "todel.test A do",
                "NOERROR aa
                an todel.test. CNAME a.del.test.
                an todel.test. RRSIG(CNAME)
                ns del.test. NS ns.del.test.
                ns del.test. NSEC dn.test.
                ns del.test. RRSIG(NSEC)
                ar ns.del.test. A 192.0.2.54",
            ),
        ],
    );
}

#[test]
fn counts_kinds() {
    let snapshot = snapshot(ZONES, false);
    for (query, kind, zone) in [
        ("web.test A", Kind::Positive, Some(0)),
        ("www.test A", Kind::Positive, Some(0)),
        ("out.test A", Kind::Positive, Some(0)),
        ("web.test TXT", Kind::Nodata, Some(0)),
        ("none.test A", Kind::Nxdomain, Some(0)),
        ("a.del.test A", Kind::Referral, Some(0)),
        ("a.other.example A", Kind::Positive, Some(1)),
        ("x.child.test A", Kind::Positive, Some(2)),
        ("x.broken.example A", Kind::Error, Some(3)),
        ("example.com A", Kind::Error, None),
    ] {
        let (reply, _) = message::ask(&snapshot, &message::query(query), Transport::Udp).unwrap();
        assert_eq!((reply.class.kind, reply.class.zone), (kind, zone), "{query}");
    }
}
