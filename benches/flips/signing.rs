//! What a signature costs, beside kzonesign on the same zone where that is installed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hale::config::KeySource;
use hale::dnssec::keys::ZoneKeys;
use hale::dnssec::sign::Signer;
use hale::model::name::Name;
use hale::model::rrset::{RdataSet, Rrset};
use hale::model::rrtype::RrType;

use super::house::{self, APEX, House};

const DAY_S: u32 = 86_400;

/// The fastest of ten rounds of a thousand signatures, on this thread alone.
pub(crate) fn one_signature() -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let apex = Name::parse_absolute(APEX).unwrap();
    let (keys, _) = ZoneKeys::load(&KeySource::Auto, &apex, Some(folder.path())).unwrap();
    let signer = Signer::new(Arc::new(keys), 14 * DAY_S, 7 * DAY_S);
    let owner = Name::parse_absolute(&format!("h1.{APEX}")).unwrap();
    let round = |_| {
        let began = Instant::now();
        for i in 0..1000u16 {
            let rdata = RdataSet::new([[10, 1, 2, 3], [10, 2, (i >> 8) as u8, i as u8]]);
            let rrset = Rrset { rtype: RrType::A, ttl: 300, rdata };
            std::hint::black_box(signer.sign(&owner, &rrset, house::now_s()).unwrap());
        }
        began.elapsed() / 1000
    };
    (0..10).map(round).min().unwrap()
}

/// Hale's signing of a zone of so many names, and kzonesign's.
pub(crate) fn table(names: usize) -> String {
    let folder = tempfile::tempdir().unwrap();
    let house = House::start(&house::zone_of_names(folder.path(), names, 0));
    let (start, signatures) = (house.start, signatures(&house));
    house.stop();
    let mut text = format!(
        "#### Signing, P-256, {names} names, {signatures} signatures\n\n\
         | | CPU µs a signature | wall µs a signature |\n|---|---|---|\n\
         | Hale, `Signer::sign` alone, one thread | {:.1} | |\n",
        one_signature().as_secs_f64() * 1e6
    );
    let mut line = |title: &str, cpu: Duration, wall: Duration, count: u64| {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        writeln!(text, "| {title} | {:.1} | {:.1} |", each(cpu), each(wall)).unwrap();
    };
    line("Hale, all cores: sign and compile a zone that was read", start.serve_cpu, start.serve, signatures);
    let all: Result<Vec<_>, _> = (0..3).map(|_| kzonesign(folder.path(), names)).collect();
    match all.map(|runs| runs.into_iter().min()) {
        Ok(Some((cpu, wall, count))) => line("kzonesign: read, sign and write", cpu, wall, count),
        Ok(None) => {}
        Err(why) => writeln!(text, "| kzonesign: {why} | | |").unwrap(),
    }
    text + "\n"
}

fn signatures(house: &House) -> u64 {
    let snapshot = house.published.load();
    let zone = snapshot.zone(&Name::parse_absolute(APEX).unwrap()).unwrap().image.unwrap();
    zone.owners().flat_map(|owner| owner.rrsets).map(|r| r.signatures.len() as u64).sum()
}

/// CPU time, time and number of signatures.
fn kzonesign(folder: &Path, names: usize) -> Result<(Duration, Duration, u64), String> {
    let work = folder.join("kzonesign");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(work.join("out")).unwrap();
    let mut zone = format!(
        "$ORIGIN {APEX}.\n$TTL 300\n@ SOA ns1 hostmaster 1 3600 600 86400 300\n@ NS ns1\nns1 A 192.0.2.53\n"
    );
    for owner in 0..names {
        writeln!(zone, "h{owner} A 11.{}.{}.{}", owner >> 16 & 255, owner >> 8 & 255, owner & 255).unwrap();
    }
    std::fs::write(work.join("bench.test.zone"), zone).unwrap();
    let path = work.display();
    let config = format!(
        "database:\n  storage: {path}\n  kasp-db: {path}/keys\n\
         policy:\n  - id: p\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    signing-threads: {}\n\
         zone:\n  - domain: {APEX}\n    storage: {path}\n    file: bench.test.zone\n    dnssec-signing: on\n    dnssec-policy: p\n",
        std::thread::available_parallelism().map_or(1, usize::from)
    );
    std::fs::write(work.join("knot.conf"), config).unwrap();
    let before = children_cpu();
    let began = Instant::now();
    let status = Command::new("kzonesign")
        .arg("-c")
        .arg(work.join("knot.conf"))
        .arg("-o")
        .arg(work.join("out"))
        .arg(APEX)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("not there ({e})"))?;
    let (wall, cpu) = (began.elapsed(), children_cpu() - before);
    if !status.status.success() {
        return Err(String::from_utf8_lossy(&status.stderr).trim().replace('\n', " "));
    }
    let signed =
        std::fs::read_to_string(work.join("out").join("bench.test.zone")).map_err(|e| e.to_string())?;
    Ok((cpu, wall, signed.matches("\tRRSIG\t").count() as u64))
}

/// CPU time of ended children.
fn children_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = text.rsplit_once(')').unwrap();
    // Fields 16 and 17 of proc(5), in ticks of a hundredth of a second on every Linux.
    let ticks: u64 = fields.split_whitespace().skip(13).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
