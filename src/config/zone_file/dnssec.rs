//! The `dnssec` block.

use serde_json::{Value as Json, json};

use crate::config::json::{Element, FilePath, Kind, List, Read, Reader, Ttl, Value, Word, show_ms};
use crate::config::schema::Definitions;
use crate::config::types::{Dnssec, DnssecConfig, KeyFile, KeyRole, KeySource};
use crate::model::diagnostic::Position;

/// Two weeks, as most signers do: long enough to notice a fault, short enough to bound a replay.
const DEFAULT_VALIDITY_S: u32 = 14 * 86_400;
/// Renewal starts this long before expiry.
const DEFAULT_REFRESH_S: u32 = 4 * 86_400;

/// Algorithms that are signed with, by number and mnemonic (IANA's registry, RFC 8624).
pub(crate) const ALGORITHMS: &[(u8, &str)] =
    &[(8, "RSASHA256"), (10, "RSASHA512"), (13, "ECDSAP256SHA256"), (14, "ECDSAP384SHA384"), (15, "ED25519")];

object! {
    /// Signing.
    pub(crate) struct DnssecKeys {
        /// A directory that holds `<zone>/`, a list of key files, or "auto" for keys made at first use and kept in the state directory.
        "keys" (required) keys: KeysValue,
        /// How long signatures are valid; 14d unless given.
        "signature_validity" signature_validity: Ttl,
        /// How long before expiry signatures are renewed; 4d unless given, or half of a shorter validity.
        "refresh" refresh: Ttl,
        /// How non-existence is proven; nsec.
        "denial" denial: Denial,
    }
    later: ["rollover", "nsec3", "cds", "parent"]
}

object! {
    /// One key file.
    pub(crate) struct KeyFileKeys {
        /// PEM or BIND private key file.
        "file" (required) file: FilePath,
        /// What the key signs: ksk the key set, zsk the rest, csk all; csk unless given.
        "role" role: KeyRole,
        /// DNSSEC algorithm by number or mnemonic, where the file does not tell: 8 RSASHA256, 10 RSASHA512, 13 ECDSAP256SHA256, 14 ECDSAP384SHA384, 15 ED25519.
        "algorithm" algorithm: Algorithm,
    }
    later: []
}

/// How non-existence is proven.
#[derive(Clone, Copy)]
pub(crate) enum Denial {
    /// RFC 4034 §4.
    Nsec,
}

impl Word for Denial {
    const WHAT: &'static str = "a kind of denial";
    const WORDS: &'static [(&'static str, Self)] = &[("nsec", Self::Nsec)];
    const LATER: &'static [&'static str] = &["nsec3", "compact"];
}

impl Word for KeyRole {
    const WHAT: &'static str = "a key role";
    const WORDS: &'static [(&'static str, Self)] =
        &[("ksk", Self::Ksk), ("zsk", Self::Zsk), ("csk", Self::Csk)];
    const LATER: &'static [&'static str] = &[];
}

/// A DNSSEC algorithm number.
pub(crate) struct Algorithm(u8);

impl Value for Algorithm {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let mark = reader.mark();
        let found = match reader.peek()? {
            Kind::Number => {
                let text = reader.number()?;
                ALGORITHMS.iter().find(|(number, _)| number.to_string() == text)
            }
            Kind::String => {
                let text = reader.string()?;
                ALGORITHMS.iter().find(|(_, name)| name.eq_ignore_ascii_case(&text))
            }
            _ => None,
        };
        if let Some(&(number, _)) = found {
            return Ok(Some(Self(number)));
        }
        reader.rewind(mark);
        let names: Vec<String> = ALGORITHMS.iter().map(|(number, name)| format!("{number} {name}")).collect();
        reader.mismatch("an algorithm that Hale signs with", &format!("one of {}", names.join(", ")))
    }

    fn schema(_: &mut Definitions) -> Json {
        let numbers = ALGORITHMS.iter().map(|&(number, _)| json!(number));
        json!({ "enum": numbers.chain(ALGORITHMS.iter().map(|&(_, name)| json!(name))).collect::<Vec<_>>() })
    }
}

/// The value of `keys`.
pub(crate) struct KeysValue(KeySource);

impl Value for KeysValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        match reader.peek()? {
            Kind::String => {
                let mark = reader.mark();
                if reader.string()? == "auto" {
                    return Ok(Some(Self(KeySource::Auto)));
                }
                reader.rewind(mark);
                Ok(FilePath::read(reader)?.map(|path| Self(KeySource::Directory(path.0))))
            }
            Kind::Array => {
                let Some(list) = List::<KeyFileKeys>::read(reader)? else { return Ok(None) };
                if list.0.is_empty() {
                    reader.error(
                        at,
                        "the list has no usable key",
                        "name at least one key file, or write \"auto\"",
                    );
                    return Ok(None);
                }
                Ok(Some(Self(KeySource::Files(list.0.into_iter().filter_map(key_file).collect()))))
            }
            _ => reader.mismatch(
                "a source of keys",
                "a directory, \"auto\", or a list such as [ { \"file\": \"x.pem\", \"role\": \"csk\" } ]",
            ),
        }
    }

    fn schema(definitions: &mut Definitions) -> Json {
        let files = json!({ "type": "array", "items": KeyFileKeys::schema(definitions), "minItems": 1 });
        json!({ "anyOf": [{ "type": "string", "minLength": 1 }, files] })
    }
}

fn key_file(mut given: Element<KeyFileKeys>) -> Option<KeyFile> {
    let role = given.value.role.take().map_or(KeyRole::Csk, |role| role.value);
    let algorithm = given.value.algorithm.take().map(|algorithm| algorithm.value.0);
    Some(KeyFile { file: given.value.file.take()?.value.0, role, algorithm })
}

/// The value of `dnssec`.
pub(crate) struct DnssecValue(pub(crate) Dnssec);

impl Value for DnssecValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::String => {
                let mark = reader.mark();
                if reader.string()? == "off" {
                    return Ok(Some(Self(Dnssec::Off)));
                }
                reader.rewind(mark);
            }
            Kind::Object => {
                let at = reader.position();
                return Ok(DnssecKeys::read(reader)?.and_then(|keys| keys.resolve(reader, at)).map(Self));
            }
            _ => {}
        }
        reader.mismatch("a dnssec block", "an object such as { \"keys\": \"keys\" }, or \"off\"")
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "const": "off" }, DnssecKeys::schema(definitions)] })
    }
}

impl DnssecKeys {
    fn resolve(mut self, reader: &mut Reader<'_>, at: Position) -> Option<Dnssec> {
        let validity = self.signature_validity.get().map_or(DEFAULT_VALIDITY_S, |given| given.value.0);
        let refresh = self.refresh.get().map_or(DEFAULT_REFRESH_S.min(validity / 2), |given| given.value.0);
        // The signer would start to renew before a quarter of the validity is over.
        if refresh > validity - validity / 4 || refresh == 0 {
            let at = self.refresh.get().or(self.signature_validity.get()).map_or(at, |given| given.position);
            let (refresh, validity) =
                (show_ms(u64::from(refresh) * 1000), show_ms(u64::from(validity) * 1000));
            let message =
                format!("signatures valid for {validity} cannot be renewed {refresh} before they expire");
            reader.error(
                at,
                message,
                "\"refresh\" is more than 0 and at most three quarters of \"signature_validity\"",
            );
            return None;
        }
        let keys = self.keys.take()?.value.0;
        Some(Dnssec::On(DnssecConfig { keys, signature_validity: validity, refresh }))
    }
}
