//! Zone cuts: referrals, glue (RFC 9471), DS (RFC 4035 §3.1.4), occlusion.

use crate::zone::snapshot;
use crate::{check, message};
use hale::answer::Transport;

const PARENT: &str = "
    @            SOA ns1 h 1 2 3 4 60
    @            NS ns1
    ns1          A 192.0.2.53
    in           NS ns.in
    in           NS ns.sibling
    in           NS ns1
    in           NS ns.elsewhere.example.
    ns.in        A 192.0.2.1
    ns.in        AAAA 2001:db8::1
    sibling      NS ns.sibling
    sibling      DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123
    ns.sibling   A 192.0.2.2
    occluded.in  TXT never
    deep.x       NS ns.elsewhere.example.
    served       NS ns1
    served       DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123
";
const CHILD: &str = "
    @  SOA ns1 h 1 2 3 4 60
    @  NS ns1.test.
    a  A 192.0.2.3
";

#[test]
fn refers_with_glue_and_without_aa() {
    check(
        &snapshot(
            &[("test", PARENT), ("served.test", CHILD), ("stray.test", CHILD), ("orphan", CHILD)],
            false,
        ),
        &[
            ("www.in.test A", "NOERROR
                ns in.test. NS ns.in.test.
                ns in.test. NS ns.sibling.test.
                ns in.test. NS ns.elsewhere.example.
                ns in.test. NS ns1.test.
                ar ns.in.test. A 192.0.2.1
                ar ns.in.test. AAAA 2001:db8::1
                ar ns.sibling.test. A 192.0.2.2
                ar ns1.test. A 192.0.2.53"),
            ("sibling.test NS", "NOERROR
                ns sibling.test. NS ns.sibling.test.
                ar ns.sibling.test. A 192.0.2.2"),
            ("sibling.test ANY", "NOERROR
                ns sibling.test. NS ns.sibling.test.
                ar ns.sibling.test. A 192.0.2.2"),
            // Glue and what is occluded are not answered.
            ("ns.sibling.test A", "NOERROR
                ns sibling.test. NS ns.sibling.test.
                ar ns.sibling.test. A 192.0.2.2"),
            ("occluded.in.test TXT", "NOERROR
                ns in.test. NS ns.in.test.
                ns in.test. NS ns.sibling.test.
                ns in.test. NS ns.elsewhere.example.
                ns in.test. NS ns1.test.
                ar ns.in.test. A 192.0.2.1
                ar ns.in.test. AAAA 2001:db8::1
                ar ns.sibling.test. A 192.0.2.2
                ar ns1.test. A 192.0.2.53"),
            ("x.test A", "NOERROR aa
                ns test. SOA"),
            ("a.deep.x.test A", "NOERROR
                ns deep.x.test. NS ns.elsewhere.example."),
            // DS belongs to the parent, whether or not the child is served too.
            ("sibling.test DS", "NOERROR aa
                an sibling.test. DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123"),
            ("in.test DS", "NOERROR aa
                ns test. SOA"),
            ("served.test DS", "NOERROR aa
                an served.test. DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123"),
            ("served.test NS", "NOERROR aa
                an served.test. NS ns1.test."),
            // The parent does not delegate it: its NXDOMAIN would hide the zone.
            ("stray.test DS", "NOERROR aa
                ns stray.test. SOA"),
            ("orphan DS", "NOERROR aa
                ns orphan. SOA"),
            ("a.served.test A", "NOERROR aa
                an a.served.test. A 192.0.2.3"),
            ("a.sibling.test DS", "NOERROR
                ns sibling.test. NS ns.sibling.test.
                ar ns.sibling.test. A 192.0.2.2"),
        ],
    );
}

#[test]
fn proves_whether_the_child_is_signed() {
    check(
        &snapshot(&[("test", PARENT)], true),
        &[
            (
                "a.sibling.test A do",
                "NOERROR
                ns sibling.test. NS ns.sibling.test.
                ns sibling.test. DS 4711 13 2 0123456789012345678901234567890123456789012345678901234567890123
                ns sibling.test. RRSIG(DS)
                ar ns.sibling.test. A 192.0.2.2",
            ),
            (
                "a.deep.x.test A do",
                "NOERROR
                ns deep.x.test. NS ns.elsewhere.example.
                ns deep.x.test. NSEC test.
                ns deep.x.test. RRSIG(NSEC)",
            ),
            (
                "deep.x.test DS do",
                "NOERROR aa
                ns test. SOA
                ns test. RRSIG(SOA)
                ns deep.x.test. NSEC test.
                ns deep.x.test. RRSIG(NSEC)",
            ),
        ],
    );
}

/// RFC 9471 §3.1: glue below the cut is not optional; §3.2: that of siblings is.
#[test]
fn truncates_where_glue_does_not_fit() {
    let mut zone = "@ SOA ns1 h 1 2 3 4 60\n @ NS ns1\n ns1 A 192.0.2.53\n".to_owned();
    for i in 0..13 {
        zone.push_str(&format!("in NS ns{i}.in\n ns{i}.in A 192.0.2.{i}\n ns{i}.in AAAA 2001:db8::{i}\n"));
        zone.push_str(&format!(
            "out NS ns{i}.sib\n ns{i}.sib A 192.0.2.{i}\n ns{i}.sib AAAA 2001:db8::{i}\n"
        ));
    }
    zone.push_str("sib NS ns0.sib\n");
    let snapshot = snapshot(&[("test", &zone)], false);
    for (query, truncated) in [
        ("a.in.test A", true),
        ("a.out.test A", false),
        ("a.in.test A edns", false),
        ("a.in.test A size=600", true),
    ] {
        let (reply, response) = message::ask(&snapshot, &message::query(query), Transport::Udp).unwrap();
        assert_eq!(reply.class.truncated, truncated, "{query}");
        let decoded = message::decode(&response);
        assert_eq!(decoded.records.iter().filter(|r| r.section == "ns").count(), 13, "{query}");
        assert!(decoded.records.iter().any(|r| r.section == "ar"), "{query}");
    }
}
