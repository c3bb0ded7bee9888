//! TLS towards others: which certificates the probes of health checks, the clients of discovery and commands accept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring as ring_provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, WantsVerifier,
};

/// Client configurations, made when first needed and shared by all connections.
///
/// Reading the system's roots takes some milliseconds, once; a CA file is read again when its time, size or inode has changed.
#[derive(Debug, Default)]
pub struct ClientConfigs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    unverified: Option<Arc<ClientConfig>>,
    system: Option<Arc<ClientConfig>>,
    files: HashMap<PathBuf, (Stamp, Arc<ClientConfig>)>,
}

/// What tells that a file was changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(i64, i64, u64, u64);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.mtime(), metadata.mtime_nsec(), metadata.size(), metadata.ino())
    }
}

impl ClientConfigs {
    /// The configuration that verifies against a CA file's certificates or, without one, the system's; with `verify` off any certificate will
    /// do. It offers HTTP/1.1 (ALPN, RFC 7301) and resumes no sessions.
    ///
    /// # Errors
    /// Those of our own host, never the peer's: no roots, a CA file that cannot be read.
    pub fn get(&self, verify: bool, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Cow<'static, str>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ca_file {
            _ if !verify => match &kept.unverified {
                Some(config) => Ok(config.clone()),
                None => Ok(kept.unverified.insert(unverified()?).clone()),
            },
            Some(file) => from_file(&mut kept, file),
            None => match &kept.system {
                Some(config) => Ok(config.clone()),
                None => Ok(kept.system.insert(verified(system_roots()?)?).clone()),
            },
        }
    }
}

fn from_file(kept: &mut Kept, file: &Path) -> Result<Arc<ClientConfig>, Cow<'static, str>> {
    let failed = |e: &dyn std::fmt::Display| Cow::from(format!("ca_file {}: {e}", file.display()));
    let found = std::fs::metadata(file).map_err(|e| failed(&e))?;
    if !found.is_file() {
        // Opening a pipe would wait for whoever writes to it, and every other check of TLS with it.
        return Err(failed(&"it is not a file"));
    }
    let stamp = Stamp::of(&found);
    if let Some((read, config)) = kept.files.get(file)
        && *read == stamp
    {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| failed(&e))? {
        roots.add(certificate.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
    }
    if roots.is_empty() {
        return Err(failed(&"holds no certificate"));
    }
    let config = verified(roots)?;
    kept.files.insert(file.to_owned(), (stamp, config.clone()));
    Ok(config)
}

fn system_roots() -> Result<RootCertStore, Cow<'static, str>> {
    let mut roots = RootCertStore::empty();
    // Single certificates that cannot be parsed are usual in system stores, and no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this host has no root certificates (install ca-certificates, or give ca_file)".into());
    }
    Ok(roots)
}

fn verified(roots: RootCertStore) -> Result<Arc<ClientConfig>, Cow<'static, str>> {
    let builder = builder()?;
    Ok(finish(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn unverified() -> Result<Arc<ClientConfig>, Cow<'static, str>> {
    let verifier = Arc::new(AnyCertificate(ring_provider::default_provider()));
    let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(finish(builder.with_no_client_auth()))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Cow<'static, str>> {
    // The provider is named, not taken from the process: another crate may have installed a different one.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring_provider::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(|e| Cow::from(format!("TLS: {e}")))
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    // A resumed session shows no certificate, and one that has expired since would pass.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

/// `"verify": false`: any certificate will do, but the handshake must still be signed by its key.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
