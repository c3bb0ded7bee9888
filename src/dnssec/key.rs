//! One signing key with its DNSKEY record.

use std::fmt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512};

use super::algorithm::Algorithm;
use super::material::{Material, MaterialError, Pair};
use crate::config::KeyRole;
use crate::model::name::Name;

/// DNSKEY flag "zone key" (RFC 4034 §2.1.1).
const FLAG_ZONE: u16 = 0x0100;
/// DNSKEY flag "secure entry point" (RFC 4034 §2.1.1).
const FLAG_SEP: u16 = 0x0001;
/// DS digest type SHA-256 (RFC 4509).
const DIGEST_SHA256: u8 = 2;

/// A private key that signs in one role. Its DNSKEY record, key tag and key pair are made once.
pub struct Key {
    role: KeyRole,
    algorithm: Algorithm,
    tag: u16,
    dnskey: Box<[u8]>,
    pair: Pair,
    file: PathBuf,
}

impl fmt::Debug for Key {
    /// Never prints the private part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}.{}.{})", self.algorithm.number(), role_name(self.role), self.tag)
    }
}

/// The role as files and configuration write it: `csk`, `ksk` or `zsk`.
pub fn role_name(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Ksk => "ksk",
        KeyRole::Zsk => "zsk",
        KeyRole::Csk => "csk",
    }
}

/// The inverse of [`role_name`].
pub fn parse_role(text: &str) -> Option<KeyRole> {
    [KeyRole::Ksk, KeyRole::Zsk, KeyRole::Csk].into_iter().find(|&role| role_name(role) == text)
}

/// DNSKEY flags of a role: 256 for a ZSK, 257 for a KSK or CSK.
pub(super) fn flags(role: KeyRole) -> u16 {
    match role {
        KeyRole::Zsk => FLAG_ZONE,
        KeyRole::Ksk | KeyRole::Csk => FLAG_ZONE | FLAG_SEP,
    }
}

/// RDATA of a DNSKEY record (RFC 4034 §2.1).
pub(super) fn dnskey_rdata(flags: u16, algorithm: u8, public_key: &[u8]) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(4 + public_key.len());
    rdata.extend_from_slice(&flags.to_be_bytes());
    rdata.extend_from_slice(&[3, algorithm]);
    rdata.extend_from_slice(public_key);
    rdata
}

/// The key tag of a DNSKEY record's RDATA (RFC 4034 appendix B).
pub fn key_tag(dnskey: &[u8]) -> u16 {
    // 65,535 octets of RDATA cannot overflow 32 bits.
    let sum = dnskey.iter().enumerate().fold(0u32, |sum, (i, &octet)| {
        sum + if i & 1 == 0 { u32::from(octet) << 8 } else { u32::from(octet) }
    });
    (sum + (sum >> 16)) as u16
}

/// RDATA of the DS record for a key, by the RDATA of its DNSKEY record: digest type 2, SHA-256 (RFC 4034 §5.1.4, RFC 4509).
fn ds(apex: &Name, dnskey: &[u8]) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(apex.wire());
    context.update(dnskey);
    let mut rdata = key_tag(dnskey).to_be_bytes().to_vec();
    rdata.extend_from_slice(&[dnskey.get(3).copied().unwrap_or_default(), DIGEST_SHA256]);
    rdata.extend_from_slice(context.finish().as_ref());
    rdata
}

/// The DS record for a key as the parent zone takes it, by the RDATA of its DNSKEY record.
pub fn ds_text(apex: &Name, dnskey: &[u8]) -> String {
    let ds = ds(apex, dnskey);
    let (fields, digest) = ds.split_at(4);
    let digest = HEXLOWER.encode(digest).to_uppercase();
    format!("{apex} IN DS {} {} {DIGEST_SHA256} {digest}", key_tag(dnskey), fields[2])
}

impl Key {
    /// Makes the key pair ready and tries it once, since ring sees a wrong RSA exponent only when it signs.
    pub(super) fn new(
        material: &Material,
        role: KeyRole,
        algorithm: Algorithm,
        file: &Path,
    ) -> Result<Self, MaterialError> {
        material.check_algorithm(algorithm)?;
        let dnskey = dnskey_rdata(flags(role), algorithm.number(), &material.public_key());
        let pair = material.pair()?;
        let key = Self {
            role,
            algorithm,
            tag: key_tag(&dnskey),
            dnskey: dnskey.into(),
            pair,
            file: file.to_owned(),
        };
        key.sign(b"trial", &mut Vec::new()).map_err(|ring::error::Unspecified| match material {
            Material::Rsa { .. } => MaterialError::RsaRejected("it does not sign".into()),
            _ => MaterialError::BadScalar,
        })?;
        Ok(key)
    }

    /// What it signs.
    pub fn role(&self) -> KeyRole {
        self.role
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its key tag; not unique (RFC 4034 §8).
    pub fn tag(&self) -> u16 {
        self.tag
    }

    /// RDATA of its DNSKEY record.
    pub fn dnskey(&self) -> &[u8] {
        &self.dnskey
    }

    /// The file it came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the DNSKEY, CDS and CDNSKEY RRsets are signed with it: a KSK or CSK.
    pub fn signs_keys(&self) -> bool {
        self.role != KeyRole::Zsk
    }

    /// Whether all other RRsets are signed with it: a ZSK or CSK.
    pub fn signs_zone(&self) -> bool {
        self.role != KeyRole::Ksk
    }

    /// RDATA of the DS record for it, digest type 2, SHA-256 (RFC 4034 §5.1.4, RFC 4509).
    pub fn ds(&self, apex: &Name) -> Vec<u8> {
        ds(apex, &self.dnskey)
    }

    /// The DS record as the parent zone takes it: `example.test. IN DS 12345 13 2 …`.
    pub fn ds_text(&self, apex: &Name) -> String {
        ds_text(apex, &self.dnskey)
    }

    /// Appends the signature over `message`, in the form an RRSIG carries (RFC 3110, RFC 6605 §4, RFC 8080 §4).
    pub(super) fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), ring::error::Unspecified> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                out.extend_from_slice(pair.sign(&SystemRandom::new(), message)?.as_ref());
            }
            Pair::Ed25519(pair) => out.extend_from_slice(pair.sign(message).as_ref()),
            Pair::Rsa(pair) => {
                let padding = match self.algorithm {
                    Algorithm::RsaSha512 => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let start = out.len();
                out.resize(start + pair.public().modulus_len(), 0);
                pair.sign(padding, &SystemRandom::new(), message, &mut out[start..])?;
            }
        }
        Ok(())
    }

    /// Octets of each of its signatures.
    pub(super) fn signature_len(&self) -> usize {
        match &self.pair {
            Pair::Rsa(pair) => pair.public().modulus_len(),
            Pair::Ecdsa(_) if self.algorithm == Algorithm::EcdsaP384Sha384 => 96,
            Pair::Ecdsa(_) | Pair::Ed25519(_) => 64,
        }
    }
}
