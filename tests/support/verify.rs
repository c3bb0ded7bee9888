//! RRSIG verification (RFC 4034 §3.1.8.1, RFC 4035 §5.3) for algorithms 13 and 15, written apart from the server's signing; and what
//! trust anchors need.

use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};

use super::client::{Client, Via};
use super::wire::{QueryBuilder, Record, WireName, rtype};

/// The DNSKEY records of a zone, asked for by TCP.
pub fn dnskeys(client: &mut Client, apex: &str) -> Vec<Record> {
    let answer = client.ask(&QueryBuilder::new(apex, rtype::DNSKEY).edns(1232, true), Via::Tcp).unwrap();
    answer.answers(rtype::DNSKEY).cloned().collect()
}

/// DNSKEY records with the SEP bit in presentation form: a trust anchor.
pub fn anchors(keys: &[Record]) -> Vec<String> {
    keys.iter()
        .filter(|key| key.rdata[1] & 1 == 1)
        .map(|key| {
            let flags = u16::from_be_bytes([key.rdata[0], key.rdata[1]]);
            format!(
                "{} DNSKEY {flags} {} {} {}",
                key.owner,
                key.rdata[2],
                key.rdata[3],
                base64(&key.rdata[4..])
            )
        })
        .collect()
}

/// Base64 with padding (RFC 4648 §4).
pub fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in octets.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, octet| word << 8 | u32::from(*octet)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
        }
        text.push_str(&"=="[..3 - chunk.len()]);
    }
    text
}

/// Verifies every RRset of a section that has to be signed: each has an RRSIG by one of the keys, valid now.
pub fn verify_section(section: &[Record], keys: &[Record], now_s: u32) -> Result<(), String> {
    let unsigned = section.iter().filter(|record| record.rtype != rtype::RRSIG);
    let mut seen: Vec<(&WireName, u16)> = unsigned.map(|record| (&record.owner, record.rtype)).collect();
    seen.dedup();
    for (owner, wanted) in seen {
        // RFC 6672 §5.3.1: a CNAME that a DNAME makes is not signed; the DNAME is.
        let by_dname = |record: &Record| {
            record.rtype == rtype::DNAME && owner.parent().is_some_and(|above| above.is_within(&record.owner))
        };
        if wanted == rtype::CNAME && section.iter().any(by_dname) {
            continue;
        }
        let set: Vec<&Record> =
            section.iter().filter(|record| record.owner == *owner && record.rtype == wanted).collect();
        let of_set = |record: &&Record| {
            record.rtype == rtype::RRSIG && record.owner == *owner && record.covered() == wanted
        };
        let signature = section.iter().find(of_set).ok_or(format!("{owner} {wanted}: no RRSIG"))?;
        verify(&set, signature, keys, now_s).map_err(|error| format!("{owner} type {wanted}: {error}"))?;
    }
    Ok(())
}

/// Verifies one RRset.
pub fn verify(set: &[&Record], signature: &Record, keys: &[Record], now_s: u32) -> Result<(), String> {
    let rdata = &signature.rdata;
    let word = |at: usize| u32::from_be_bytes(rdata[at..at + 4].try_into().unwrap());
    let (algorithm, labels, original_ttl, expiration, inception) =
        (rdata[2], rdata[3], word(4), word(8), word(12));
    // Serial arithmetic (RFC 4034 §3.1.5).
    if (expiration.wrapping_sub(now_s) as i32) < 0 || (now_s.wrapping_sub(inception) as i32) < 0 {
        return Err(format!("valid from {inception} to {expiration}, now {now_s}"));
    }
    let tag = u16::from_be_bytes([rdata[16], rdata[17]]);
    let signer = signature.name_at(18);
    let blob = &rdata[18 + signer.0.len()..];
    let mut signed = rdata[..18 + signer.0.len()].to_vec();
    let owner = expanded_from(&set[0].owner, usize::from(labels));
    let mut rdatas: Vec<&Vec<u8>> = set.iter().map(|record| &record.rdata).collect();
    rdatas.sort();
    for rdata in rdatas {
        signed.extend_from_slice(&owner.0);
        signed.extend_from_slice(&set[0].rtype.to_be_bytes());
        signed.extend_from_slice(&[0, 1]);
        signed.extend_from_slice(&original_ttl.to_be_bytes());
        signed.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        signed.extend_from_slice(rdata);
    }
    let fits = |key: &&Record| key.rdata[3] == algorithm && key_tag(&key.rdata) == tag && key.owner == signer;
    let valid = keys.iter().filter(fits).any(|key| match algorithm {
        13 => {
            let point = [&[4], &key.rdata[4..]].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&signed, blob).is_ok()
        }
        15 => UnparsedPublicKey::new(&ED25519, &key.rdata[4..]).verify(&signed, blob).is_ok(),
        other => panic!("algorithm {other} is not for this check"),
    });
    valid.then_some(()).ok_or(format!("no key verifies the signature by {tag}"))
}

/// The owner that was signed: a wildcard where the RRSIG has fewer labels (RFC 4034 §3.1.3).
fn expanded_from(owner: &WireName, labels: usize) -> WireName {
    let has = owner.labels();
    if has.len() == labels || has.first() == Some(&&b"*"[..]) && has.len() == labels + 1 {
        return owner.clone();
    }
    let mut encloser = owner.clone();
    while encloser.labels().len() > labels {
        encloser = encloser.parent().unwrap();
    }
    encloser.child(b"*")
}

/// RFC 4034 appendix B.
fn key_tag(rdata: &[u8]) -> u16 {
    let sum: u32 =
        rdata.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    (sum + (sum >> 16)) as u16
}

/// Unix seconds.
pub fn now_s() -> u32 {
    u32::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}
