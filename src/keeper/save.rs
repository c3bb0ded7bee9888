//! What an orderly stop leaves: serials with digests, and signatures, so that a restart is cheap and quiet.
//!
//! Whoever stops a server waits for it, and kills it after ten seconds or so: a large zone is gone through once, by all cores.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use tracing::{error, info};

use super::Keeper;
use super::comparison::ZoneDigest;
use super::crew::Crew;
use super::start::{SIGNATURES_VERSION, signature_file};
use super::zone_state::ZoneState;
use crate::dnssec::saved::write_entry;
use crate::model::name::Name;
use crate::state::StateDir;

/// Where the entries of several threads go, each piece whole.
type Shared<'w> = Mutex<&'w mut (dyn Write + Send)>;

impl Keeper {
    /// Saves what makes a restart cheap and quiet: signatures, and serials with the digests of what they stand for.
    pub(super) fn save(&mut self) {
        let Some(state) = self.tools.state.clone() else { return };
        let crew = Crew { threads: self.tools.workshop.threads };
        let zones = super::serving(&self.zones);
        let digests: Vec<_> = zones
            .map(|zone| (zone.apex().clone(), zone.serial(), save_signatures(&state, zone, crew).finish()))
            .collect();
        let zones = digests.len();
        self.serials.close(digests.into_iter());
        self.save_choices();
        info!(zones, "state saved");
    }

    /// Saves what pools that stay with their choice use, of the owners that there still are.
    fn save_choices(&self) {
        let zones: HashMap<String, &ZoneState> =
            super::serving(&self.zones).map(|zone| (zone.apex().to_string(), zone)).collect();
        let is_there = |zone: &str, owner: &str| {
            let name = Name::parse_absolute(owner);
            zones.get(zone).zip(name.ok()).is_some_and(|(zone, name)| zone.checked.contains_key(&name))
        };
        if let Err(e) = self.tools.workshop.choices.save(is_there) {
            error!(error = %e, "pools with \"failback\": false choose anew at the next start");
        }
    }
}

/// Saves the signatures that a zone serves and those it may come back to, and gives the digest of what it serves. Where they cannot be
/// written an older file still stands.
fn save_signatures(state: &StateDir, zone: &ZoneState, crew: Crew) -> ZoneDigest {
    if zone.signer.is_none() {
        return go_through(zone, crew, None).unwrap_or_default();
    }
    let mut digest = None;
    let written = state.write_blob_with(&signature_file(zone.apex()), SIGNATURES_VERSION, |file| {
        digest = Some(go_through(zone, crew, Some(&Mutex::new(&mut *file)))?);
        let mut entries = zone.cache.entries();
        entries.try_for_each(|(digest, signed)| write_entry(file, digest, &signed.rrsigs))
    });
    if let Err(e) = written {
        error!(zone = %zone.apex(), error = %e, "signatures are not saved: the next start signs everything anew");
    }
    // Nothing fails where nothing is written.
    digest.or_else(|| go_through(zone, crew, None).ok()).unwrap_or_default()
}

/// Goes through the owners of a zone, and writes their signatures if there is where to.
///
/// # Errors
/// Those of `to`.
fn go_through(zone: &ZoneState, crew: Crew, to: Option<&Shared<'_>>) -> io::Result<ZoneDigest> {
    let part = |number: usize| -> io::Result<ZoneDigest> {
        let (mut digest, mut entries) = (ZoneDigest::default(), Vec::new());
        for owner in zone.image.owners_of_part(number) {
            digest.add(&owner);
            let (Some(signer), Some(_)) = (&zone.signer, to) else { continue };
            for served in owner.all_rrsets().filter(|served| !served.signatures.is_empty()) {
                let id = signer.digest(&owner.name, &served.rrset);
                write_entry(&mut entries, &id, &served.signatures)?;
            }
        }
        if let Some(to) = to {
            to.lock().unwrap_or_else(PoisonError::into_inner).write_all(&entries)?;
        }
        Ok(digest)
    };
    let mut whole = ZoneDigest::default();
    for digest in crew.run((0..zone.image.parts()).collect(), 2, part) {
        whole.merge(&digest?);
    }
    Ok(whole)
}
