//! Any octets as a query, over both transports, to a signed and an unsigned zone.
#![no_main]

#[path = "../../tests/engine/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "../../tests/engine/zone.rs"]
#[allow(dead_code)]
mod zone;

use std::sync::LazyLock;

use hale::answer::Transport;
use hale::snapshot::Snapshot;
use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;

const ZONE: &str = "
    @        SOA ns1 h 1 2 3 4 60
    @        NS ns1
    ns1      A 192.0.2.53
    www      A 192.0.2.1
    www      A 192.0.2.2
    !rotate  www A
    *.w      A 192.0.2.3
    alias    CNAME x.w
    dn       DNAME w
    mx       MX 10 www
    x.y.ent  A 192.0.2.4
    del      NS ns.del
    ns.del   A 192.0.2.5
    !pending wait A
    wait     AAAA 2001:db8::4
";

static SNAPSHOTS: LazyLock<[Snapshot; 2]> =
    LazyLock::new(|| [false, true].map(|signed| zone::snapshot(&[("t", ZONE)], signed)));

fuzz_target!(|octets: &[u8]| {
    for snapshot in SNAPSHOTS.iter() {
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some((_, response)) = message::ask(snapshot, octets, transport) {
                message::decode(&response);
                assert!(Message::from_vec(&response).is_ok());
            }
        }
    }
});
