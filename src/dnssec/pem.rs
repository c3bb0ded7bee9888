//! PEM files (RFC 7468) of private keys, read and written.

use data_encoding::BASE64;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::material::Material;

/// Reads the one private key of a PEM text; other sections (EC parameters, certificates) are passed over.
///
/// # Errors
/// The end of a sentence that starts with the file's name.
pub(super) fn parse(text: &[u8]) -> Result<Material, String> {
    let as_text = String::from_utf8_lossy(text);
    if as_text.contains("ENCRYPTED") {
        return Err(
            "the key is encrypted, which is not supported: `openssl pkey -in FILE -out PLAIN` decrypts it"
                .into(),
        );
    }
    let mut sections = PrivateKeyDer::pem_slice_iter(text);
    let first = match sections.next() {
        None => return Err("no private key in it (PEM with \"BEGIN … PRIVATE KEY\" is expected)".into()),
        Some(section) => section.map_err(|e| format!("not valid PEM: {e}"))?,
    };
    if sections.next().is_some() {
        return Err("more than one private key in it: put each key into a file of its own".into());
    }
    match &first {
        PrivateKeyDer::Pkcs8(der) => Material::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => Material::from_pkcs1(der.secret_pkcs1_der()),
        PrivateKeyDer::Sec1(der) => Material::from_sec1(der.secret_sec1_der(), None),
        _ => return Err("an unknown kind of private key".into()),
    }
    .map_err(|e| e.to_string())
}

/// The key as PKCS#8 in PEM.
pub(super) fn format(material: &Material) -> String {
    let base64 = BASE64.encode(&material.to_pkcs8());
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII: any index is a character boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}
