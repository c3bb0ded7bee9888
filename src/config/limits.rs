//! The `limits` block: what one client may take of the listeners, and how much it is sent.

use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Value as Json, json};

use super::json::{Boolean, Duration, Int, Kind, List, Read, Reader, Value};
use super::schema::Definitions;
use super::server::MAX_TIME_MS;
use crate::model::policy::{MAX_PICK_ENTRIES, MAX_VARIANTS};

/// NSD's, which limits unless told not to; a resolver asks once a TTL for a name, so that a prefix of real ones stays far below.
const RESPONSES_PER_SECOND: u64 = 200;
const SLIP: u64 = 2;
const BURST_MS: u64 = 1000;
/// 1 MiB for each worker and address.
const TABLE_SIZE: u64 = 65_536;
/// At about 768 octets of kernel memory a small datagram, of which Linux takes twice the buffer, a burst of some 2700 queries.
const RECEIVE_BUFFER: u64 = 1 << 20;

object! {
    /// Limits of the listeners, and of what clients are sent.
    pub(crate) struct LimitsKeys {
        /// Response rate limiting over UDP: an object, {} for its defaults, or "off"; off unless given.
        "rrl" rrl: RrlValue,
        /// Whether a worker that is asked more than it can answer gives up some of a zone's NXDOMAIN responses for the sake of other zones; true unless given.
        "fair_share" fair_share: Boolean,
        /// Octets that the kernel keeps of datagrams for each UDP socket until a worker takes them; 1 MiB unless given. net.core.rmem_max may cut it.
        "receive_buffer" receive_buffer: Int<65_536, 1_073_741_824>,
        /// TCP connections.
        "tcp" tcp: TcpLimitKeys,
        /// What the policy of one owner may come to.
        "policy" policy: PolicyLimitKeys,
    }
    later: []
}

object! {
    /// Limits of the policy of one owner.
    pub(crate) struct PolicyLimitKeys {
        /// Different answers of one type at one time, each of which is signed and kept; 256 unless given.
        "answers" answers: Int<1, 65_535>,
        /// Ways through nested pools to an answer, a pool that several hold counted in each; 4096 unless given.
        "ways" ways: Int<1, 65_535>,
    }
    later: []
}

object! {
    /// Response rate limiting over UDP. Responses of one kind about one name to one client network have a rate; beyond it they are
    /// dropped or cut down to a truncated one. Each worker counts for itself.
    pub(crate) struct RrlKeys {
        /// Records, and names without the type asked for, by name; 200 unless given.
        "responses_per_second" responses_per_second: Rate,
        /// Names that do not exist, by zone; "responses_per_second" unless given.
        "nxdomains_per_second" nxdomains_per_second: Rate,
        /// Referrals, by delegation; "responses_per_second" unless given.
        "referrals_per_second" referrals_per_second: Rate,
        /// All errors together; "responses_per_second" unless given.
        "errors_per_second" errors_per_second: Rate,
        /// Every so manyth response beyond the rate is sent truncated, so that a real client asks again by TCP; 2 unless given, 1 for each, 0 for none.
        "slip" slip: Int<0, 100>,
        /// How long a network that was silent may be sent any number: its rate times this goes out at once; 1s unless given.
        "burst" burst: Duration<10, 60_000>,
        /// Bits of an IPv4 address that make a client network; 24 unless given.
        "ipv4_prefix" ipv4_prefix: Int<1, 32>,
        /// Bits of an IPv6 address that make a client network; 56 unless given.
        "ipv6_prefix" ipv6_prefix: Int<1, 128>,
        /// Networks that are never limited, such as ["127.0.0.0/8", "::1"]; none unless given.
        "exempt" exempt: List<Network>,
        /// Rates remembered for each worker and listening address, 16 octets each; 65536 unless given.
        "table_size" table_size: Int<1024, 16_777_216>,
    }
    later: []
}

object! {
    /// Limits of TCP connections.
    pub(crate) struct TcpLimitKeys {
        /// Connections in all; 1000 unless given.
        "connections" connections: Int<1, 1_000_000>,
        /// Connections of one client address; 32 unless given.
        "per_client" per_client: Int<1, 1_000_000>,
        /// How long a connection may be idle; 10s unless given.
        "idle" idle: Duration<100, MAX_TIME_MS>,
        /// How long a message may take from its first octet to its last; 10s unless given.
        "read_timeout" read_timeout: Duration<100, MAX_TIME_MS>,
        /// How long a client may leave responses unread; 10s unless given.
        "write_timeout" write_timeout: Duration<100, MAX_TIME_MS>,
        /// Octets that all connections together may make the server keep, as beginnings of messages and as responses that are not taken; 64 MiB unless given.
        "buffered_bytes" buffered_bytes: Int<1_048_576, 1_099_511_627_776>,
    }
    later: []
}

/// Responses a second.
type Rate = Int<1, 1_000_000>;

/// The `limits` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Response rate limiting; `None` where it is off.
    pub rrl: Option<RateLimits>,
    /// Whether zones share a worker that is asked too much.
    pub fair_share: bool,
    /// Octets that the kernel keeps of datagrams for each UDP socket.
    pub receive_buffer: usize,
    /// TCP connections.
    pub tcp: TcpLimits,
}

/// The `limits.rrl` block. Rates are responses a second to one client network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Positive answers and NODATA, about one name.
    pub responses_per_second: u32,
    /// NXDOMAIN, of one zone.
    pub nxdomains_per_second: u32,
    /// Referrals, to one delegation.
    pub referrals_per_second: u32,
    /// All errors.
    pub errors_per_second: u32,
    /// Every so manyth response beyond its rate goes out truncated; 0 for none.
    pub slip: u32,
    /// Milliseconds' worth of its rate that may go out at once.
    pub burst_ms: u32,
    /// Bits of an IPv4 client network.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 client network.
    pub ipv6_prefix: u8,
    /// Clients that are never limited.
    pub exempt: Vec<Network>,
    /// Rates that each worker remembers.
    pub table_size: usize,
}

/// The `limits.tcp` block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one client address.
    pub per_client: usize,
    /// Milliseconds a connection may be idle.
    pub idle_ms: u64,
    /// Milliseconds a message may take from its first octet to its last.
    pub read_ms: u64,
    /// Milliseconds a client may leave responses unread.
    pub write_ms: u64,
    /// Octets that all connections together may make the server keep.
    pub buffered_octets: usize,
}

/// The `limits.policy` block, for declared and discovered names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Different answers of one type that an owner may have at one time.
    pub answers: usize,
    /// Entries of the tables by which they are picked.
    pub ways: usize,
}

impl Default for PolicyLimits {
    fn default() -> Self {
        Self { answers: MAX_VARIANTS, ways: MAX_PICK_ENTRIES }
    }
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            connections: 1000,
            per_client: 32,
            idle_ms: 10_000,
            read_ms: 10_000,
            write_ms: 10_000,
            buffered_octets: 64 << 20,
        }
    }
}

impl LimitsKeys {
    /// What the policy of one owner may come to.
    pub(crate) fn policy(&self) -> PolicyLimits {
        let default = PolicyLimits::default();
        let Some(keys) = self.policy.get().map(|given| &given.value) else { return default };
        PolicyLimits {
            answers: keys.answers.get().map_or(default.answers, |given| given.value.0 as usize),
            ways: keys.ways.get().map_or(default.ways, |given| given.value.0 as usize),
        }
    }

    /// With every default filled in.
    pub(crate) fn into_limits(mut self) -> LimitsConfig {
        let rrl = self.rrl.take().and_then(|rrl| rrl.value.0).map(|keys| rate_limits(*keys));
        // Each number is within the limits of its key's type, which fit the fields.
        let mut tcp = self.tcp.take().map(|tcp| tcp.value).unwrap_or_default();
        let default = TcpLimits::default();
        let tcp = TcpLimits {
            connections: tcp.connections.take().map_or(default.connections, |given| given.value.0 as usize),
            per_client: tcp.per_client.take().map_or(default.per_client, |given| given.value.0 as usize),
            idle_ms: tcp.idle.take().map_or(default.idle_ms, |given| given.value.0),
            read_ms: tcp.read_timeout.take().map_or(default.read_ms, |given| given.value.0),
            write_ms: tcp.write_timeout.take().map_or(default.write_ms, |given| given.value.0),
            buffered_octets: tcp
                .buffered_bytes
                .take()
                .map_or(default.buffered_octets, |given| given.value.0.try_into().unwrap_or(usize::MAX)),
        };
        let fair_share = self.fair_share.take().is_none_or(|given| given.value.0);
        let receive_buffer =
            self.receive_buffer.take().map_or(RECEIVE_BUFFER, |given| given.value.0) as usize;
        LimitsConfig { rrl, fair_share, receive_buffer, tcp }
    }
}

fn rate_limits(mut keys: RrlKeys) -> RateLimits {
    let responses = keys.responses_per_second.take().map_or(RESPONSES_PER_SECOND, |given| given.value.0);
    let rate = |given: Option<u64>| given.unwrap_or(responses) as u32;
    RateLimits {
        responses_per_second: responses as u32,
        nxdomains_per_second: rate(keys.nxdomains_per_second.take().map(|given| given.value.0)),
        referrals_per_second: rate(keys.referrals_per_second.take().map(|given| given.value.0)),
        errors_per_second: rate(keys.errors_per_second.take().map(|given| given.value.0)),
        slip: keys.slip.take().map_or(SLIP, |given| given.value.0) as u32,
        burst_ms: keys.burst.take().map_or(BURST_MS, |given| given.value.0) as u32,
        ipv4_prefix: keys.ipv4_prefix.take().map_or(24, |given| given.value.0 as u8),
        ipv6_prefix: keys.ipv6_prefix.take().map_or(56, |given| given.value.0 as u8),
        exempt: keys
            .exempt
            .take()
            .map_or_else(Vec::new, |list| list.value.0.into_iter().map(|element| element.value).collect()),
        table_size: keys.table_size.take().map_or(TABLE_SIZE, |given| given.value.0) as usize,
    }
}

/// The value of `rrl`: `None` for `"off"`.
pub(crate) struct RrlValue(Option<Box<RrlKeys>>);

impl Value for RrlValue {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        match reader.peek()? {
            Kind::Object => return Ok(RrlKeys::read(reader)?.map(|keys| Self(Some(Box::new(keys))))),
            Kind::String => {
                let mark = reader.mark();
                if reader.string()? == "off" {
                    return Ok(Some(Self(None)));
                }
                reader.rewind(mark);
            }
            _ => {}
        }
        reader.mismatch(
            "rate limits",
            "an object such as { \"responses_per_second\": 200 }, {} for the defaults, or \"off\"",
        )
    }

    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [{ "const": "off" }, RrlKeys::schema(definitions)] })
    }
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// `None` where the prefix is longer than the address, or bits are set beyond it.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let network = Self { address, prefix };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits && network.first() == address).then_some(network)
    }

    /// Whether an address is in it; IPv4 in its mapped form counts as IPv4.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && first_of(ip, self.prefix) == self.address
    }

    fn first(&self) -> IpAddr {
        first_of(self.address, self.prefix)
    }
}

/// The first address of the network of `prefix` bits that `ip` is in.
fn first_of(ip: IpAddr, prefix: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => (u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
            .to_be_bytes()
            .into(),
        IpAddr::V6(v6) => Ipv6Addr::from(
            u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0),
        )
        .into(),
    }
}

const NETWORK_HINT: &str = "an address, or a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"";

impl Value for Network {
    fn read(reader: &mut Reader<'_>) -> Read<Self> {
        if reader.peek()? != Kind::String {
            return reader.mismatch("a network", NETWORK_HINT);
        }
        let (at, mark) = (reader.position(), reader.mark());
        let text = reader.string()?;
        let (address, prefix) = text.split_once('/').map_or((&*text, None), |(a, p)| (a, Some(p)));
        let Ok(address) = address.parse::<IpAddr>() else {
            reader.rewind(mark);
            return reader.mismatch("a network", NETWORK_HINT);
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let Some(prefix) = prefix.map_or(Some(bits), |p| p.parse().ok().filter(|p| *p <= bits)) else {
            reader.rewind(mark);
            return reader.mismatch("a network", NETWORK_HINT);
        };
        let network = Self::new(address, prefix);
        if network.is_none() {
            // Which of the two was meant is not for us to guess, as with routes.
            let hint = format!(
                "write \"{}/{prefix}\" for the network, or \"{address}\" for the address",
                first_of(address, prefix)
            );
            reader.error(at, format!("{text:?} has bits set beyond its prefix"), hint);
        }
        Ok(network)
    }

    fn schema(_: &mut Definitions) -> Json {
        json!({ "type": "string", "minLength": 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(network: &str, ip: &str, expected: bool) {
        let (address, prefix) = network.split_once('/').unwrap();
        let network = Network::new(address.parse().unwrap(), prefix.parse().unwrap()).unwrap();
        assert_eq!(network.contains(ip.parse().unwrap()), expected, "{ip} in {network:?}");
    }

    #[test]
    fn networks() {
        check("127.0.0.0/8", "127.255.0.1", true);
        check("127.0.0.0/8", "128.0.0.1", false);
        check("127.0.0.0/8", "::ffff:127.0.0.1", true);
        check("127.0.0.0/8", "::1", false);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("192.0.2.1/32", "192.0.2.1", true);
        check("192.0.2.1/32", "192.0.2.2", false);
        check("::1/128", "::1", true);
        check("::1/128", "::2", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        for (address, prefix) in [("127.0.0.1", 8), ("127.0.0.1", 33), ("::1", 127), ("::", 129)] {
            assert_eq!(Network::new(address.parse().unwrap(), prefix), None, "{address}/{prefix}");
        }
    }
}
