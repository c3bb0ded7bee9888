//! EDNS Client Subnet (RFC 7871): for which network a resolver asks, and for which the answer holds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::parse::be16;

/// Octets in front of the address: family, source prefix length, scope prefix length.
const HEADER: usize = 4;

/// The option of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet<'q> {
    /// Family and source prefix length, to be echoed.
    pub(super) head: [u8; 3],
    /// The address as it was sent, to be echoed.
    pub(super) octets: &'q [u8],
    /// The network's first address; `None` for a prefix of no bits, by which a client asks not to be known (§7.1.2).
    pub(super) client: Option<IpAddr>,
}

impl<'q> Subnet<'q> {
    /// Reads the option's data; `None` if it is malformed (§6, §7.2.1): an unknown family, a prefix longer than its addresses, a scope in a
    /// query, more or fewer octets than the prefix needs, or bits set beyond it.
    pub(super) fn read(data: &'q [u8]) -> Option<Self> {
        let (head, octets) = (data.first_chunk::<3>()?, data.get(HEADER..)?);
        let (family, source, scope) = (be16(data, 0)?, head[2], *data.get(3)?);
        // A stub that gives no address may give no family either (§7.1.2).
        let most = match family {
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return None,
        };
        if source > most || scope != 0 || octets.len() != usize::from(source).div_ceil(8) {
            return None;
        }
        let beyond = octets.last().is_some_and(|last| match source % 8 {
            0 => false,
            used => last << used != 0,
        });
        let client = match (family, source) {
            (_, 0) => None,
            (1, _) => Some(IpAddr::V4(Ipv4Addr::from(padded::<4>(octets)?))),
            _ => Some(IpAddr::V6(Ipv6Addr::from(padded::<16>(octets)?))),
        };
        (!beyond).then_some(Self { head: *head, octets, client })
    }

    /// Octets of the option's data.
    pub(super) fn len(&self) -> usize {
        HEADER + self.octets.len()
    }
}

fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_well_formed() {
        for (data, want) in [
            (&[0, 1, 24, 0, 192, 0, 2][..], Some(Some("192.0.2.0"))),
            (&[0, 1, 32, 0, 192, 0, 2, 1], Some(Some("192.0.2.1"))),
            (&[0, 1, 20, 0, 192, 0, 0x20], Some(Some("192.0.32.0"))),
            (&[0, 1, 1, 0, 0x80], Some(Some("128.0.0.0"))),
            (&[0, 2, 32, 0, 0x20, 1, 0x0d, 0xb8], Some(Some("2001:db8::"))),
            (&[0, 1, 0, 0], Some(None)),
            (&[0, 2, 0, 0], Some(None)),
            (&[0, 0, 0, 0], Some(None)),
            // Bits beyond the prefix.
            (&[0, 1, 20, 0, 192, 0, 0x21], None),
            (&[0, 1, 1, 0, 0x40], None),
            // Too few octets, too many.
            (&[0, 1, 24, 0, 192, 0], None),
            (&[0, 1, 24, 0, 192, 0, 2, 0], None),
            (&[0, 1, 0, 0, 0], None),
            // A longer prefix than there are bits.
            (&[0, 1, 33, 0, 192, 0, 2, 1, 0], None),
            (&[0, 0, 1, 0, 0x80], None),
            // A scope, families that are not known.
            (&[0, 1, 24, 24, 192, 0, 2], None),
            (&[0, 3, 0, 0], None),
            (&[1, 1, 0, 0], None),
            (&[0, 1, 0], None),
            (&[], None),
        ] {
            let got = Subnet::read(data).map(|subnet| subnet.client);
            assert_eq!(got, want.map(|c| c.map(|text| text.parse().unwrap())), "{data:?}");
        }
        let every =
            Subnet::read(&[0, 2, 128, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]).unwrap();
        assert_eq!(every.len(), 20);
    }
}
