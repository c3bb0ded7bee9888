//! A zone with everything that an answer can be, and what it takes to serve it signed or unsigned.

use std::fmt::Write as _;

use super::hale::Setup;

/// The apex.
pub const APEX: &str = "example.test";

/// The zone file. `dnssec` is the value of that key, as JSON.
pub fn zone(apex: &str, dnssec: &str) -> String {
    let mut many = String::new();
    let mut glue = String::new();
    for number in 0..100 {
        write!(many, "{}\"ns{number}.many.{apex}.\"", if number == 0 { "" } else { ", " }).unwrap();
        write!(glue, ", \"ns{number}.many\": {{ \"A\": [\"198.51.100.{number}\"], \"AAAA\": [\"2001:db8:2::{number}\"] }}").unwrap();
    }
    let big = (0..100)
        .map(|number| format!("\"number {number} of a large set {}\"", "x".repeat(40)))
        .collect::<Vec<_>>();
    format!(
        r#"{{
  "zone": "{apex}",
  "nameservers": ["ns1.{apex}", "ns2.{apex}"],
  "dnssec": {dnssec},
  "records": {{
    "@": {{ "A": ["192.0.2.10"], "MX": ["10 mail.{apex}."], "TXT": ["v=spf1 -all"] }},
    "ns1": {{ "A": ["192.0.2.53"] }},
    "ns2": {{ "A": ["198.51.100.53"], "AAAA": ["2001:db8::53"] }},
    "mail": {{ "A": ["192.0.2.25"] }},
    "www": {{ "A": ["192.0.2.10", "192.0.2.11"], "AAAA": ["2001:db8::10"] }},
    "alias": {{ "CNAME": "www.{apex}." }},
    "chain": {{ "CNAME": "alias.{apex}." }},
    "loop-a": {{ "CNAME": "loop-b.{apex}." }},
    "loop-b": {{ "CNAME": "loop-a.{apex}." }},
    "outside": {{ "CNAME": "www.elsewhere.example." }},
    "dangling": {{ "CNAME": "missing.{apex}." }},
    "*.wild": {{ "A": ["192.0.2.60"], "TXT": ["from the wildcard"] }},
    "exact.wild": {{ "TXT": ["beside the wildcard"] }},
    "*.alias-wild": {{ "CNAME": "www.{apex}." }},
    "deep.below.ent": {{ "A": ["192.0.2.61"] }},
    "old": {{ "DNAME": "new.{apex}." }},
    "host.new": {{ "A": ["192.0.2.62"] }},
    "secure": {{ "NS": ["ns.secure.{apex}."], "DS": ["12345 13 2 {digest}"] }},
    "ns.secure": {{ "A": ["203.0.113.1"] }},
    "insecure": {{ "NS": ["ns.insecure.{apex}.", "ns.elsewhere.example."] }},
    "ns.insecure": {{ "A": ["203.0.113.2"], "AAAA": ["2001:db8:3::2"] }},
    "big": {{ "TXT": [{big}] }},
    "x": {{ "TYPE65400": ["\\# 4 0a000001"] }},
    "_443._tcp.www": {{ "TLSA": ["3 1 1 {digest}"] }},
    "many": {{ "NS": [{many}] }}{glue}
  }}
}}
"#,
        digest = "49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE2C4D4F7A8F2B8A1F3E5D7C90",
        big = big.join(", "),
    )
}

/// A server of the zone, signed by a key made for it.
pub fn signed(name: &str) -> Setup {
    Setup::new(name).zone("zone.json", &zone(APEX, r#"{ "keys": "auto" }"#))
}

/// A server of the zone, unsigned.
pub fn unsigned(name: &str) -> Setup {
    Setup::new(name).zone("zone.json", &zone(APEX, r#""off""#))
}
