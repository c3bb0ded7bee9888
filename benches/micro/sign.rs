//! One RRSIG over an address RRset of three records, by algorithm (RSA keys of 2048 bits).

use std::sync::Arc;

use divan::Bencher;
use hale::config::{KeyRole, KeySource};
use hale::dnssec::algorithm::Algorithm;
use hale::dnssec::generate::{RSA_BITS, Request, generate};
use hale::dnssec::keys::ZoneKeys;
use hale::dnssec::sign::Signer;

use crate::zone;

const DAY_S: u32 = 86_400;

#[divan::bench(args = Algorithm::ALL.map(Algorithm::mnemonic), max_time = 2)]
fn sign(bencher: Bencher<'_, '_>, mnemonic: &str) {
    let algorithm = Algorithm::ALL.into_iter().find(|a| a.mnemonic() == mnemonic).unwrap();
    let apex = zone::name("bench.test");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().to_owned();
    let request =
        Request { apex: apex.clone(), keys: keys.clone(), algorithm, role: KeyRole::Csk, bits: RSA_BITS[0] };
    generate(&request).unwrap();
    let (keys, _) = ZoneKeys::load(&KeySource::Directory(keys), &apex, None).unwrap();
    let signer = Signer::new(Arc::new(keys), 14 * DAY_S, 4 * DAY_S);
    let owner =
        zone::owners(&apex, "h A 192.0.2.1\n h A 192.0.2.2\n h A 192.0.2.3").into_values().next().unwrap();
    bencher.bench_local(|| signer.sign(&owner.name, &owner.rrsets[0].rrset, 1_800_000_000));
}
