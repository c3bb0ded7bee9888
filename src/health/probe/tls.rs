//! TLS of probes, and the `tls` check, which is a handshake and nothing more.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::certificate::{Certificates, judge, not_after_s, now_s};
use super::{Outcome, after_sending, tcp};
use crate::model::check::TlsCheck;
use crate::model::target::Target;
use crate::tls::ClientConfigs;

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
    configs: ClientConfigs,
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
        let mut config =
            self.configs.get(check.verify, check.ca_file.as_deref()).map_err(Outcome::LocalError)?;
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
