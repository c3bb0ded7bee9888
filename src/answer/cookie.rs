//! DNS cookies (RFC 7873) with the interoperable server cookie of RFC 9018.

use std::net::IpAddr;

use crate::model::hash::partial_word;

/// Octets of a client cookie.
const CLIENT: usize = 8;
/// Octets of a COOKIE option in a response: client cookie, then version, reserved, timestamp and hash.
pub(super) const LEN: usize = CLIENT + 16;
/// A server cookie is taken as it is for half an hour, and for five minutes of clock difference; for the half hour after that it is
/// good, but the client is given a new one (RFC 9018 §4.3).
const FRESH_S: u32 = 1800;
const GOOD_S: u32 = 3600;
const AHEAD_S: u32 = 300;

/// The COOKIE option of a response.
#[derive(Debug)]
pub(super) struct Reply {
    /// Client cookie and server cookie.
    pub(super) data: [u8; LEN],
    /// Whether the client knew a good server cookie: it receives what is sent to its address.
    pub(super) is_proven: bool,
}

/// The COOKIE option for a response: the client's server cookie again while it is good and fresh, else a new one.
///
/// A bad server cookie costs the client nothing but that its responses may be rate limited, since this server does not enforce cookies.
pub(super) fn respond(secret: &[u8; 16], data: &[u8], client: IpAddr, now_s: u32) -> Option<Reply> {
    let client_cookie = data.first_chunk::<CLIENT>()?;
    let mut is_proven = false;
    if let Some(sent) = data.first_chunk::<LEN>().filter(|_| data.len() == LEN) {
        let stamp = u32::from_be_bytes([sent[12], sent[13], sent[14], sent[15]]);
        // Serial arithmetic, since the field wraps (RFC 9018 §4.3).
        let age = now_s.wrapping_sub(stamp);
        let is_fresh = age <= FRESH_S || age.wrapping_neg() <= AHEAD_S;
        is_proven = (is_fresh || age <= GOOD_S)
            && sent[8..12] == [1, 0, 0, 0]
            && *sent == make(secret, client_cookie, client, stamp);
        if is_proven && is_fresh {
            return Some(Reply { data: *sent, is_proven });
        }
    }
    Some(Reply { data: make(secret, client_cookie, client, now_s), is_proven })
}

fn make(secret: &[u8; 16], client_cookie: &[u8; CLIENT], client: IpAddr, stamp: u32) -> [u8; LEN] {
    let mut input = [0u8; 32];
    input[..CLIENT].copy_from_slice(client_cookie);
    input[8] = 1;
    input[12..16].copy_from_slice(&stamp.to_be_bytes());
    // A dual-stack socket shows IPv4 clients as mapped addresses: both forms must give one cookie.
    let len = match client.to_canonical() {
        IpAddr::V4(v4) => {
            input[16..20].copy_from_slice(&v4.octets());
            20
        }
        IpAddr::V6(v6) => {
            input[16..].copy_from_slice(&v6.octets());
            32
        }
    };
    let mut cookie = [0u8; LEN];
    cookie[..16].copy_from_slice(&input[..16]);
    cookie[16..].copy_from_slice(&siphash_2_4(secret, &input[..len]).to_le_bytes());
    cookie
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012).
fn siphash_2_4(key: &[u8; 16], data: &[u8]) -> u64 {
    let (k0, k1) = (word(&key[..8]), word(&key[8..]));
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let chunks = data.chunks_exact(8);
    let last = word(chunks.remainder()) | (data.len() as u64) << 56;
    chunks.for_each(|chunk| sip_word(&mut v, word(chunk)));
    sip_word(&mut v, last);
    v[2] ^= 0xff;
    for _ in 0..4 {
        sip_round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

/// Up to eight octets as a little-endian word.
#[inline]
fn word(octets: &[u8]) -> u64 {
    octets.first_chunk().map_or_else(|| partial_word(octets), |whole| u64::from_le_bytes(*whole))
}

#[inline]
fn sip_word(v: &mut [u64; 4], m: u64) {
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

#[inline]
fn sip_round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// RFC 9018, appendix A.
    #[test]
    fn makes_the_cookies_of_rfc_9018() {
        let first = "e5e973e5a6b2a43f48e7dc849e37bfcf";
        let third = "445536bcd2513298075a5d379663c962";
        for (secret, client, address, now_s, want) in [
            // A.1: learning a new server cookie.
            (first, "2464c4abcf10c957", "198.51.100.100", 1_559_731_985, "010000005cf79f111f8130c3eee29480"),
            // A.2: the same client learns a renewed one, its own having become old.
            (
                first,
                "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
                "198.51.100.100",
                1_559_734_385,
                "010000005cf7a871d4a564a1442aca77",
            ),
            // A.4: IPv6, with a renewed secret.
            (
                third,
                "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
                "2001:db8:220:1:59de:d0f4:8769:82b8",
                1_559_741_961,
                "010000005cf7c609a6bb79d16625507a",
            ),
        ] {
            let secret: [u8; 16] = hex(secret).try_into().unwrap();
            let data = hex(client);
            let got = respond(&secret, &data, address.parse().unwrap(), now_s).unwrap().data;
            assert_eq!(got[..8], data[..8]);
            assert_eq!(got[8..], hex(want), "{client}");
        }
        let secret: [u8; 16] = hex(third).try_into().unwrap();
        let client = "203.0.113.203".parse().unwrap();
        let first = respond(&secret, &hex("fc93fc62807ddb86"), client, 1000).unwrap();
        assert!(!first.is_proven);
        let fresh = first.data;
        for (data, now_s, address, is_kept, is_proven) in [
            (fresh.to_vec(), 1000 + FRESH_S, "203.0.113.203", true, true),
            (fresh.to_vec(), 1000 - AHEAD_S, "203.0.113.203", true, true),
            (fresh.to_vec(), 1000, "::ffff:203.0.113.203", true, true),
            (fresh.to_vec(), 1001 + FRESH_S, "203.0.113.203", false, true),
            (fresh.to_vec(), 1000 + GOOD_S, "203.0.113.203", false, true),
            (fresh.to_vec(), 1001 + GOOD_S, "203.0.113.203", false, false),
            (fresh.to_vec(), 999 - AHEAD_S, "203.0.113.203", false, false),
            (fresh.to_vec(), 1001, "203.0.113.204", false, false),
            ([&fresh[..], &[0]].concat(), 1001, "203.0.113.203", false, false),
        ] {
            let again = respond(&secret, &data, address.parse().unwrap(), now_s).unwrap();
            assert_eq!((again.data == fresh, again.is_proven), (is_kept, is_proven), "{now_s} {address}");
        }
    }
}
