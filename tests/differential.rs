//! Random zones, served by Hale, NSD and Knot DNS: the same queries by UDP and TCP, with and without DO, compared section by section.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use support::client::{Client, Via, transfer};
use support::explain::{Truth, Uses, check_truncation, compare};
use support::process::TempDir;
use support::random::Random;
use support::servers::{Reference, ZoneFile, knot, nsd};
use support::wire::QueryBuilder;
use support::zonegen;
use support::{long, seed, tools};

const SOA: &str = "ns1.alpha.test. hostmaster.alpha.test. 1 7200 900 1209600 300";

#[test]
fn nsd_and_knot_agree_but_for_what_is_explained() {
    let seed = seed("differential");
    let mut uses = Uses::new();
    let (zones, queries) = if long() { (20, 300) } else { (4, 150) };
    let mut failures = Vec::new();
    for round in 0..zones {
        let mut random = Random::new(seed.wrapping_add(round));
        let folder = TempDir::new("zones");
        let pair = zonegen::pair(&mut random);
        let mut files = Vec::new();
        for zone in &pair {
            let mut path = folder.write(&format!("{}.zone", zone.apex), &zone.to_text(SOA));
            if round % 2 == 1 {
                let Some(signed) = tools::sign(&zone.apex, &path, folder.path()) else { return };
                path = signed;
            }
            files.push(ZoneFile { apex: zone.apex.clone(), path });
        }
        let (Some(nsd), Some(knot)) = (nsd(&files), knot(&files)) else { return };
        let truth = truth(&knot, &files);
        let queries: Vec<_> = (0..queries)
            .map(|_| {
                QueryBuilder::of(
                    random.pick(&pair).clone().query_name(&mut random),
                    zonegen::query_type(&mut random),
                )
            })
            .collect();
        failures.extend(ask_all(&truth, &queries, &[&nsd, &knot], &mut uses));
    }
    eprintln!("{uses:#?}");
    assert!(
        failures.is_empty(),
        "seed {seed}: {} differences\n{}",
        failures.len(),
        failures[..failures.len().min(24)].join("\n")
    );
}

/// The zones as a server transfers them.
fn truth(server: &Reference, zones: &[ZoneFile]) -> Truth {
    let mut truth = Truth::default();
    for zone in zones {
        truth.add(&zone.apex, transfer(server.address, &zone.apex).unwrap());
    }
    truth
}

/// Sends every query four ways to every server and compares the first server with each of the others; and once more with room for 512
/// octets only, where the first server's answer is held against its own by TCP.
fn ask_all(truth: &Truth, queries: &[QueryBuilder], servers: &[&Reference], uses: &mut Uses) -> Vec<String> {
    let mut clients: Vec<_> =
        servers.iter().map(|server| (server.name, Client::new(server.address))).collect();
    let mut failures = Vec::new();
    for query in queries {
        let with_do = query.clone().edns(1232, true);
        let small = query.clone().edns(512, true);
        for (via, query) in [(Via::Udp, query), (Via::Tcp, query), (Via::Udp, &with_do), (Via::Tcp, &with_do)]
        {
            let answers: Vec<_> =
                clients.iter_mut().map(|(name, client)| (*name, client.ask(query, via).unwrap())).collect();
            for other in &answers[1..] {
                let first = (answers[0].0, &answers[0].1);
                failures.extend(compare(truth, query, via, first, (other.0, &other.1), uses).err());
            }
        }
        // NSD 4.6 leaves glue out without TC, so the references are not held to this.
        if servers[0].name != "hale" {
            continue;
        }
        let subject = &mut clients[0].1;
        let (udp, tcp) = (subject.ask(&small, Via::Udp).unwrap(), subject.ask(&with_do, Via::Tcp).unwrap());
        failures.extend(check_truncation(truth, &small, &udp, &tcp).err());
    }
    failures
}
