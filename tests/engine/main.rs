//! The answer engine from outside: zones as text, queries as text, whole responses compared.
#![allow(clippy::unwrap_used)]

mod chains;
mod denial;
mod limits;
mod message;
mod policies;
mod protocol;
mod referrals;
mod robust;
mod wildcards;
mod zone;

use hale::answer::Transport;
use hale::snapshot::Snapshot;

/// Asks each query over UDP and compares the response with the lines that follow it.
fn check(snapshot: &Snapshot, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (query, want) in cases {
        let (reply, response) = message::ask(snapshot, &message::query(query), Transport::Udp).unwrap();
        let decoded = message::decode(&response);
        assert_eq!(reply.class.rcode, decoded.rcode(), "{query}");
        assert_eq!(reply.class.truncated, decoded.flags & 0x200 != 0, "{query}");
        let got = decoded.text();
        let want: Vec<&str> = want.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        if got != want.join("\n") {
            wrong.push_str(&format!("\n--- {query}\n{got}\n--- wanted\n{}\n", want.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
