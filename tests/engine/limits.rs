//! What rate limits are told of a response, and what they make of it.

use crate::message::{ask, ask_with, decode, opt, query, settings};
use crate::zone::{key, name, snapshot};
use hale::answer::{Kind, Scratch, Transport, cut_down};

const ZONE: &str = "
    @        SOA ns1 h 1 2 3 4 60
    @        NS ns1
    ns1      A 192.0.2.53
    www      A 192.0.2.1
    *.w      A 192.0.2.3
    *.gone   CNAME none
    alias    CNAME none
    dn       DNAME w
    x.y.ent  A 192.0.2.4
    del      NS ns.del
    ns.del   A 192.0.2.5
";

/// The kind of response, and the name that counts for a rate.
fn check(question: &str, kind: Kind, counted: &str) {
    let snapshot = snapshot(&[("test", ZONE), ("broken.example", "broken")], false);
    let (reply, _) = ask(&snapshot, &query(question), Transport::Udp).unwrap();
    let want = if counted.is_empty() { 0 } else { key().name(&name(counted)) };
    assert_eq!((reply.class.kind, reply.class.name_hash), (kind, want), "{question}");
}

#[test]
fn no_client_chooses_the_name_that_counts() {
    check("www.test A", Kind::Positive, "www.test");
    check("WWW.test A", Kind::Positive, "www.test");
    check("www.test TXT", Kind::Nodata, "www.test");
    check("ent.test A", Kind::Nodata, "ent.test");
    for random in ["a", "b", "a.b.c"] {
        check(&format!("{random}.test A"), Kind::Nxdomain, "test");
        check(&format!("{random}.www.test A"), Kind::Nxdomain, "test");
        check(&format!("{random}.w.test A"), Kind::Synthesised, "w.test");
        check(&format!("{random}.w.test TXT"), Kind::Nodata, "w.test");
        check(&format!("{random}.gone.test A"), Kind::Nxdomain, "gone.test");
        check(&format!("{random}.dn.test A"), Kind::Synthesised, "dn.test");
        check(&format!("{random}.del.test A"), Kind::Referral, "del.test");
        check(&format!("{random}.example.com A"), Kind::Error, "");
        check(&format!("{random}.broken.example A"), Kind::Error, "");
    }
    check("del.test A", Kind::Referral, "del.test");
    check("alias.test A", Kind::Nxdomain, "alias.test");
}

#[test]
fn a_response_that_is_cut_down_keeps_question_rcode_and_opt() {
    let snapshot = snapshot(&[("test", ZONE)], true);
    for (question, text) in [
        ("www.test A", "NOERROR aa tc"),
        ("www.test A edns", "NOERROR aa tc"),
        ("www.test A do", "NOERROR aa tc"),
        ("none.test A do", "NXDOMAIN aa tc"),
        ("x.del.test A do", "NOERROR tc"),
        ("example.com A edns", "REFUSED tc ede=20"),
        ("www.test AXFR", "REFUSED tc"),
    ] {
        let message = query(question);
        let (reply, mut response) = ask(&snapshot, &message, Transport::Udp).unwrap();
        let whole = decode(&response);
        let cut = cut_down(&mut response, &reply);
        assert!(cut.len <= reply.len && cut.class.truncated, "{question}");
        let decoded = decode(&response[..cut.len]);
        assert_eq!(decoded.text(), text, "{question}");
        assert_eq!((&decoded.question, &decoded.opt), (&whole.question, &whole.opt), "{question}");
    }
    // Without a question, and with an opcode that has a header alone.
    for message in [&query("www.test A")[..20], &[0x12, 0x34, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let (reply, mut response) = ask(&snapshot, message, Transport::Udp).unwrap();
        assert_eq!(cut_down(&mut response, &reply).len, 12);
        decode(&response);
    }
}

#[test]
fn a_cookie_counts_once_the_server_has_given_it() {
    let snapshot = snapshot(&[("test", ZONE)], false);
    let mut scratch = Scratch::new(settings());
    let mut ask_with_cookie = |cookie: &[u8]| {
        let mut message = query("www.test A");
        message[11] = 1;
        let option = [&[0, 10, 0, cookie.len() as u8], cookie].concat();
        message.extend(opt(1232, 0, false, &option));
        let (reply, response) = ask_with(&snapshot, &mut scratch, &message, Transport::Udp).unwrap();
        let options = decode(&response).opt.unwrap().2;
        (reply.class.has_cookie, options[0].1.clone())
    };
    let (has_cookie, given) = ask_with_cookie(b"clientck");
    assert!(!has_cookie && given.len() == 24);
    assert!(ask_with_cookie(&given).0);
    let mut forged = given.clone();
    forged[23] ^= 1;
    assert!(!ask_with_cookie(&forged).0);
    assert!(!ask_with_cookie(&given[..16]).0);
}
