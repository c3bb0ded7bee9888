//! RR types by number, with the mnemonics of the IANA registry and `TYPEnnn` for the rest (RFC 3597 §5).

use std::fmt;
use std::str::FromStr;

/// An RR type or QTYPE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RrType(pub u16);

macro_rules! types {
    ($($name:ident $text:literal $value:literal,)*) => {
        impl RrType {
            $(#[doc = concat!("`", $text, "`, ", stringify!($value))] pub const $name: Self = Self($value);)*
        }
        const MNEMONICS: &[(&str, u16)] = &[$(($text, $value),)*];
    };
}

types! {
    A "A" 1, NS "NS" 2, MD "MD" 3, MF "MF" 4, CNAME "CNAME" 5, SOA "SOA" 6, MB "MB" 7, MG "MG" 8, MR "MR" 9, NULL "NULL" 10,
    WKS "WKS" 11, PTR "PTR" 12, HINFO "HINFO" 13, MINFO "MINFO" 14, MX "MX" 15, TXT "TXT" 16, RP "RP" 17, AFSDB "AFSDB" 18,
    X25 "X25" 19, ISDN "ISDN" 20, RT "RT" 21, NSAP "NSAP" 22, NSAP_PTR "NSAP-PTR" 23, SIG "SIG" 24, KEY "KEY" 25, PX "PX" 26, GPOS "GPOS" 27,
    AAAA "AAAA" 28, LOC "LOC" 29, NXT "NXT" 30, EID "EID" 31, NIMLOC "NIMLOC" 32, SRV "SRV" 33, NAPTR "NAPTR" 35, KX "KX" 36, CERT "CERT" 37, DNAME "DNAME" 39,
    OPT "OPT" 41, APL "APL" 42, DS "DS" 43, SSHFP "SSHFP" 44, IPSECKEY "IPSECKEY" 45, RRSIG "RRSIG" 46, NSEC "NSEC" 47,
    DNSKEY "DNSKEY" 48, DHCID "DHCID" 49, NSEC3 "NSEC3" 50, NSEC3PARAM "NSEC3PARAM" 51, TLSA "TLSA" 52, SMIMEA "SMIMEA" 53,
    HIP "HIP" 55, NINFO "NINFO" 56, RKEY "RKEY" 57, TALINK "TALINK" 58, CDS "CDS" 59, CDNSKEY "CDNSKEY" 60, OPENPGPKEY "OPENPGPKEY" 61, CSYNC "CSYNC" 62, ZONEMD "ZONEMD" 63,
    SVCB "SVCB" 64, HTTPS "HTTPS" 65, DSYNC "DSYNC" 66, HHIT "HHIT" 67, BRID "BRID" 68, SPF "SPF" 99, NID "NID" 104, L32 "L32" 105, L64 "L64" 106, LP "LP" 107,
    EUI48 "EUI48" 108, EUI64 "EUI64" 109, NXNAME "NXNAME" 128, TKEY "TKEY" 249, TSIG "TSIG" 250, IXFR "IXFR" 251,
    AXFR "AXFR" 252, MAILB "MAILB" 253, MAILA "MAILA" 254, ANY "ANY" 255, URI "URI" 256, CAA "CAA" 257, AVC "AVC" 258,
    AMTRELAY "AMTRELAY" 260,
    RESINFO "RESINFO" 261, WALLET "WALLET" 262, TA "TA" 32768, DLV "DLV" 32769,
}

impl RrType {
    /// Whether this is a QTYPE or meta type that no zone can hold (RFC 6895 §3.1): 0, OPT and 128 to 255.
    pub fn is_meta(self) -> bool {
        matches!(self.0, 0 | 41 | 128..=255)
    }

    /// Every type with a mnemonic, by number.
    pub fn known() -> impl Iterator<Item = Self> {
        MNEMONICS.iter().map(|&(_, value)| Self(value))
    }

    /// The mnemonic, if the type has one.
    pub fn mnemonic(self) -> Option<&'static str> {
        MNEMONICS.binary_search_by_key(&self.0, |&(_, value)| value).ok().map(|i| MNEMONICS[i].0)
    }
}

impl fmt::Display for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(text) => f.write_str(text),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Debug for RrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for RrType {
    type Err = ();

    /// Takes a mnemonic in any case, or `TYPEnnn`.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(&(_, value)) = MNEMONICS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(Self(value));
        }
        let (head, digits) = text.split_at_checked(4).ok_or(())?;
        let digits_only = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !head.eq_ignore_ascii_case("TYPE") || !digits_only {
            return Err(());
        }
        digits.parse().map(Self).map_err(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_are_sorted_and_round_trip() {
        assert!(MNEMONICS.is_sorted_by_key(|&(_, value)| value));
        for t in RrType::known().chain([RrType(65400), RrType(666)]) {
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!("type1".parse(), Ok(RrType::A));
        for bad in ["", "TYPE", "TYPE+1", "TYPE65536", "AA", "TYP1"] {
            assert_eq!(bad.parse::<RrType>(), Err(()), "{bad}");
        }
    }
}
