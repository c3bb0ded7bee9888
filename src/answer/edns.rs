//! EDNS(0): the OPT record of query and response (RFC 6891) and its options.

use std::net::IpAddr;

use super::cookie;
use super::encode::{Full, Response};
use super::parse::be16;
use super::rcode::Rcode;
use super::subnet::Subnet;
use super::{Query, Settings, Transport};

/// Option codes (IANA, DNS EDNS0 option codes).
mod option {
    pub(super) const NSID: u16 = 3;
    pub(super) const CLIENT_SUBNET: u16 = 8;
    pub(super) const COOKIE: u16 = 10;
    pub(super) const TCP_KEEPALIVE: u16 = 11;
    pub(super) const EXTENDED_ERROR: u16 = 15;
}

/// Octets of an OPT record without options.
const OPT_LEN: usize = 11;
/// The smallest answer every client takes (RFC 6891 §6.2.5).
const MIN_UDP_PAYLOAD: usize = 512;
/// The DO bit in the OPT record's flags (RFC 3225).
const DO: u8 = 0x80;

/// An extended error (RFC 8914): its code, and a text where the code alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExtendedError(pub(super) u16, pub(super) &'static str);

impl ExtendedError {
    pub(super) const STALE: Self = Self(3, "");
    pub(super) const NOT_READY: Self = Self(14, "");
    pub(super) const NOT_AUTHORITATIVE: Self = Self(20, "");
    pub(super) const BROKEN_ZONE: Self = Self(0, "the zone could not be loaded");
    pub(super) const ALL_DOWN_SERVING_ALL: Self = Self(0, "every endpoint is down: serving all of them");
    pub(super) const FALLBACK: Self = Self(0, "every endpoint is down: serving the fallback");
    pub(super) const WITHHELD: Self = Self(0, "every endpoint is down");
}

/// The OPT record of a query.
#[derive(Debug)]
pub(super) struct Edns<'q> {
    payload: u16,
    pub(super) version: u8,
    pub(super) dnssec_ok: bool,
    /// The COOKIE option's data: 8 octets, or 16 to 40.
    pub(super) cookie: Option<&'q [u8]>,
    /// The data of the client subnet option.
    pub(super) subnet: Option<&'q [u8]>,
    /// Whether there is any option at all.
    has_options: bool,
    wants_nsid: bool,
    wants_keepalive: bool,
}

impl<'q> Edns<'q> {
    /// From the class and TTL fields (RFC 6891 §6.1.3).
    pub(super) fn new(payload: u16, ttl: [u8; 4]) -> Self {
        Self {
            payload,
            version: ttl[1],
            dnssec_ok: ttl[2] & DO != 0,
            cookie: None,
            subnet: None,
            has_options: false,
            wants_nsid: false,
            wants_keepalive: false,
        }
    }

    /// Reads the options; `None` if one runs past the end, or for a cookie of a length that there is not (RFC 7873 §5.2.2).
    #[inline]
    pub(super) fn read_options(&mut self, mut rdata: &'q [u8]) -> Option<()> {
        self.has_options = !rdata.is_empty();
        while !rdata.is_empty() {
            let code = be16(rdata, 0)?;
            let (data, rest) = rdata.get(4..)?.split_at_checked(usize::from(be16(rdata, 2)?))?;
            rdata = rest;
            match code {
                option::NSID => self.wants_nsid = true,
                option::COOKIE => {
                    if !matches!(data.len(), 8 | 16..=40) {
                        return None;
                    }
                    self.cookie.get_or_insert(data);
                }
                option::TCP_KEEPALIVE => self.wants_keepalive = true,
                option::CLIENT_SUBNET => {
                    self.subnet.get_or_insert(data);
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// What the response's OPT record will hold, decided before the first record is written so that it always fits.
#[derive(Debug)]
pub(super) struct Opt<'a> {
    payload: u16,
    dnssec_ok: bool,
    /// Octets of the record without an extended error.
    len: usize,
    nsid: Option<&'a [u8]>,
    cookie: Option<cookie::Reply>,
    keepalive: Option<u16>,
    subnet: Option<Subnet<'a>>,
    /// Bits of the client's address that the answer holds for.
    pub(super) scope: u8,
}

impl<'a> Opt<'a> {
    #[inline]
    pub(super) fn new(
        settings: &'a Settings,
        query: &Query<'_>,
        edns: &Edns<'_>,
        subnet: Option<Subnet<'a>>,
    ) -> Self {
        let mut opt = Self {
            payload: settings.udp_payload_limit,
            dnssec_ok: edns.dnssec_ok,
            len: OPT_LEN,
            nsid: None,
            cookie: None,
            keepalive: None,
            subnet,
            scope: 0,
        };
        if edns.has_options {
            opt.reply_to_options(settings, query, edns);
        }
        opt
    }

    #[inline(never)]
    fn reply_to_options(&mut self, settings: &'a Settings, query: &Query<'_>, edns: &Edns<'_>) {
        let client: IpAddr = query.peer.ip();
        self.cookie = match (&settings.cookie_secret, edns.cookie) {
            (Some(secret), Some(data)) => cookie::respond(secret, data, client, query.now_s),
            _ => None,
        };
        self.nsid = settings.nsid().filter(|_| edns.wants_nsid);
        // On UDP the option is ignored (RFC 7828 §3.3.1).
        let on_tcp = query.transport == Transport::Tcp;
        self.keepalive = settings.tcp_keepalive_100ms.filter(|_| on_tcp && edns.wants_keepalive);
        let option = |len: Option<usize>| len.map_or(0, |n| n + 4);
        self.len = OPT_LEN
            + option(self.nsid.map(<[u8]>::len))
            + option(self.cookie.as_ref().map(|_| cookie::LEN))
            + option(self.keepalive.map(|_| 2))
            + option(self.subnet.as_ref().map(Subnet::len));
    }

    /// Whether the client sent a server cookie that is good.
    #[inline]
    pub(super) fn has_good_cookie(&self) -> bool {
        self.cookie.as_ref().is_some_and(|cookie| cookie.is_proven)
    }

    /// Octets of the record without an extended error.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Writes the record; an extended error is left out where it does not fit.
    #[inline]
    pub(super) fn write(
        &self,
        rcode: Rcode,
        error: Option<ExtendedError>,
        response: &mut Response<'_>,
    ) -> Result<(), Full> {
        let error_len = error.map_or(0, |e| 6 + e.1.len());
        let error = error.filter(|_| self.len + error_len <= response.room());
        let rdlength = self.len - OPT_LEN + error.map_or(0, |_| error_len);
        let [size_high, size_low] = self.payload.to_be_bytes();
        let flags = if self.dnssec_ok { DO } else { 0 };
        let [length_high, length_low] = (rdlength as u16).to_be_bytes();
        let extended = (rcode.0 >> 4) as u8;
        let fixed = [0, 0, 41, size_high, size_low, extended, 0, flags, 0, length_high, length_low];
        response.record(&[&fixed])?;
        if rdlength > 0 { self.write_options(error, response) } else { Ok(()) }
    }

    #[inline(never)]
    fn write_options(&self, error: Option<ExtendedError>, response: &mut Response<'_>) -> Result<(), Full> {
        if let Some(nsid) = self.nsid {
            push_option(response, option::NSID, &[nsid])?;
        }
        if let Some(cookie) = &self.cookie {
            push_option(response, option::COOKIE, &[&cookie.data])?;
        }
        if let Some(keepalive) = self.keepalive {
            push_option(response, option::TCP_KEEPALIVE, &[&keepalive.to_be_bytes()])?;
        }
        if let Some(Subnet { head, octets, .. }) = &self.subnet {
            push_option(response, option::CLIENT_SUBNET, &[head, &[self.scope], octets])?;
        }
        if let Some(ExtendedError(code, text)) = error {
            push_option(response, option::EXTENDED_ERROR, &[&code.to_be_bytes(), text.as_bytes()])?;
        }
        Ok(())
    }
}

fn push_option(response: &mut Response<'_>, code: u16, data: &[&[u8]]) -> Result<(), Full> {
    let len = data.iter().map(|d| d.len()).sum::<usize>() as u16;
    response.push(&code.to_be_bytes())?;
    response.push(&len.to_be_bytes())?;
    data.iter().try_for_each(|d| response.push(d))
}

/// The largest response a client takes, in octets.
#[inline]
pub(super) fn response_limit(settings: &Settings, transport: Transport, edns: Option<&Edns<'_>>) -> usize {
    match (transport, edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => MIN_UDP_PAYLOAD,
        (Transport::Udp, Some(edns)) => {
            let ours = usize::from(settings.udp_payload_limit).max(MIN_UDP_PAYLOAD);
            usize::from(edns.payload).clamp(MIN_UDP_PAYLOAD, ours)
        }
    }
}
