//! The keys of `hale.json`.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::json::{
    Boolean, Duration, FilePath, Int, Kind, List, Map, OneOrMany, Port, Read, Reader, Secret, Text, Value,
    Word,
};
use super::limits::LimitsKeys;
use super::notify::NotifyKeys;
use super::schema::Definitions;
use super::source_types::Conflict;
use super::sources::SourceKeys;
use super::telemetry::{MetricsKeys, QueryLogKeys};
use super::types::LogFormat;
use super::zone_file::{PoolKeys, Written};

/// A day: longer is no sensible age or idle time.
pub(crate) const MAX_TIME_MS: u64 = 86_400_000;

object! {
    /// The server's configuration. Every key is optional; a flag or a variable takes precedence.
    pub(crate) struct ServerKeys {
        /// Addresses to answer on; every IPv4 and IPv6 address on port 53 unless given. Flag --listen.
        "listen" listen: OneOrMany<Socket>,
        /// Port to answer on, on every IPv4 and IPv6 address; excludes "listen". Flag --port.
        "port" port: Port,
        /// Zone files, directories of them, or patterns with * and ?; zones/*.json unless given.
        "zones" zones: OneOrMany<FilePath>,
        /// Directory for verdicts, serials, signatures and generated keys. Flag --state.
        "state" state: FilePath,
        /// The admin listeners.
        "admin" admin: AdminKeys,
        /// What /metrics tells beyond what it always does.
        "metrics" metrics: MetricsKeys,
        /// Where each query and its response are recorded; nowhere unless given.
        "query_log" query_log: QueryLogKeys,
        /// Who is told what happens: webhooks, Slack, Discord.
        "notify" notify: List<NotifyKeys>,
        /// Limits of health checking.
        "health" health: HealthKeys,
        /// Limits of the listeners, and of what clients are sent.
        "limits" limits: LimitsKeys,
        /// Checks by name, for "check" keys of all zones to refer to; a zone's own check of the same name goes before.
        "checks" checks: Map<Written>,
        /// Pools by name, for "pools" keys of all zones to refer to; a zone's own pool of the same name goes before.
        "pools" pools: Map<PoolKeys>,
        /// Where clients are, for "geo" policies.
        "geo" geo: GeoKeys,
        /// Whether answers are made for the network that a resolver asks for (EDNS Client Subnet, RFC 7871); unless given, as soon as a name has a
        /// "geo" or "hashed" policy.
        "client_subnet" client_subnet: Boolean,
        /// Where names are discovered, those that go before others first.
        "sources" sources: List<SourceKeys>,
        /// Which of several claims for one discovered name counts: priority (that of the first source), merge (all, each source a pool), oldest (the
        /// first that was seen), or reject (none); priority unless given.
        "conflict" conflict: Conflict,
        /// How long /readyz waits at most for sources; 30s unless given.
        "ready_timeout" ready_timeout: Duration<0, MAX_TIME_MS>,
        /// How the names of ALIAS records are resolved.
        "resolver" resolver: ResolverKeys,
        /// Name server identifier (RFC 5001).
        "nsid" nsid: Nsid,
        /// Secret of DNS cookies (RFC 9018), 32 hexadecimal digits; the same on all servers of an anycast address.
        "cookie_secret" cookie_secret: CookieSecret,
        /// Worker threads; one for each core unless given. Flag --workers.
        "workers" workers: Int<1, 1024>,
        /// Each worker stays on a core of its own (Linux). Flag --pin-workers.
        "pin_workers" pin_workers: Boolean,
        /// Any broken zone keeps the server from starting. Flag --strict.
        "strict" strict: Boolean,
        /// Read everything again when a file changes that it was read from. Flag --watch.
        "watch" watch: Boolean,
        /// Use the portable transport instead of batched system calls. Flag --portable.
        "portable" portable: Boolean,
        /// What is logged; info unless given. Flag --log-level.
        "log_level" log_level: LogLevel,
        /// Form of the log: text for people, json for machines. Flag --log-format.
        "log_format" log_format: LogFormat,
    }
    later: ["tsig", "transfer", "update", "mirror"]
}

object! {
    /// Where clients are, for "geo" policies.
    pub(crate) struct GeoKeys {
        /// MaxMind DB files (.mmdb) of countries, cities or autonomous systems; they are read again with each reload.
        "databases" (required) databases: OneOrMany<FilePath>,
    }
    later: []
}

object! {
    /// How the names of ALIAS records are resolved.
    pub(crate) struct ResolverKeys {
        /// Recursive resolvers, asked one after the other until one answers; those of /etc/resolv.conf unless given.
        "servers" (required) servers: OneOrMany<Socket>,
    }
    later: []
}

object! {
    /// The admin listeners.
    pub(crate) struct AdminKeys {
        /// API, metrics and probes; 127.0.0.1:8053 unless given, "off" for none. Flag --admin.
        "listen" listen: AdminListen,
        /// Metrics alone.
        "metrics_listen" metrics_listen: Socket,
        /// /healthz and /readyz alone.
        "probes_listen" probes_listen: Socket,
        /// Bearer token; needed where "listen" is not on loopback.
        "token" token: Secret,
        /// Names that "listen" is reached by, beside its addresses and localhost: any other name in a request without the token is
        /// taken for a page that had its own name lead here (DNS rebinding).
        "hosts" hosts: OneOrMany<Text>,
        /// What "listen" speaks TLS with; plain HTTP unless given.
        "tls" tls: TlsKeys,
        /// Requests that one client may make to "listen" each second, and five times as many at once; 100 unless given.
        "requests_per_second" requests_per_second: Int<1, 100_000>,
    }
    later: []
}

object! {
    /// A certificate and its key, in PEM form. They are read again when they change.
    pub(crate) struct TlsKeys {
        /// The certificate, then those that it rests on.
        "cert" (required) cert: FilePath,
        /// Its private key.
        "key" (required) key: FilePath,
    }
    later: []
}

object! {
    /// Limits of health checking.
    pub(crate) struct HealthKeys {
        /// Holds verdicts when too many targets would go down together.
        "brake" brake: BrakeKeys,
        /// Probes under way at once; 4096 unless given.
        "probes_in_flight" probes_in_flight: Int<1, 1_000_000>,
        /// Programs of exec checks under way at once; 64 unless given.
        "exec_in_flight" exec_in_flight: Int<1, 100_000>,
        /// Probes started a second against one address; 50 unless given.
        "probes_per_second_per_address" probes_per_second_per_address: Int<1, 1_000_000>,
        /// Saved verdicts younger than this count at start; 10m unless given.
        "verdict_max_age" verdict_max_age: Duration<0, MAX_TIME_MS>,
    }
    later: []
}

object! {
    /// When more than this share of targets would go down together, the checker is most likely cut off, not the world.
    pub(crate) struct BrakeKeys {
        /// Percentage of targets that may go down together; 80 unless given, 100 turns the brake off.
        "down_percent" down_percent: Int<1, 100>,
        /// The brake acts on at least so many targets; 10 unless given.
        "min_targets" min_targets: Int<1, 1_000_000_000>,
    }
    later: []
}

/// Address and port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket(pub(crate) SocketAddr);

/// What a socket address looks like, for hints.
pub(crate) const SOCKET_HINT: &str =
    "an address and a port, such as \"127.0.0.1:53\", \"0.0.0.0:53\" or \"[::]:53\"";

impl Value for Socket {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::String {
            let mark = reader.mark();
            if let Ok(address) = reader.string()?.parse() {
                return Ok(Some(Self(address)));
            }
            reader.rewind(mark);
        }
        reader.mismatch("an address and port", SOCKET_HINT)
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 4 })
    }
}

/// Address and port, or `"off"`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdminListen(pub(crate) Option<SocketAddr>);

impl Value for AdminListen {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? == Kind::String {
            let mark = reader.mark();
            if reader.string()? == "off" {
                return Ok(Some(Self(None)));
            }
            reader.rewind(mark);
        }
        Ok(Socket::read(reader)?.map(|socket| Self(Some(socket.0))))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Socket::schema(definitions)
    }
}

/// The name server identifier (RFC 5001). It goes with every answer that asks for it, so it has to leave room for the answer.
pub(crate) struct Nsid(pub(crate) String);

/// Octets of the longest one: what the engine puts into a response.
const MAX_NSID_OCTETS: usize = 128;

impl Value for Nsid {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let Some(Text(text)) = Text::read(reader)? else { return Ok(None) };
        if text.is_empty() || text.len() > MAX_NSID_OCTETS {
            let message = format!("an identifier of {} octets cannot be sent", text.len());
            reader.error(at, message, "give 1 to 128 octets, such as \"fra-1\"");
            return Ok(None);
        }
        Ok(Some(Self(text)))
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": MAX_NSID_OCTETS })
    }
}

/// 16 octets in hexadecimal.
pub(crate) struct CookieSecret(pub(crate) [u8; 16]);

impl Value for CookieSecret {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        let at = reader.position();
        let Some(Secret(text)) = Secret::read(reader)? else { return Ok(None) };
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let value = u128::from_str_radix(&text, 16).ok().filter(|_| digits);
        if value.is_none() {
            // A secret is not repeated in an error.
            reader.error(
                at,
                "the cookie secret is not 32 hexadecimal digits",
                "make one with: openssl rand -hex 16",
            );
        }
        Ok(value.map(|value| Self(value.to_be_bytes())))
    }

    fn schema(definitions: &mut Definitions) -> Json {
        Secret::schema(definitions)
    }
}

/// A log level by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLevel(pub(crate) &'static str);

impl Word for LogLevel {
    const WHAT: &'static str = "a log level";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Self("error")),
        ("warn", Self("warn")),
        ("info", Self("info")),
        ("debug", Self("debug")),
        ("trace", Self("trace")),
    ];
    const LATER: &'static [&'static str] = &[];
}

impl Word for LogFormat {
    const WHAT: &'static str = "a log format";
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
    const LATER: &'static [&'static str] = &[];
}
