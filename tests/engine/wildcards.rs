//! RFC 4592.

use crate::check;
use crate::zone::snapshot;

/// The zone of RFC 4592 §2.2.1.
const EXAMPLE: &str = "
    @                 SOA ns.example.com. h.example.com. 1 2 3 4 60
    @                 NS  ns.example.com.
    @                 NS  ns.example.net.
    *                 TXT \"this is a wildcard\"
    *                 MX  10 host1.example.
    sub.*             TXT \"this is not a wildcard\"
    host1             A   192.0.2.1
    _ssh._tcp.host1   SRV 1 2 3 host1.example.
    _ssh._tcp.host2   SRV 1 2 3 host2.example.
    subdel            NS  ns.example.com.
    subdel            NS  ns.example.net.
";

#[test]
fn answers_the_queries_of_rfc_4592_section_2_2_1() {
    check(
        &snapshot(&[("example", EXAMPLE)], false),
        &[
            (
                "host3.example MX",
                "NOERROR aa
                an host3.example. MX 10 host1.example.
                ar host1.example. A 192.0.2.1",
            ),
            (
                "host3.example A",
                "NOERROR aa
                ns example. SOA",
            ),
            (
                "foo.bar.example TXT",
                "NOERROR aa
                an foo.bar.example. TXT \"this is a wildcard\"",
            ),
            (
                "host1.example MX",
                "NOERROR aa
                ns example. SOA",
            ),
            (
                "sub.*.example MX",
                "NOERROR aa
                ns example. SOA",
            ),
            (
                "_telnet._tcp.host1.example SRV",
                "NXDOMAIN aa
                ns example. SOA",
            ),
            (
                "host.subdel.example A",
                "NOERROR
                ns subdel.example. NS ns.example.com.
                ns subdel.example. NS ns.example.net.",
            ),
            (
                "ghost.*.example MX",
                "NXDOMAIN aa
                ns example. SOA",
            ),
            // The wildcard itself, by its own name, and a query for an empty non-terminal.
            (
                "*.example TXT",
                "NOERROR aa
                an *.example. TXT \"this is a wildcard\"",
            ),
            (
                "host2.example A",
                "NOERROR aa
                ns example. SOA",
            ),
            (
                "_tcp.host2.example A",
                "NOERROR aa
                ns example. SOA",
            ),
        ],
    );
}

#[test]
fn proves_what_it_synthesises() {
    check(
        &snapshot(&[("example", EXAMPLE)], true),
        &[
            // A wildcard answer: no closer name (RFC 4035 §3.1.3.3).
            (
                "foo.bar.example TXT do",
                "NOERROR aa
                an foo.bar.example. TXT \"this is a wildcard\"
                an foo.bar.example. RRSIG(TXT)
                ns sub.*.example. NSEC host1.example.
                ns sub.*.example. RRSIG(NSEC)",
            ),
            // Wildcard NODATA: the wildcard's own bitmap as well (§3.1.3.4).
            (
                "foo.bar.example A do",
                "NOERROR aa
                ns example. SOA
                ns example. RRSIG(SOA)
                ns sub.*.example. NSEC host1.example.
                ns sub.*.example. RRSIG(NSEC)
                ns *.example. NSEC sub.*.example.
                ns *.example. RRSIG(NSEC)",
            ),
            (
                "*.example A do",
                "NOERROR aa
                ns example. SOA
                ns example. RRSIG(SOA)
                ns *.example. NSEC sub.*.example.
                ns *.example. RRSIG(NSEC)",
            ),
            (
                "host3.example MX do",
                "NOERROR aa
                an host3.example. MX 10 host1.example.
                an host3.example. RRSIG(MX)
                ns _ssh._tcp.host2.example. NSEC subdel.example.
                ns _ssh._tcp.host2.example. RRSIG(NSEC)
                ar host1.example. A 192.0.2.1
                ar host1.example. RRSIG(A)",
            ),
        ],
    );
}

#[test]
fn wildcards_of_every_kind() {
    let zone = "
        @       SOA ns1 h 1 2 3 4 60
        @       NS ns1
        ns1     A 192.0.2.53
        *.c     CNAME target
        target  A 192.0.2.1
        *.d     DNAME elsewhere.example.
        *.n     NS ns.n.elsewhere.example.
        a.b.c   A 192.0.2.2
    ";
    check(
        &snapshot(&[("test", zone)], false),
        &[
            (
                "x.c.test A",
                "NOERROR aa
                an x.c.test. CNAME target.test.
                an target.test. A 192.0.2.1",
            ),
            (
                "x.c.test CNAME",
                "NOERROR aa
                an x.c.test. CNAME target.test.",
            ),
            // The closest encloser is b.c, where no wildcard stands.
            (
                "x.b.c.test A",
                "NXDOMAIN aa
                ns test. SOA",
            ),
            (
                "b.c.test A",
                "NOERROR aa
                ns test. SOA",
            ),
            // A synthesised DNAME redirects nothing at its own name.
            (
                "x.d.test DNAME",
                "NOERROR aa
                an x.d.test. DNAME elsewhere.example.",
            ),
            (
                "x.d.test A",
                "NOERROR aa
                ns test. SOA",
            ),
            (
                "x.n.test A",
                "NOERROR
                ns x.n.test. NS ns.n.elsewhere.example.",
            ),
        ],
    );
}
