//! Makes, imports and lists key files: what `hale keys` does, as functions that return what it prints.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};

use super::algorithm::Algorithm;
use super::files;
use super::key::{self, Key};
use super::load;
use super::material::{Material, MaterialError};
use super::pem;
use crate::config::KeyRole;
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;

/// Lengths of RSA keys in bits that can sign (ring takes no others from 2048 to 4096).
pub const RSA_BITS: [usize; 3] = [2048, 3072, 4096];

/// Tries to find a key tag that no key of the zone has; each fails with a chance of one in 65,536 for each such key.
const TAG_TRIES: usize = 8;

/// A key to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// The zone it is for.
    pub apex: Name,
    /// The directory that holds one folder a zone.
    pub keys: PathBuf,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// What it is to sign.
    pub role: KeyRole,
    /// RSA modulus length in bits, one of [`RSA_BITS`]; other algorithms ignore it.
    pub bits: usize,
}

/// One key file, as `generate`, `import` and `list` report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Where it is.
    pub file: PathBuf,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// What it signs.
    pub role: KeyRole,
    /// Its key tag.
    pub tag: u16,
    /// The DS record for the parent zone; `None` for a ZSK.
    pub ds: Option<String>,
}

impl KeyInfo {
    fn of(key: &Key, apex: &Name) -> Self {
        Self {
            file: key.file().to_owned(),
            algorithm: key.algorithm(),
            role: key.role(),
            tag: key.tag(),
            ds: key.signs_keys().then(|| key.ds_text(apex)),
        }
    }
}

/// `13 (ECDSAP256SHA256) csk 12345 keys/example.test/13.csk.12345.pem`.
impl fmt::Display for KeyInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.algorithm, key::role_name(self.role), self.tag, self.file.display())
    }
}

/// Makes a key and writes it as `KEYS/<zone>/<alg>.<role>.<tag>.pem`, mode 0600, fsynced.
///
/// # Errors
/// A directory or file that cannot be written, or an RSA length that is not offered.
pub fn generate(request: &Request) -> Result<KeyInfo, Diagnostic> {
    let directory = zone_directory(&request.keys, &request.apex)?;
    let taken: Vec<u16> = if directory.exists() {
        load::keys_in(&directory, &request.apex).0.iter().map(Key::tag).collect()
    } else {
        Vec::new()
    };
    for _ in 0..TAG_TRIES {
        let (material, key) = make_key(request.algorithm, request.role, request.bits)
            .map_err(|e| Diagnostic::error(&directory, format!("no key can be made: {e}")))?;
        if !taken.contains(&key.tag()) {
            return write_key(&directory, &request.apex, &material, &key);
        }
    }
    Err(Diagnostic::error(
        &directory,
        "no key with an unused key tag was found: take old keys out of the directory",
    ))
}

/// Copies a key file of any readable form to `KEYS/<zone>/` as PKCS#8, named by algorithm, role and tag. Returns the new file
/// and warnings about the old one.
///
/// # Errors
/// The file is no key, or its copy cannot be written.
pub fn import(
    file: &Path,
    apex: &Name,
    keys: &Path,
    role: Option<KeyRole>,
    algorithm: Option<u8>,
) -> Result<(KeyInfo, Vec<Diagnostic>), Diagnostic> {
    let directory = zone_directory(keys, apex)?;
    let (material, key, warnings) = load::read_for_import(file, apex, role, algorithm)?;
    write_key(&directory, apex, &material, &key).map(|info| (info, warnings))
}

/// Every key of a zone that can be read, and what is wrong with the others.
pub fn list(keys: &Path, apex: &Name) -> (Vec<KeyInfo>, Vec<Diagnostic>) {
    let (found, findings) = load::keys_in(&keys.join(files::zone_file_name(apex)), apex);
    (found.iter().map(|key| KeyInfo::of(key, apex)).collect(), findings)
}

/// The zones that have a folder in a key directory, sorted.
///
/// # Errors
/// The directory cannot be read.
pub fn zones_in(keys: &Path) -> Result<Vec<Name>, Diagnostic> {
    let unreadable = |e: io::Error| Diagnostic::error(keys, format!("the key directory cannot be read: {e}"));
    let mut zones = Vec::new();
    for entry in fs::read_dir(keys).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Folders of ours start with a dot while they are made.
        if entry.path().is_dir() && !name.starts_with('.') {
            zones.extend(if name == "@" { Some(Name::root()) } else { Name::parse_absolute(&name).ok() });
        }
    }
    zones.sort();
    Ok(zones)
}

/// Makes the CSK of a zone with `"keys": "auto"` unless its folder exists; returns whether it did.
///
/// The folder appears with the key in it or not at all. So a folder without a key means that a key was lost, which loading
/// reports, where a new key would silently break the chain from the parent's DS record.
///
/// # Errors
/// The state directory cannot be written.
pub(super) fn ensure_auto_key(auto_dir: &Path, apex: &Name) -> io::Result<bool> {
    let name = files::check_zone_file_name(apex)?;
    let target = auto_dir.join(&name);
    if target.try_exists()? {
        return Ok(false);
    }
    files::create_private_directory(auto_dir)?;
    let fresh = auto_dir.join(format!(".new-{name}"));
    if fresh.try_exists()? {
        fs::remove_dir_all(&fresh)?; // left by a crash, never in use
    }
    files::create_private_directory(&fresh)?;
    let (material, key) = make_key(Algorithm::EcdsaP256Sha256, KeyRole::Csk, 0).map_err(io::Error::other)?;
    files::write_private(&fresh, &file_name(&key), pem::format(&material).as_bytes())?;
    fs::rename(&fresh, &target)?;
    files::sync_directory(auto_dir)?;
    Ok(true)
}

fn zone_directory(keys: &Path, apex: &Name) -> Result<PathBuf, Diagnostic> {
    files::check_zone_file_name(apex)
        .map(|name| keys.join(name))
        .map_err(|e| Diagnostic::error(keys, format!("zone {apex}: {e}")))
}

fn file_name(key: &Key) -> String {
    format!("{}.{}.{}.pem", key.algorithm().number(), key::role_name(key.role()), key.tag())
}

fn write_key(directory: &Path, apex: &Name, material: &Material, key: &Key) -> Result<KeyInfo, Diagnostic> {
    let written = files::create_private_directory(directory)
        .and_then(|()| files::write_private(directory, &file_name(key), pem::format(material).as_bytes()));
    match written {
        Ok(file) => Ok(KeyInfo { file, ..KeyInfo::of(key, apex) }),
        Err(e) => {
            Err(Diagnostic::error(&directory.join(file_name(key)), format!("the key cannot be written: {e}")))
        }
    }
}

fn make_key(algorithm: Algorithm, role: KeyRole, bits: usize) -> Result<(Material, Key), String> {
    let material = make(algorithm, bits)?;
    let key = Key::new(&material, role, algorithm, Path::new("")).map_err(|e| e.to_string())?;
    Ok((material, key))
}

/// A new private key.
fn make(algorithm: Algorithm, bits: usize) -> Result<Material, String> {
    let random = SystemRandom::new();
    let pkcs8 = match algorithm {
        Algorithm::RsaSha256 | Algorithm::RsaSha512 => return make_rsa(bits),
        Algorithm::EcdsaP256Sha256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random),
        Algorithm::EcdsaP384Sha384 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random),
        Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
    };
    let pkcs8 = pkcs8.map_err(|_| "the system gives no random numbers".to_owned())?;
    Material::from_pkcs8(pkcs8.as_ref()).map_err(|e| e.to_string())
}

fn make_rsa(bits: usize) -> Result<Material, String> {
    if !RSA_BITS.contains(&bits) {
        return Err(MaterialError::RsaSize(bits).to_string());
    }
    let key = RsaPrivateKey::new(&mut RingRandom, bits).map_err(|e| e.to_string())?;
    let [p, q] = key.primes() else { return Err("the key has not two primes".into()) };
    let one = BigUint::from(1u8);
    let inverse = key.crt_coefficient().ok_or("the primes have no inverse")?;
    let numbers = [
        key.n().to_bytes_be(),
        key.e().to_bytes_be(),
        key.d().to_bytes_be(),
        p.to_bytes_be(),
        q.to_bytes_be(),
        (key.d() % (p - &one)).to_bytes_be(),
        (key.d() % (q - &one)).to_bytes_be(),
        inverse.to_bytes_be(),
    ];
    Material::from_rsa_numbers(&std::array::from_fn(|i| numbers[i].as_slice())).map_err(|e| e.to_string())
}

/// ring's generator in the shape that the `rsa` crate takes.
struct RingRandom;

impl rsa::rand_core::CryptoRng for RingRandom {}

impl rsa::rand_core::RngCore for RingRandom {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        // The trait leaves no other way out; a system without random numbers can make no key.
        assert!(SystemRandom::new().fill(out).is_ok(), "the system gives no random numbers");
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

/// A key for tests. RSA keys take seconds to make, so there are two a process, a KSK's or CSK's and a ZSK's.
#[cfg(test)]
pub(super) fn test_material(algorithm: Algorithm, role: KeyRole) -> Material {
    static RSA: [std::sync::OnceLock<Material>; 2] = [const { std::sync::OnceLock::new() }; 2];
    match algorithm {
        Algorithm::RsaSha256 | Algorithm::RsaSha512 => {
            RSA[usize::from(role == KeyRole::Zsk)].get_or_init(|| make(algorithm, 2048).unwrap()).clone()
        }
        _ => make(algorithm, 0).unwrap(),
    }
}
