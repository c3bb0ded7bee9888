//! TLS: which certificates a probe accepts, and the `tls` check, which is a handshake and nothing more.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
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

use tokio_rustls::client::TlsStream;

use super::certificate::{Certificates, judge, not_after_s, now_s};
use super::{Outcome, Reason, after_sending, tcp};
use crate::model::check::TlsCheck;
use crate::model::target::Target;

/// What a client says it wants to speak (ALPN, RFC 7301).
pub(super) type Alpn = &'static [u8];

/// For HTTP checks.
pub(super) const HTTP1: Alpn = b"http/1.1";
/// For gRPC.
pub(super) const HTTP2: Alpn = b"h2";
/// For a handshake alone: what comes after it is not asked for.
const ANYTHING: Alpn = b"";

/// What TLS checks of all kinds share.
#[derive(Debug, Default)]
pub(super) struct Tls {
    configs: TlsConfigs,
    /// What was seen of certificates.
    pub(super) certificates: Certificates,
}

/// A stream on which the handshake is done.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    /// When the server's certificate ends, in Unix seconds.
    pub(super) not_after_s: Option<i64>,
}

impl Tls {
    /// Runs a `tls` check: a handshake.
    pub(super) async fn probe(&self, target: &Target, check: &TlsCheck) -> Outcome {
        match self.connect(target.address, check, ANYTHING).await {
            Ok(secured) => self.note(target, check, secured.not_after_s).unwrap_or(Outcome::Success),
            Err(outcome) => outcome,
        }
    }

    /// Connects and does the handshake.
    pub(super) async fn connect(
        &self,
        to: SocketAddr,
        check: &TlsCheck,
        alpn: Alpn,
    ) -> Result<Secured, Outcome> {
        let mut config = self.configs.get(check).map_err(Outcome::LocalError)?;
        if alpn != HTTP1 {
            // Copies a dozen references; what is behind them is shared.
            let mut other = ClientConfig::clone(&config);
            other.alpn_protocols = if alpn.is_empty() { Vec::new() } else { vec![alpn.to_vec()] };
            config = Arc::new(other);
        }
        let sni = check.sni.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(sni.to_owned())
            .map_err(|_| Outcome::LocalError(format!("\"{}\" is not a server name", check.sni).into()))?;
        let stream = tcp::connect(to).await?;
        let stream =
            TlsConnector::from(config).connect(name, stream).await.map_err(|e| stream_failure(&e))?;
        let chain = stream.get_ref().1.peer_certificates();
        let not_after_s = chain.and_then(|chain| not_after_s(chain.first()?));
        Ok(Secured { stream, not_after_s })
    }

    /// Notes when a target's certificate ends, and says what that means for a check that has succeeded otherwise.
    pub(super) fn note(
        &self,
        target: &Target,
        check: &TlsCheck,
        not_after_s: Option<i64>,
    ) -> Option<Outcome> {
        if let Some(not_after_s) = not_after_s {
            self.certificates.note(target, not_after_s);
        }
        judge(check, not_after_s, now_s())
    }
}

/// An error of the stream: one of the socket, or what TLS found wrong.
pub(super) fn stream_failure(error: &io::Error) -> Outcome {
    match error.get_ref() {
        Some(inner) if inner.is::<tokio_rustls::rustls::Error>() => {
            Outcome::Failure(format!("TLS: {inner}").into())
        }
        Some(inner) => Outcome::Failure(inner.to_string().into()),
        None => after_sending(error),
    }
}

/// Client configurations, made when first needed and shared by all probes.
///
/// Reading the system's roots takes some milliseconds, once; a `ca_file` is read again when its time, size or inode has changed.
#[derive(Debug, Default)]
struct TlsConfigs(Mutex<Kept>);

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

impl TlsConfigs {
    /// The configuration for a check; an error is our own host's (no roots, a CA file that cannot be read), not the target's.
    fn get(&self, check: &TlsCheck) -> Result<Arc<ClientConfig>, Reason> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &check.ca_file {
            _ if !check.verify => match &kept.unverified {
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

fn from_file(kept: &mut Kept, file: &Path) -> Result<Arc<ClientConfig>, Reason> {
    let failed = |e: &dyn std::fmt::Display| Reason::from(format!("ca_file {}: {e}", file.display()));
    let stamp = Stamp::of(&std::fs::metadata(file).map_err(|e| failed(&e))?);
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

fn system_roots() -> Result<RootCertStore, Reason> {
    let mut roots = RootCertStore::empty();
    // Single certificates that cannot be parsed are usual in system stores, and no reason to trust none.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this host has no root certificates (install ca-certificates, or give ca_file)".into());
    }
    Ok(roots)
}

fn verified(roots: RootCertStore) -> Result<Arc<ClientConfig>, Reason> {
    let builder = builder()?;
    Ok(finish(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn unverified() -> Result<Arc<ClientConfig>, Reason> {
    let verifier = Arc::new(AnyCertificate(ring_provider::default_provider()));
    let builder = builder()?.dangerous().with_custom_certificate_verifier(verifier);
    Ok(finish(builder.with_no_client_auth()))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Reason> {
    // The provider is named, not taken from the process: another crate may have installed a different one.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring_provider::default_provider()));
    builder.with_safe_default_protocol_versions().map_err(|e| Reason::from(format!("TLS: {e}")))
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    // A resumed session shows no certificate, and one that has expired since would pass.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![HTTP1.to_vec()];
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
