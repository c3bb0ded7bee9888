//! What was published: every variant with its signatures, and answers as they would go out.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hale::answer::{Outcome, Query, Scratch, Settings, Transport, answer};
use hale::model::name::Name;
use hale::model::rrtype::RrType;
use hale::snapshot::image::{OwnerRecords, ServedRrset};
use hale::snapshot::{Snapshot, ZoneImage};
use hickory_proto::dnssec::Verifier as _;
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::rr::RData;

use super::oracle::Answer;
use super::support::verify;
use super::support::wire::{Message, QueryBuilder, Record, rcode, rtype};

/// What validated already, by hash.
#[derive(Default)]
pub(super) struct Validated(HashSet<u64>);

fn hash(parts: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn name(text: &str) -> Name {
    Name::parse_absolute(text).unwrap()
}

pub(super) fn address(rdata: &[u8]) -> IpAddr {
    match <[u8; 4]>::try_from(rdata) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(rdata).unwrap()).into(),
    }
}

fn octets(rrset: &ServedRrset) -> (u16, u32, Vec<Vec<u8>>) {
    (rrset.rrset.rtype.0, rrset.rrset.ttl, rrset.rrset.rdata.iter().map(<[u8]>::to_vec).collect())
}

/// All data of a zone but its SOA record and what the keys are; signatures apart.
pub(super) fn digests(image: &ZoneImage) -> (u64, u64, u64) {
    let (mut data, mut signatures, mut picks) = (Vec::new(), Vec::new(), Vec::new());
    for owner in image.owners() {
        let keys = [RrType::SOA, RrType::DNSKEY, RrType::CDS, RrType::CDNSKEY];
        for rrset in owner.all_rrsets().filter(|r| !keys.contains(&r.rrset.rtype)) {
            data.push((owner.name.wire().to_vec(), octets(rrset)));
            signatures.push(rrset.signatures.iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
        }
        picks.push(format!(
            "{:?}{:?}{:?}",
            owner.pending,
            owner.withheld,
            owner.choices.iter().map(|c| &c.pick).collect::<Vec<_>>()
        ));
    }
    (hash(data), hash(signatures), hash(picks))
}

/// The answers of a type that an owner can give.
pub(super) fn variants(owner: &OwnerRecords, is_v4: bool) -> BTreeSet<Answer> {
    let wanted = if is_v4 { RrType::A } else { RrType::AAAA };
    let of_type = owner.all_rrsets().filter(|r| r.rrset.rtype == wanted);
    of_type
        .map(|r| {
            let mut answer: Answer = r.rrset.rdata.iter().map(address).collect();
            answer.sort_unstable();
            answer
        })
        .collect()
}

impl Validated {
    /// Verifies every RRset of an owner by hickory-proto's verifier; returns how many were new.
    pub(super) fn owner(&mut self, image: &ZoneImage, owner: &OwnerRecords, now_s: u32) -> u64 {
        let apex = image.owner(image.apex()).unwrap();
        let dnskey = apex.rrsets.iter().find(|r| r.rrset.rtype == RrType::DNSKEY).unwrap();
        let mut verified = 0;
        for rrset in owner.all_rrsets() {
            let signatures: Vec<&[u8]> = rrset.signatures.iter().collect();
            if !self.0.insert(hash((owner.name.wire(), octets(rrset), &signatures))) {
                continue;
            }
            assert_eq!(signatures.len(), 1, "{} {}", owner.name, rrset.rrset.rtype);
            let word = |at: usize| u32::from_be_bytes(signatures[0][at..at + 4].try_into().unwrap());
            assert!(
                (word(12)..word(8)).contains(&now_s),
                "{} {}: not valid now",
                owner.name,
                rrset.rrset.rtype
            );
            assert!(is_good(owner, rrset, image.apex(), dnskey), "{} {}", owner.name, rrset.rrset.rtype);
            verified += 1;
        }
        verified
    }
}

/// Whether hickory-proto verifies the signature, from wire form on.
fn is_good(owner: &OwnerRecords, rrset: &ServedRrset, apex: &Name, dnskey: &ServedRrset) -> bool {
    let mut wire = vec![0, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut count = 0u16;
    let mut put = |owner: &Name, rtype: RrType, ttl: u32, rdata: &[u8]| {
        wire.extend_from_slice(owner.wire());
        wire.extend_from_slice(&rtype.0.to_be_bytes());
        wire.extend_from_slice(&[0, 1]);
        wire.extend_from_slice(&ttl.to_be_bytes());
        wire.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        wire.extend_from_slice(rdata);
        count += 1;
    };
    let ttl = rrset.rrset.ttl;
    rrset.rrset.rdata.iter().for_each(|r| put(&owner.name, rrset.rrset.rtype, ttl, r));
    rrset.signatures.iter().for_each(|r| put(&owner.name, RrType::RRSIG, ttl, r));
    if rrset.rrset.rtype != RrType::DNSKEY {
        dnskey.rrset.rdata.iter().for_each(|r| put(apex, RrType::DNSKEY, ttl, r));
    }
    wire[6..8].copy_from_slice(&count.to_be_bytes());
    let message = hickory_proto::op::Message::from_vec(&wire).unwrap();
    let covered: Vec<_> = message
        .answers
        .iter()
        .filter(|r| u16::from(r.record_type()) == rrset.rrset.rtype.0)
        .cloned()
        .collect();
    message.answers.iter().any(|record| {
        let RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) = &record.data else { return false };
        message.answers.iter().any(|key| {
            let RData::DNSSEC(DNSSECRData::DNSKEY(dnskey)) = &key.data else { return false };
            dnskey.verify_rrsig(&record.name, record.dns_class, rrsig, covered.iter()).is_ok()
        })
    })
}

/// Asks the engine as a worker does.
pub(super) struct Asker {
    scratch: Scratch,
    checked: HashSet<u64>,
}

impl Asker {
    pub(super) fn new() -> Self {
        Self { scratch: Scratch::with_seed(Arc::new(Settings::default()), 1), checked: HashSet::new() }
    }

    /// The response for a client, which is the sender or, behind a resolver, in the client subnet option.
    pub(super) fn ask(
        &mut self,
        snapshot: &Snapshot,
        owner: &str,
        is_v4: bool,
        client: IpAddr,
        by_resolver: bool,
        now_s: u32,
    ) -> Message {
        let qtype = if is_v4 { rtype::A } else { rtype::AAAA };
        let mut query = QueryBuilder::new(owner, qtype).edns(1232, true);
        let mut peer = client;
        if let (true, IpAddr::V4(v4)) = (by_resolver, client) {
            peer = IpAddr::from([198, 51, 100, 53]);
            query = query.option(8, &[&[0, 1, 32, 0][..], &v4.octets()].concat());
        }
        let bytes = query.build();
        let query =
            Query { bytes: &bytes, peer: SocketAddr::new(peer, 5353), transport: Transport::Udp, now_s };
        let mut out = vec![0; 1232];
        let Outcome::Reply(reply) = answer(snapshot, &mut self.scratch, &query, &mut out) else {
            panic!("no answer for {owner}")
        };
        Message::decode(&out[..reply.len]).unwrap()
    }

    /// Verifies what is signed in a response, and that a denial denies the type.
    pub(super) fn validate(
        &mut self,
        message: &Message,
        keys: &[Record],
        owner: &str,
        qtype: u16,
        now_s: u32,
    ) {
        for section in [&message.answer, &message.authority] {
            let all: Vec<_> = section.iter().map(|r| (&r.owner.0, r.rtype, r.ttl, &r.rdata)).collect();
            if self.checked.insert(hash(all)) {
                verify::verify_section(section, keys, now_s).unwrap_or_else(|e| panic!("{owner}: {e}"));
            }
        }
        if message.rcode != rcode::NOERROR || message.answers(qtype).next().is_some() {
            return;
        }
        let nsec = message
            .authority
            .iter()
            .find(|r| r.rtype == rtype::NSEC && r.owner == QueryBuilder::new(owner, 1).name);
        let nsec = nsec.unwrap_or_else(|| panic!("{owner} {qtype}: no NSEC record of the name: {message:?}"));
        // Next name, window, length, bitmap (RFC 4034 §4.1.2); both types are in window 0.
        let bitmap = &nsec.rdata[nsec.name_at(0).0.len()..];
        assert_eq!(bitmap[0], 0);
        let octet = bitmap[2..2 + usize::from(bitmap[1])].get(usize::from(qtype / 8)).copied().unwrap_or(0);
        assert_eq!(
            octet & 0x80 >> (qtype % 8),
            0,
            "{owner} {qtype}: the NSEC record says that the type is there"
        );
    }
}

/// The DNSKEY records as the wire has them.
pub(super) fn keys(image: &ZoneImage) -> Vec<Record> {
    let apex = image.owner(image.apex()).unwrap();
    let dnskey = apex.rrsets.iter().find(|r| r.rrset.rtype == RrType::DNSKEY);
    let record = |rdata: &[u8]| Record {
        owner: QueryBuilder::new(&image.apex().to_string(), 1).name,
        rtype: rtype::DNSKEY,
        class: 1,
        ttl: 0,
        rdata: rdata.to_vec(),
    };
    dnskey.map(|r| r.rrset.rdata.iter().map(record).collect()).unwrap_or_default()
}
