//! Command-line validators and signers of others.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Finished, find, run};

const WAIT: Duration = Duration::from_secs(60);

/// `ldns-verify-zone` on a zone in text; `None` where it is not installed.
pub fn ldns_verify_zone(zone: &Path) -> Option<Finished> {
    Some(run(Command::new(find("ldns-verify-zone")?).arg(zone), WAIT))
}

/// `dnssec-verify` on a zone in text; `None` where it is not installed. A zone signed by one key for everything needs `-z`, else a KSK and a
/// ZSK are wanted.
pub fn dnssec_verify(apex: &str, zone: &Path) -> Option<Finished> {
    let mut command = Command::new(find("dnssec-verify")?);
    if !std::fs::read_to_string(zone).unwrap().contains("DNSKEY\t256 ") {
        command.arg("-z");
    }
    Some(run(command.args(["-o", apex]).arg(zone), WAIT))
}

/// `kzonecheck` with its DNSSEC checks; `None` where it is not installed.
pub fn kzonecheck(apex: &str, zone: &Path) -> Option<Finished> {
    Some(run(Command::new(find("kzonecheck")?).args(["-d", "on", "-o", apex]).arg(zone), WAIT))
}

/// `delv` with a trust anchor given as DNSKEY records in presentation form; `None` where it is not installed.
pub fn delv(
    server: SocketAddr,
    folder: &Path,
    apex: &str,
    dnskeys: &[String],
    name: &str,
    rtype: &str,
) -> Option<Finished> {
    let program = find("delv")?;
    let anchors = dnskeys.iter().fold("trust-anchors {\n".to_owned(), |text, key| {
        let mut fields = key.split_whitespace().skip_while(|field| *field != "DNSKEY").skip(1);
        let numbers: Vec<&str> = fields.by_ref().take(3).collect();
        let blob: String = fields.collect();
        text + &format!("  {apex}. static-key {} {} {} \"{blob}\";\n", numbers[0], numbers[1], numbers[2])
    }) + "};\n";
    let path = folder.join(format!("anchor-{apex}.conf"));
    std::fs::write(&path, anchors).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string(), "-a"]).arg(path);
    Some(run(command.arg(format!("+root={apex}")).args([name, rtype]), WAIT))
}

/// Signs a zone in text with BIND's tools and NSEC; returns the signed file. `None` where they are not installed.
pub fn sign(apex: &str, zone: &Path, folder: &Path) -> Option<PathBuf> {
    let keygen = find("dnssec-keygen")?;
    let signzone = find("dnssec-signzone")?;
    let made =
        run(Command::new(keygen).args(["-q", "-a", "13", "-f", "KSK", "-K"]).arg(folder).arg(apex), WAIT);
    assert!(made.status.success(), "{made:?}");
    let signed = folder.join(format!("{apex}.signed"));
    let mut command = Command::new(signzone);
    // -P: the zone has deliberate oddities, and the references are to serve it anyway; -z: the one key signs everything.
    command
        .args(["-P", "-z", "-S", "-K"])
        .arg(folder)
        .arg("-d")
        .arg(folder)
        .args(["-o", apex, "-f"])
        .arg(&signed)
        .arg(zone);
    let done = run(&mut command, WAIT);
    assert!(done.status.success(), "{done:?}");
    Some(signed)
}
