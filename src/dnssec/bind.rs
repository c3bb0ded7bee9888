//! BIND's key files: `K<zone>.+<alg>+<tag>.private`, with `.key` (the DNSKEY record) and `.state` beside it.

use std::collections::HashMap;

use data_encoding::BASE64;

use super::algorithm::Algorithm;
use super::material::{Curve, Material};
use crate::config::KeyRole;

/// What a `.private` file holds.
pub(super) struct PrivateFile {
    pub(super) material: Material,
    pub(super) algorithm: Algorithm,
    /// Names of the timing fields that ask for a change Hale does not make.
    pub(super) ignored_timing: Vec<&'static str>,
}

/// The DNSKEY record of a `.key` file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PublicFile {
    pub(super) flags: u16,
    pub(super) algorithm: u8,
    pub(super) key: Vec<u8>,
}

/// Reads the text of a `.private` file.
///
/// # Errors
/// The end of a sentence that starts with the file's name.
pub(super) fn parse_private(text: &str) -> Result<PrivateFile, String> {
    let fields: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim())).collect();
    let version =
        fields.get("Private-key-format").ok_or("not a BIND private key file (no Private-key-format)")?;
    if !version.starts_with("v1.") {
        return Err(format!("private key format {version:?} is unknown; v1.2 and v1.3 are"));
    }
    if fields.contains_key("Engine") || fields.contains_key("Label") {
        return Err("the key is in a hardware module, which is not supported".into());
    }
    let number = fields.get("Algorithm").and_then(|v| v.split_whitespace().next()).unwrap_or_default();
    let algorithm = number
        .parse()
        .ok()
        .and_then(Algorithm::from_number)
        .ok_or_else(|| format!("algorithm {number:?} is not supported; 8, 10, 13, 14 and 15 are"))?;
    let field = |name: &str| {
        let text = fields.get(name).ok_or_else(|| format!("no field {name}"))?;
        BASE64.decode(text.as_bytes()).map_err(|_| format!("field {name} is not Base64"))
    };
    let material = match algorithm {
        Algorithm::RsaSha256 | Algorithm::RsaSha512 => {
            const NAMES: [&str; 8] = [
                "Modulus",
                "PublicExponent",
                "PrivateExponent",
                "Prime1",
                "Prime2",
                "Exponent1",
                "Exponent2",
                "Coefficient",
            ];
            let numbers = NAMES.iter().map(|name| field(name)).collect::<Result<Vec<_>, _>>()?;
            Material::from_rsa_numbers(&std::array::from_fn(|i| numbers[i].as_slice()))
        }
        Algorithm::EcdsaP256Sha256 => Material::from_scalar(Curve::P256, &field("PrivateKey")?),
        Algorithm::EcdsaP384Sha384 => Material::from_scalar(Curve::P384, &field("PrivateKey")?),
        Algorithm::Ed25519 => Material::from_ed25519(&field("PrivateKey")?, None),
    };
    let ignored_timing =
        ["Revoke", "Inactive", "Delete"].into_iter().filter(|name| fields.contains_key(name)).collect();
    Ok(PrivateFile { material: material.map_err(|e| e.to_string())?, algorithm, ignored_timing })
}

/// Reads the text of a `.key` file.
///
/// # Errors
/// The end of a sentence that starts with the file's name.
pub(super) fn parse_public(text: &str) -> Result<PublicFile, String> {
    let tokens: Vec<&str> = text
        .lines()
        .map(|line| line.split(';').next().unwrap_or_default())
        .flat_map(|line| line.split(|c: char| c.is_whitespace() || c == '(' || c == ')'))
        .filter(|token| !token.is_empty())
        .collect();
    let at = tokens.iter().position(|t| t.eq_ignore_ascii_case("DNSKEY")).ok_or("no DNSKEY record in it")?;
    let [flags, "3", algorithm, base64 @ ..] = &tokens[at + 1..] else {
        return Err("its DNSKEY record is not whole".into());
    };
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| format!("{text:?} in its DNSKEY record is not a number"))
    };
    let algorithm = u8::try_from(number(algorithm)?).map_err(|_| "its algorithm is not one octet")?;
    let key = BASE64
        .decode(base64.concat().as_bytes())
        .map_err(|_| "the key in its DNSKEY record is not Base64")?;
    Ok(PublicFile { flags: number(flags)?, algorithm, key })
}

/// The role that a `.state` file gives (BIND's `dnssec-policy` writes them); it alone tells a CSK from a KSK.
pub(super) fn role_of_state(text: &str) -> Option<KeyRole> {
    let says = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().eq_ignore_ascii_case("yes"))
    };
    match (says("KSK")?, says("ZSK")?) {
        (true, true) => Some(KeyRole::Csk),
        (true, false) => Some(KeyRole::Ksk),
        (false, true) => Some(KeyRole::Zsk),
        (false, false) => None,
    }
}

/// Algorithm number and key tag in a name such as `Kexample.test.+013+40341.private`.
pub(super) fn parse_file_name(name: &str) -> Option<(u8, u16)> {
    let mut parts = name.strip_prefix('K')?.strip_suffix(".private")?.rsplitn(3, '+');
    let tag = parts.next()?.parse().ok()?;
    let algorithm = parts.next()?.parse().ok()?;
    parts.next()?;
    Some((algorithm, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_key_records_as_dnssec_keygen_and_people_write_them() {
        let want = PublicFile { flags: 257, algorithm: 13, key: vec![0, 1, 2, 3, 4, 5] };
        for text in [
            "; This is a key-signing key, keyid 1, for example.test.\nexample.test. IN DNSKEY 257 3 13 AAEC AwQF\n",
            "example.test. 3600 IN DNSKEY 257 3 13 (\n AAECAwQF ; key\n )",
            "example.test.\tdnskey\t257 3 13 AAECAwQF",
        ] {
            assert_eq!(parse_public(text).as_ref(), Ok(&want), "{text}");
        }
        for bad in [
            "",
            "example.test. IN DNSKEY 257 3",
            "x IN DNSKEY 257 2 13 AAEC",
            "x IN DNSKEY 257 3 13 A",
            "x IN DNSKEY 257 3 256 AAEC",
        ] {
            assert!(parse_public(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_names_and_states() {
        assert_eq!(parse_file_name("Kexample.test.+013+40341.private"), Some((13, 40341)));
        assert_eq!(parse_file_name("K.+008+00001.private"), Some((8, 1)));
        for other in
            ["Kexample.test.private", "example.test.+013+40341.private", "K+013+1.key", "Kx.+999+1.private"]
        {
            assert_eq!(parse_file_name(other), None, "{other}");
        }
        for (text, role) in [
            ("KSK: yes\nZSK: yes\n", Some(KeyRole::Csk)),
            ("KSK: yes\nZSK: no\n", Some(KeyRole::Ksk)),
            ("KSK: no\nZSK: yes\n", Some(KeyRole::Zsk)),
            ("Algorithm: 13\n", None),
        ] {
            assert_eq!(role_of_state(text), role, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_private_file() {
        for (text, part) in [
            ("", "no Private-key-format"),
            ("Private-key-format: v9.0\n", "v9.0"),
            ("Private-key-format: v1.3\nAlgorithm: 13 (X)\nLabel: x\n", "hardware module"),
            ("Private-key-format: v1.3\nAlgorithm: 5 (RSASHA1)\n", "\"5\" is not supported"),
            ("Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\n", "no field PrivateKey"),
            ("Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: !\n", "not Base64"),
            ("Private-key-format: v1.3\nAlgorithm: 15\nPrivateKey: AAEC\n", "Ed25519"),
            ("Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: AAAA\n", "out of range"),
        ] {
            let error = parse_private(text).err().unwrap();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
