//! Reads a zone's keys from wherever the configuration says they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::algorithm::Algorithm;
use super::bind;
use super::files;
use super::generate;
use super::key::{self, Key};
use super::keys::ZoneKeys;
use super::material::Material;
use super::pem;
use crate::config::{KeyRole, KeySource, input};
use crate::model::diagnostic::Diagnostic;
use crate::model::name::Name;

/// Largest key file read; an RSA key of 4096 bits takes 3.3 KB.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// What a file name or the configuration says about a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    role: Option<KeyRole>,
    algorithm: Option<u8>,
    tag: Option<u16>,
}

impl ZoneKeys {
    /// The folder or files that people keep the keys of the zone `apex` in; none for keys that Hale makes.
    pub fn places(source: &KeySource, apex: &Name) -> Vec<PathBuf> {
        match source {
            KeySource::Directory(parent) => vec![parent.join(files::zone_file_name(apex))],
            KeySource::Files(list) => list.iter().map(|entry| entry.file.clone()).collect(),
            KeySource::Auto => Vec::new(),
        }
    }

    /// Loads the keys of the zone `apex`. With [`KeySource::Directory`] they are the `*.pem` and `K*.private` files in the
    /// zone's own folder; with [`KeySource::Auto`] in the zone's folder below `auto_dir`, where a CSK of algorithm 13 is made if
    /// that folder has never existed. Returns the keys with warnings.
    ///
    /// # Errors
    /// Every error found, warnings among them: a directory or file that cannot be read, a file that is no key or not the one its
    /// name says, no key at all, an algorithm without a key for one of its two tasks. The zone must not be served then.
    pub fn load(
        source: &KeySource,
        apex: &Name,
        auto_dir: Option<&Path>,
    ) -> Result<(Self, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut findings = Vec::new();
        let (place, keys) = match source {
            KeySource::Directory(parent) => {
                let directory = parent.join(files::zone_file_name(apex));
                let keys = load_directory(&directory, apex, &mut findings);
                (directory, keys)
            }
            KeySource::Files(list) => {
                let mut keys = Vec::new();
                for entry in list {
                    let told = Told { role: Some(entry.role), algorithm: entry.algorithm, tag: None };
                    keys.extend(load_file(&entry.file, told, apex, &mut findings));
                }
                (list.first().map(|entry| entry.file.clone()).unwrap_or_default(), keys)
            }
            KeySource::Auto => {
                let Some(auto_dir) = auto_dir else {
                    let error = Diagnostic::error(
                        Path::new("dnssec.keys"),
                        "\"auto\" needs a state directory to keep keys in",
                    )
                    .hint("give --state DIR, or \"state\" in hale.json");
                    return Err(vec![error]);
                };
                let directory = auto_dir.join(files::zone_file_name(apex));
                if let Err(error) = generate::ensure_auto_key(auto_dir, apex) {
                    return Err(vec![Diagnostic::error(
                        &directory,
                        format!("no key can be made here: {error}"),
                    )]);
                }
                let keys = load_directory(&directory, apex, &mut findings);
                (directory, keys)
            }
        };
        assemble(&place, apex, keys, findings)
    }

    /// The zone's folder below `auto_dir` if it is not there, so that [`ZoneKeys::load`] would make it with a new key.
    pub fn missing_auto_folder(auto_dir: &Path, apex: &Name) -> Option<PathBuf> {
        let folder = auto_dir.join(files::zone_file_name(apex));
        // Where that cannot be found out, loading says why.
        matches!(folder.try_exists(), Ok(false)).then_some(folder)
    }
}

/// Turns keys and findings into a result; judges the set only if each key is fine by itself.
fn assemble(
    place: &Path,
    apex: &Name,
    keys: Vec<Key>,
    mut findings: Vec<Diagnostic>,
) -> Result<(ZoneKeys, Vec<Diagnostic>), Vec<Diagnostic>> {
    if findings.iter().any(Diagnostic::is_error) {
        return Err(findings);
    }
    let keys = drop_duplicates(keys, &mut findings);
    if findings.iter().any(Diagnostic::is_error) {
        return Err(findings);
    }
    match ZoneKeys::new(apex, keys) {
        Ok(keys) => Ok((keys, findings)),
        Err(error) => {
            findings.push(
                Diagnostic::error(place, format!("zone {apex}: {error}"))
                    .hint("a zone needs a KSK and a ZSK, or a CSK: `hale keys generate` makes one"),
            );
            Err(findings)
        }
    }
}

/// The same key in two files counts once; two different keys with one tag are pointed out.
fn drop_duplicates(keys: Vec<Key>, findings: &mut Vec<Diagnostic>) -> Vec<Key> {
    let mut kept: Vec<Key> = Vec::new();
    for key in keys {
        // Public keys compare without the flags, which differ by role.
        match kept.iter().find(|k| k.algorithm() == key.algorithm() && k.dnskey()[4..] == key.dnskey()[4..]) {
            Some(same) if same.role() == key.role() => findings.push(Diagnostic::warning(
                key.file(),
                format!("the same key as {}: it is used once", same.file().display()),
            )),
            Some(same) => findings.push(Diagnostic::error(
                key.file(),
                format!(
                    "the same key as {} in another role ({} and {})",
                    same.file().display(),
                    key::role_name(key.role()),
                    key::role_name(same.role())
                ),
            )),
            None => {
                if let Some(other) =
                    kept.iter().find(|k| k.tag() == key.tag() && k.algorithm() == key.algorithm())
                {
                    findings.push(
                        Diagnostic::warning(
                            key.file(),
                            format!(
                                "another key than {} with the same key tag {}",
                                other.file().display(),
                                key.tag()
                            ),
                        )
                        .hint("validators limit how many such keys they try: replace one of them"),
                    );
                }
                kept.push(key);
            }
        }
    }
    kept
}

fn load_directory(directory: &Path, apex: &Name, findings: &mut Vec<Diagnostic>) -> Vec<Key> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut names = match listed {
        Ok(names) => names,
        Err(error) => {
            findings.push(
                Diagnostic::error(
                    directory,
                    format!("the key directory of zone {apex} cannot be read: {error}"),
                )
                .hint(format!(
                    "`hale keys generate {apex} --keys {}` makes it with a key in it",
                    directory.parent().unwrap_or(directory).display()
                )),
            );
            return Vec::new();
        }
    };
    names.sort();
    let mut keys = Vec::new();
    for name in &names {
        let is_key = name.ends_with(".pem") || (name.starts_with('K') && name.ends_with(".private"));
        if name.starts_with('.') || !is_key {
            continue;
        }
        keys.extend(load_file(&directory.join(name), Told::default(), apex, findings));
    }
    keys
}

/// Loads one key file; what `told` holds comes from the configuration and wins over the file's name.
fn load_file(file: &Path, told: Told, apex: &Name, findings: &mut Vec<Diagnostic>) -> Option<Key> {
    let before = findings.len();
    match read_key(file, told, apex, findings) {
        Ok(key) => {
            if let Some(mode) = files::loose_mode(file) {
                findings.insert(
                    before,
                    Diagnostic::warning(
                        file,
                        format!("the private key is open to its group or to others (mode {mode:04o})"),
                    )
                    .hint(format!("chmod 600 {}", file.display())),
                );
            }
            Some(key)
        }
        Err(error) => {
            findings.push(error);
            None
        }
    }
}

fn read_key(file: &Path, told: Told, apex: &Name, findings: &mut Vec<Diagnostic>) -> Result<Key, Diagnostic> {
    let content = read_bounded(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = String::from_utf8_lossy(&content);
    // A BIND file by its content, so that `"file": "x"` in the configuration may have any name.
    let (material, named) = if text.trim_start().starts_with("Private-key-format:") {
        read_bind(file, &name, &text, told.role, apex, findings)?
    } else {
        let named = parse_pem_name(&name).map_err(|why| Diagnostic::error(file, why))?;
        (pem::parse(&content).map_err(|why| Diagnostic::error(file, why))?, named)
    };
    let algorithm = match (told.algorithm, named.algorithm) {
        (Some(told), Some(named)) if told != named => {
            return Err(Diagnostic::error(
                file,
                format!("the file is of algorithm {named}, the configuration says {told}"),
            ));
        }
        (Some(number), _) | (None, Some(number)) => Algorithm::from_number(number).ok_or_else(|| {
            Diagnostic::error(file, format!("algorithm {number} is not supported; 8, 10, 13, 14 and 15 are"))
        })?,
        (None, None) => material.default_algorithm(),
    };
    let role = told.role.or(named.role).unwrap_or_else(|| role_of_tag(&material, algorithm, named.tag));
    let key =
        Key::new(&material, role, algorithm, file).map_err(|e| Diagnostic::error(file, e.to_string()))?;
    match named.tag {
        Some(tag) if tag != key.tag() => Err(Diagnostic::error(
            file,
            format!(
                "the file's name says key tag {tag}, the key in it as {} has {}",
                key::role_name(role),
                key.tag()
            ),
        )
        .hint("another key was put into this file, or its role or algorithm changed")),
        _ => Ok(key),
    }
}

/// The role of a key about which only its tag is known, since flags are part of what a tag sums up. Without even that it is a
/// key for everything, the only role that needs no second key.
fn role_of_tag(material: &Material, algorithm: Algorithm, tag: Option<u16>) -> KeyRole {
    let as_zsk = key::dnskey_rdata(key::flags(KeyRole::Zsk), algorithm.number(), &material.public_key());
    if tag == Some(key::key_tag(&as_zsk)) { KeyRole::Zsk } else { KeyRole::Csk }
}

fn read_bounded(file: &Path) -> Result<Vec<u8>, Diagnostic> {
    let unreadable = |error: io::Error| Diagnostic::error(file, format!("the key cannot be read: {error}"));
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE {
        return Err(Diagnostic::error(file, "not a key file (not a file of at most 64 KiB)"));
    }
    input::read(file, MAX_KEY_FILE).map_err(unreadable)
}

/// Takes `<alg>.<role>[.<tag>].pem` apart; any other name says nothing.
fn parse_pem_name(name: &str) -> Result<Told, String> {
    let mut parts = name.split('.');
    let Some(algorithm) = parts.next().and_then(|p| p.parse::<u8>().ok()) else {
        return Ok(Told::default());
    };
    let rest: Vec<&str> = parts.collect();
    let (role, tag) = match rest[..] {
        [role, "pem"] => (role, None),
        [role, tag, "pem"] => (
            role,
            Some(
                tag.parse()
                    .map_err(|_| format!("{tag:?} in the file's name is not a key tag (0 to 65535)"))?,
            ),
        ),
        _ => return Ok(Told::default()),
    };
    let role = key::parse_role(role)
        .ok_or_else(|| format!("{role:?} in the file's name is not a role (csk, ksk or zsk)"))?;
    Ok(Told { role: Some(role), algorithm: Some(algorithm), tag })
}

/// Reads a BIND key with what stands beside it, and checks that all of it is about the same key.
fn read_bind(
    file: &Path,
    name: &str,
    text: &str,
    told_role: Option<KeyRole>,
    apex: &Name,
    findings: &mut Vec<Diagnostic>,
) -> Result<(Material, Told), Diagnostic> {
    let private = bind::parse_private(text).map_err(|why| Diagnostic::error(file, why))?;
    let mut told = Told { role: None, algorithm: Some(private.algorithm.number()), tag: None };
    if let Some((algorithm, tag)) = bind::parse_file_name(name) {
        if algorithm != private.algorithm.number() {
            return Err(Diagnostic::error(
                file,
                format!(
                    "the file's name says algorithm {algorithm}, its content {}",
                    private.algorithm.number()
                ),
            ));
        }
        told.tag = Some(tag);
        let expected = format!("K{}", files::zone_file_name(apex));
        if name.rsplitn(3, '+').nth(2).is_some_and(|k| k.trim_end_matches('.') != expected) {
            findings.push(Diagnostic::warning(
                file,
                format!("the file's name is that of another zone than {apex}"),
            ));
        }
    }
    if let Some(flags) = read_public(file, &private)? {
        told.role = Some(if flags == key::flags(KeyRole::Zsk) { KeyRole::Zsk } else { KeyRole::Ksk });
        if let Some(role) = told_role.filter(|&role| key::flags(role) != flags) {
            return Err(Diagnostic::error(
                file,
                format!("role {} does not fit the flags {flags} of its .key file", key::role_name(role)),
            ));
        }
    }
    if let Some(state) = read_beside(file, "state")? {
        told.role = bind::role_of_state(&state).or(told.role);
    }
    if !private.ignored_timing.is_empty() {
        findings.push(Diagnostic::warning(
            file,
            format!("{} is not followed: the key is published and signs", private.ignored_timing.join(", ")),
        ));
    }
    Ok((private.material, told))
}

/// Flags of the `.key` file beside a `.private` file, once its public part is known to match.
fn read_public(file: &Path, private: &bind::PrivateFile) -> Result<Option<u16>, Diagnostic> {
    let Some(text) = read_beside(file, "key")? else { return Ok(None) };
    let path = file.with_extension("key");
    let public = bind::parse_public(&text).map_err(|why| Diagnostic::error(&path, why))?;
    if public.algorithm != private.algorithm.number() || public.key != private.material.public_key() {
        return Err(Diagnostic::error(&path, format!("not the public part of {}", file.display())));
    }
    match public.flags {
        256 | 257 => Ok(Some(public.flags)),
        flags if flags & 0x0080 != 0 => {
            Err(Diagnostic::error(&path, "the key is revoked (RFC 5011): take it out of the directory"))
        }
        flags => {
            Err(Diagnostic::error(&path, format!("flags {flags} are neither a ZSK's 256 nor a KSK's 257")))
        }
    }
}

/// The text of the file with another extension, if there is such a file.
fn read_beside(file: &Path, extension: &str) -> Result<Option<String>, Diagnostic> {
    let path: PathBuf = file.with_extension(extension);
    match fs::metadata(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read_bounded(&path).map(|content| Some(String::from_utf8_lossy(&content).into_owned())),
    }
}

/// The keys that can be read in a directory, whatever else is wrong there; for `hale keys list` and to find a free key tag.
pub(super) fn keys_in(directory: &Path, apex: &Name) -> (Vec<Key>, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let keys = load_directory(directory, apex, &mut findings);
    (keys, findings)
}

/// Reads one key file for import.
pub(super) fn read_for_import(
    file: &Path,
    apex: &Name,
    role: Option<KeyRole>,
    algorithm: Option<u8>,
) -> Result<(Material, Key, Vec<Diagnostic>), Diagnostic> {
    let mut findings = Vec::new();
    let told = Told { role, algorithm, tag: None };
    let key = read_key(file, told, apex, &mut findings)?;
    let content = read_bounded(file)?;
    let text = String::from_utf8_lossy(&content);
    let material = if text.trim_start().starts_with("Private-key-format:") {
        bind::parse_private(&text).map(|private| private.material)
    } else {
        pem::parse(&content)
    };
    Ok((material.map_err(|why| Diagnostic::error(file, why))?, key, findings))
}

#[cfg(all(test, unix))]
#[path = "load_tests.rs"]
pub(super) mod tests;
