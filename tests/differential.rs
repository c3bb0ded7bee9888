//! Random zones, served by Hale, NSD and Knot DNS: the same queries by UDP and TCP, with and without DO, compared section by section.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod support;

use std::net::SocketAddr;

use support::client::{Client, Via, transfer};
use support::denial;
use support::explain::{Truth, Uses, check_truncation, compare};
use support::hale::{Hale, Setup};
use support::process::TempDir;
use support::random::Random;
use support::servers::{Reference, ZoneFile, knot, nsd};
use support::wire::{QueryBuilder, rtype};
use support::zonegen::{self, GeneratedZone};
use support::{long, seed, tools};

const SOA: &str = "ns1.alpha.test. hostmaster.alpha.test. 1 7200 900 1209600 300";

/// A server that is asked.
struct Server {
    name: &'static str,
    address: SocketAddr,
}

/// Rounds (each with a pair of zones of its own) and queries a round.
fn size() -> (u64, usize) {
    if long() { (24, 300) } else { (4, 150) }
}

#[test]
fn hale_agrees_with_nsd_and_knot_but_for_what_is_explained() {
    compare_all("differential", |pair, folder, signed| {
        let hale = serve(pair, signed);
        let files = pair.each_ref().map(|zone| ZoneFile {
            apex: zone.apex.clone(),
            // Signed, the references serve what Hale exports, so that signatures are equal; unsigned, the generator's own text, so that
            // what Hale makes of its JSON is compared too.
            path: if signed {
                hale.export(&zone.apex)
            } else {
                folder.write(&format!("{}.zone", zone.apex), &zone.to_text(&soa_of(&hale, &zone.apex)))
            },
        });
        let (nsd, knot) = (nsd(&files)?, knot(&files)?);
        Some((Some(hale), files.to_vec(), nsd, knot))
    });
}

/// The comparison itself, while nothing of ours takes part: the references differ by nothing but what is explained.
#[test]
fn nsd_and_knot_agree_but_for_what_is_explained() {
    compare_all("baseline", |pair, folder, signed| {
        let mut files = Vec::new();
        for zone in pair {
            let mut path = folder.write(&format!("{}.zone", zone.apex), &zone.to_text(SOA));
            if signed {
                path = tools::sign(&zone.apex, &path, folder.path())?;
            }
            files.push(ZoneFile { apex: zone.apex.clone(), path });
        }
        let (nsd, knot) = (nsd(&files)?, knot(&files)?);
        Some((None, files, nsd, knot))
    });
}

type Served = (Option<Hale>, Vec<ZoneFile>, Reference, Reference);

/// Makes zones, has them served, asks and compares; unsigned and signed in turn. `None` from `serve` where a program is not installed.
fn compare_all(test: &str, serve: impl Fn(&[GeneratedZone; 2], &TempDir, bool) -> Option<Served>) {
    let seed = seed(test);
    let (rounds, queries) = size();
    let mut uses = Uses::new();
    let mut failures = Vec::new();
    for round in 0..rounds {
        let mut random = Random::new(seed.wrapping_add(round));
        let folder = TempDir::new("zones");
        let pair = zonegen::pair(&mut random);
        let Some((hale, files, nsd, knot)) = serve(&pair, &folder, round % 2 == 1) else { return };
        let truth = truth(&knot, &files);
        let queries: Vec<_> = (0..queries)
            .map(|_| {
                QueryBuilder::of(
                    random.pick(&pair).clone().query_name(&mut random),
                    zonegen::query_type(&mut random),
                )
            })
            .collect();
        let mut servers = vec![
            Server { name: nsd.name, address: nsd.address },
            Server { name: knot.name, address: knot.address },
        ];
        servers.splice(0..0, hale.iter().map(|hale| Server { name: "hale", address: hale.address }));
        failures.extend(
            ask_all(&truth, &queries, &servers, &mut uses)
                .into_iter()
                .map(|failure| format!("round {round}: {failure}")),
        );
    }
    eprintln!("{} zones, {} queries, explained: {uses:#?}", 2 * rounds, rounds * queries as u64);
    assert!(
        failures.is_empty(),
        "HALE_SEED={seed}: {} differences\n{}",
        failures.len(),
        failures[..failures.len().min(24)].join("\n")
    );
}

fn serve(pair: &[GeneratedZone; 2], signed: bool) -> Hale {
    let dnssec = if signed { r#"{ "keys": "auto" }"# } else { r#""off""# };
    let setup = Setup::new("differential");
    pair.iter()
        .fold(setup, |setup, zone| setup.zone(&format!("{}.json", zone.apex), &zone.to_json(Some(dnssec))))
        .start()
}

/// The SOA RDATA that Hale serves, in presentation form.
fn soa_of(hale: &Hale, apex: &str) -> String {
    let answer = Client::new(hale.address).ask(&QueryBuilder::new(apex, rtype::SOA), Via::Tcp).unwrap();
    let soa = &answer.answer[0];
    let mname = soa.name_at(0);
    let rname = soa.name_at(mname.0.len());
    let numbers = soa.rdata[mname.0.len() + rname.0.len()..]
        .chunks(4)
        .map(|word| u32::from_be_bytes(word.try_into().unwrap()).to_string());
    format!("{mname} {rname} {}", numbers.collect::<Vec<_>>().join(" "))
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
fn ask_all(truth: &Truth, queries: &[QueryBuilder], servers: &[Server], uses: &mut Uses) -> Vec<String> {
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
        failures.extend(owed_proofs(truth, query, servers[0].name, &mut clients[0].1));
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

/// Whether the first server's answer proves all that it owes (RFC 4035 §3.1.3), by the zone rather than by comparison; Hale only.
fn owed_proofs(truth: &Truth, query: &QueryBuilder, name: &str, client: &mut Client) -> Option<String> {
    if name != "hale" {
        return None;
    }
    let answer = client.ask(&query.clone().edns(1232, true), Via::Tcp).unwrap();
    denial::missing(truth, &query.name, query.qtype, &answer)
        .map(|missing| format!("{query:?}: {missing}: {answer:#?}"))
}
