//! TLS of the admin listener. The files are looked at again while it runs: a renewed certificate counts within seconds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

use crate::config::{TlsFiles, input};
use crate::model::diagnostic::Diagnostic;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A certificate and its key, as they are now.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read, or they do not belong together.
    pub(super) fn load(files: &TlsFiles) -> Result<Self, Diagnostic> {
        let changed = changed(files);
        let config = read(files).map_err(|(file, why)| Diagnostic::error(file, why))?;
        Ok(Self {
            files: files.clone(),
            current: Mutex::new(Current { config, changed, looked: Instant::now() }),
        })
    }

    /// What the next connection is accepted with. Two calls of stat(2) each few seconds; files that cannot be used are logged and what
    /// was read before goes on.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_EVERY {
            current.looked = Instant::now();
            let changed = changed(&self.files);
            if changed != current.changed {
                current.changed = changed;
                match read(&self.files) {
                    Ok(config) => {
                        current.config = config;
                        tracing::info!(cert = %self.files.cert.display(), "the certificate of the admin listener was read again");
                    }
                    Err((file, error)) => {
                        tracing::error!(file = %file.display(), error, "the admin listener keeps its certificate");
                    }
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.config))
    }
}

fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    let time = |path: &PathBuf| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    [time(&files.cert), time(&files.key)]
}

/// # Errors
/// The file, and what is wrong with it.
fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, (&Path, String)> {
    let TlsFiles { cert, key } = files;
    let no_certificate =
        |error: &dyn std::fmt::Display| (cert.as_path(), format!("no certificates can be read: {error}"));
    let pem = input::read(cert, input::LARGEST_SECRET).map_err(|error| no_certificate(&error))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| no_certificate(&error))?;
    if chain.is_empty() {
        return Err((cert, "there is no certificate in it".to_owned()));
    }
    let no_key =
        |error: &dyn std::fmt::Display| (key.as_path(), format!("no private key can be read: {error}"));
    let pem = input::read(key, input::LARGEST_SECRET).map_err(|error| no_key(&error))?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| no_key(&error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| (cert.as_path(), format!("it cannot be used: {error}")))?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_certificate_counts_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: folder.path().join("a.pem"), key: folder.path().join("a.key") };
        let write = || {
            let made = rcgen::generate_simple_self_signed(vec!["hale.test".to_owned()]).unwrap();
            std::fs::write(&files.cert, made.cert.pem()).unwrap();
            std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        };
        assert!(Tls::load(&files).unwrap_err().to_string().contains("a.pem"));
        write();
        let tls = Tls::load(&files).unwrap();
        let now = || {
            let mut current = tls.current.lock().unwrap();
            current.looked = Instant::now().checked_sub(LOOK_EVERY).unwrap();
            current.changed = [None; 2];
            drop(current);
            let _ = tls.acceptor();
            Arc::as_ptr(&tls.current.lock().unwrap().config)
        };
        let first = Arc::as_ptr(&tls.current.lock().unwrap().config);
        write();
        let second = now();
        assert_ne!(first, second);
        std::fs::write(&files.key, "nonsense").unwrap();
        assert_eq!(now(), second);
    }
}
