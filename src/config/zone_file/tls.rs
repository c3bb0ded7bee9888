//! The keys of `tls` and `grpc` checks, and the TLS keys of all checks that have them.

use super::check::HasPort;
use super::http::{host_without_port, is_host, report_in, text_in};
use crate::config::json::{At, Boolean, Duration, FilePath, Port, Reader, Slot, Text};
use crate::model::check::{GrpcCheck, TlsCheck};
use crate::model::diagnostic::Diagnostic;

/// Ten years, more than any certificate should last.
const MAX_EXPIRY_MS: u64 = 315_360_000_000;

/// How long before its end a certificate counts as expiring.
pub(crate) type Expiry = Duration<0, MAX_EXPIRY_MS>;

object! {
    /// A TLS handshake succeeds.
    pub(crate) struct TlsKeys {
        /// Port to connect to, unless an endpoint's `probe` gives one; 443 unless given.
        "port" port: Port,
        /// Server name sent and verified; the checked name unless given. A wildcard owner must give it.
        "sni" sni: Text,
        /// Whether the certificate is verified; true unless given.
        "verify" verify: Boolean,
        /// Roots to verify against instead of the system's, in PEM.
        "ca_file" ca_file: FilePath,
        /// A certificate that expires within this time is reported with the target; "21d" for three weeks.
        "warn_expires_within" warn: Expiry,
        /// A certificate that expires within this time fails the check.
        "fail_expires_within" fail: Expiry,
    }
    later: []
}

object! {
    /// The gRPC health protocol says SERVING.
    pub(crate) struct GrpcKeys {
        /// Port to connect to, unless an endpoint's `probe` gives one.
        "port" port: Port,
        /// The service asked about; the server as a whole unless given.
        "service" service: Text,
        /// Authority of the request; the checked name unless given. A wildcard owner must give it.
        "host" host: Text,
        /// Keep the connection for the next probe; false unless given.
        "reuse" reuse: Boolean,
        /// Speak TLS; false unless given.
        "tls" tls: Boolean,
        /// Server name sent and verified; `host`, or else the checked name, unless given.
        "sni" sni: Text,
        /// Whether the certificate is verified; true unless given.
        "verify" verify: Boolean,
        /// Roots to verify against instead of the system's, in PEM.
        "ca_file" ca_file: FilePath,
        /// A certificate that expires within this time is reported with the target; "21d" for three weeks.
        "warn_expires_within" warn: Expiry,
        /// A certificate that expires within this time fails the check.
        "fail_expires_within" fail: Expiry,
    }
    later: []
}

impl HasPort for TlsKeys {
    fn port(&mut self) -> &mut Slot<Port> {
        &mut self.port
    }
}

impl HasPort for GrpcKeys {
    fn port(&mut self) -> &mut Slot<Port> {
        &mut self.port
    }
}

/// The TLS keys of one check.
pub(super) struct TlsSlots {
    pub(super) sni: Slot<Text>,
    pub(super) verify: Slot<Boolean>,
    pub(super) ca_file: Slot<FilePath>,
    pub(super) warn: Slot<Expiry>,
    pub(super) fail: Slot<Expiry>,
}

impl TlsSlots {
    /// Checks the keys against each other; an empty `sni` is the checked name. `kind` is the key that holds the check.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>, kind: &str) -> Option<TlsCheck> {
        let verify = self.verify.get().is_none_or(|given| given.value.0);
        if let (Some(given), false) = (self.ca_file.get(), verify) {
            let message = "\"ca_file\" is of no use with \"verify\": false".to_owned();
            report_in(reader, &[kind, "ca_file"], given.position, message, "leave one of them out");
        }
        if let Some(given) = self.ca_file.get().filter(|given| verify && !given.value.0.is_file()) {
            let message = format!("there is no file {}", given.value.0.display());
            let hint = "until there is, the check has no verdict; a path is relative to this file";
            let warning = Diagnostic::warning(reader.source().file, message);
            let path = reader.path_below(&[kind, "ca_file"]);
            let position = given.position;
            reader.report(warning.at(position, path).hint(hint));
        }
        if let (Some(warn), Some(fail)) = (self.warn.get(), self.fail.get())
            && warn.value.0 <= fail.value.0
        {
            let message = "the warning never comes before the failure".to_owned();
            let hint = "\"warn_expires_within\" is the longer time, such as \"21d\" beside \"7d\"";
            report_in(reader, &[kind, "warn_expires_within"], warn.position, message, hint);
        }
        let hint = "a host name, such as \"www.example.test\"";
        let sni = text_in(reader, kind, "sni", self.sni.take(), is_host, hint)?;
        let seconds = |given: At<Expiry>| given.value.0 / 1000;
        Some(TlsCheck {
            sni: sni.unwrap_or_default(),
            verify,
            ca_file: self.ca_file.take().map(|given| given.value.0),
            warn_expires_within_s: self.warn.take().map(seconds),
            fail_expires_within_s: self.fail.take().map(seconds),
        })
    }

    /// Whether any of the keys is there, and where.
    fn first(&self) -> Option<(&'static str, crate::model::diagnostic::Position)> {
        let keys = [
            ("sni", self.sni.key_position()),
            ("verify", self.verify.key_position()),
            ("ca_file", self.ca_file.key_position()),
            ("warn_expires_within", self.warn.key_position()),
            ("fail_expires_within", self.fail.key_position()),
        ];
        keys.into_iter().find_map(|(key, at)| Some((key, at?)))
    }
}

impl TlsKeys {
    /// Port, if it is given, and check.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>) -> Option<(Option<u16>, TlsCheck)> {
        let port = self.port.take().map(|port| port.value.0);
        let slots = TlsSlots {
            sni: self.sni,
            verify: self.verify,
            ca_file: self.ca_file,
            warn: self.warn,
            fail: self.fail,
        };
        Some((port, slots.resolve(reader, "tls")?))
    }
}

impl GrpcKeys {
    /// Port, which has no default, and check.
    pub(super) fn resolve(mut self, reader: &mut Reader<'_>) -> Option<(Option<u16>, GrpcCheck)> {
        let port = self.port.take().map(|port| port.value.0);
        let host_hint =
            "a host name or address, with a port if clients give one, such as \"api.example.test:8443\"";
        let host = text_in(reader, "grpc", "host", self.host.take(), is_host, host_hint)?.unwrap_or_default();
        let slots = TlsSlots {
            sni: self.sni,
            verify: self.verify,
            ca_file: self.ca_file,
            warn: self.warn,
            fail: self.fail,
        };
        let tls = if self.tls.take().is_some_and(|tls| tls.value.0) {
            let mut tls = slots.resolve(reader, "grpc")?;
            if tls.sni.is_empty() {
                tls.sni = host_without_port(&host).to_owned();
            }
            Some(tls)
        } else {
            if let Some((key, at)) = slots.first() {
                let message = format!("\"{key}\" is of no use without TLS");
                report_in(reader, &["grpc", key], at, message, "add \"tls\": true, or leave it out");
            }
            None
        };
        let service = self.service.take().map_or_else(String::new, |given| given.value.0);
        let reuse = self.reuse.take().is_some_and(|given| given.value.0);
        Some((port, GrpcCheck { tls, host, service, reuse }))
    }
}
