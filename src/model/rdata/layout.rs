//! Of which fields each RR type's RDATA consists.

use super::super::rrtype::RrType;
use Field::*;
use NameKind::*;

/// One field, or a group of fields that only make sense together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    U8,
    U16,
    U32,
    /// Seconds in 32 bits; `1h30m` is taken too.
    Period,
    /// A signature's time (RFC 4034 §3.2).
    Time,
    /// An octet with mnemonics.
    Code8(&'static [(&'static str, u16)]),
    /// Two octets with mnemonics.
    Code16(&'static [(&'static str, u16)]),
    /// An RR type.
    Type,
    Ip4,
    Ip6,
    /// A name that leads to other records.
    Target(NameKind),
    /// A name that is mere data: a mailbox, a signer.
    Name(NameKind),
    /// Names up to the end.
    Names,
    /// A character-string.
    Text,
    /// A character-string that may be missing at the end.
    OptionalText,
    /// Character-strings up to the end, at least one.
    Texts,
    /// Letters and digits behind their length (RFC 8659 §4.1).
    Tag,
    /// Any octets up to the end, written as one text.
    Rest,
    /// Hex up to the end, at least one octet.
    Hex,
    /// Base64 up to the end, at least one octet.
    Base64,
    /// Base64 up to the end, or nothing.
    OptionalBase64,
    /// Hex behind its length, `-` for none (RFC 5155 §3.3).
    Salt,
    /// Base32hex behind its length (RFC 5155 §3.3).
    NextHash,
    /// Type bit maps (RFC 4034 §4.1.2).
    Types,
    /// The single bit map of NXT (RFC 2535 §5.2).
    OldTypes,
    /// The bit map of WKS behind its protocol (RFC 1035 §3.4.2).
    Ports,
    /// RFC 3123.
    Apl,
    /// RFC 1876.
    Loc,
    /// RFC 9460 §2.2.
    SvcParams,
    /// Gateway type, algorithm and gateway (RFC 4025 §2.1).
    Gateway,
    /// Discovery-optional bit, relay type and relay (RFC 8777 §4.2).
    Relay,
    /// Algorithm, host identity tag and public key (RFC 8005 §5).
    HostIdentity,
    /// 64 bits as four groups of hex (RFC 6742 §2.1.2).
    NodeId,
    /// So many octets of hex with hyphens (RFC 7043).
    Eui(usize),
    /// `0x` and hex with dots for the eye (RFC 1706 §7).
    Nsap,
}

/// How a name is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// Listed in RFC 1035: may be compressed in a message, and folded for signing.
    Compressible,
    /// Listed in RFC 4034 §6.2 as amended by RFC 6840 §5.1: folded for signing.
    Folded,
    /// Signed in the case it has.
    Kept,
}

/// The fields of one type, with the words that errors use for them, and an example.
pub(super) struct Layout {
    pub(super) rtype: RrType,
    pub(super) example: &'static str,
    pub(super) fields: &'static [(&'static str, Field)],
}

/// DNSSEC algorithm mnemonics (IANA "DNS Security Algorithm Numbers").
const ALGORITHMS: &[(&str, u16)] = &[
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("NSEC3RSASHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];
/// RFC 4398 §2.1.
const CERTIFICATES: &[(&str, u16)] = &[
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];
/// RFC 9859 §2.1.
const SCHEMES: &[(&str, u16)] = &[("NOTIFY", 1)];
/// The protocols that WKS was used with.
const PROTOCOLS: &[(&str, u16)] = &[("TCP", 6), ("UDP", 17)];

const DS: &[(&str, Field)] =
    &[("key tag", U16), ("algorithm", Code8(ALGORITHMS)), ("digest type", U8), ("digest", Hex)];
const KEY: &[(&str, Field)] =
    &[("flags", U16), ("protocol", U8), ("algorithm", Code8(ALGORITHMS)), ("public key", Base64)];
const SIGNATURE: &[(&str, Field)] = &[
    ("type covered", Type),
    ("algorithm", Code8(ALGORITHMS)),
    ("labels", U8),
    ("original TTL", U32),
    ("expiration", Time),
    ("inception", Time),
    ("key tag", U16),
    ("signer's name", Name(Folded)),
    ("signature", Base64),
];
const TEXTS: &[(&str, Field)] = &[("text", Texts)];
const ASSOCIATION: &[(&str, Field)] =
    &[("certificate usage", U8), ("selector", U8), ("matching type", U8), ("association data", Hex)];
const SERVICE: &[(&str, Field)] =
    &[("priority", U16), ("target", Target(Kept)), ("service parameters", SvcParams)];
const OLD_MAIL: &[(&str, Field)] = &[("host", Target(Compressible))];
const OLD_MAILBOX: &[(&str, Field)] = &[("mailbox", Name(Compressible))];

const fn row(rtype: RrType, example: &'static str, fields: &'static [(&'static str, Field)]) -> Layout {
    Layout { rtype, example, fields }
}

const SHA256: &str = "60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A";
const P256: &str =
    "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==";

/// Every type that is not opaque, by number.
pub(super) const TABLE: &[Layout] = &[
    row(RrType::A, "192.0.2.1", &[("address", Ip4)]),
    row(RrType::NS, "ns1", &[("name server", Target(Compressible))]),
    row(RrType::MD, "mail", OLD_MAIL),
    row(RrType::MF, "mail", OLD_MAIL),
    row(RrType::CNAME, "www", &[("canonical name", Target(Compressible))]),
    row(
        RrType::SOA,
        "ns1 hostmaster 1 1h 10m 14d 5m",
        &[
            ("primary name server", Target(Compressible)),
            ("mailbox", Name(Compressible)),
            ("serial", U32),
            ("refresh", Period),
            ("retry", Period),
            ("expire", Period),
            ("minimum", Period),
        ],
    ),
    row(RrType::MB, "mail", OLD_MAIL),
    row(RrType::MG, "mailbox", OLD_MAILBOX),
    row(RrType::MR, "mailbox", OLD_MAILBOX),
    row(
        RrType::WKS,
        "192.0.2.1 6 25 80",
        &[("address", Ip4), ("protocol", Code8(PROTOCOLS)), ("ports", Ports)],
    ),
    row(RrType::PTR, "www", &[("name", Target(Compressible))]),
    row(RrType::HINFO, "\"PC\" \"Linux\"", &[("CPU", Text), ("OS", Text)]),
    row(
        RrType::MINFO,
        "owner errors",
        &[("responsible mailbox", Name(Compressible)), ("error mailbox", Name(Compressible))],
    ),
    row(RrType::MX, "10 mail", &[("preference", U16), ("exchange", Target(Compressible))]),
    row(RrType::TXT, "\"v=spf1 mx -all\"", TEXTS),
    row(RrType::RP, "john.example.net. info", &[("mailbox", Name(Folded)), ("text name", Target(Folded))]),
    row(RrType::AFSDB, "1 afs", &[("subtype", U16), ("host", Target(Folded))]),
    row(RrType::X25, "\"311061700956\"", &[("PSDN address", Text)]),
    row(RrType::ISDN, "\"150862028003217\" \"004\"", &[("ISDN address", Text), ("subaddress", OptionalText)]),
    row(RrType::RT, "10 relay", &[("preference", U16), ("intermediate host", Target(Folded))]),
    row(RrType::NSAP, "0x47.0005.80.005a00", &[("NSAP address", Nsap)]),
    row(RrType::NSAP_PTR, "host", &[("name", Target(Folded))]),
    row(RrType::SIG, "A 8 2 3600 20300101000000 20250101000000 12345 @ c2lnbmF0dXJl", SIGNATURE),
    row(
        RrType::KEY,
        "256 3 8 AwEAAQ==",
        &[("flags", U16), ("protocol", U8), ("algorithm", Code8(ALGORITHMS)), ("public key", OptionalBase64)],
    ),
    row(
        RrType::PX,
        "10 map822 mapx400",
        &[("preference", U16), ("RFC 822 map", Name(Folded)), ("X.400 map", Name(Folded))],
    ),
    row(
        RrType::GPOS,
        "\"-32.6882\" \"116.8652\" \"10.0\"",
        &[("longitude", Text), ("latitude", Text), ("altitude", Text)],
    ),
    row(RrType::AAAA, "2001:db8::1", &[("address", Ip6)]),
    row(RrType::LOC, "51 30 12.748 N 0 7 39.611 W 0m 1m 10000m 10m", &[("location", Loc)]),
    row(RrType::NXT, "next A MX NXT", &[("next name", Name(Folded)), ("types", OldTypes)]),
    row(RrType::EID, "12AB", &[("identifier", Hex)]),
    row(RrType::NIMLOC, "12AB", &[("locator", Hex)]),
    row(
        RrType::SRV,
        "10 5 443 www",
        &[("priority", U16), ("weight", U16), ("port", U16), ("target", Target(Folded))],
    ),
    row(
        RrType::NAPTR,
        "100 10 \"u\" \"E2U+sip\" \"!^.*$!sip:info@example.net!\" .",
        &[
            ("order", U16),
            ("preference", U16),
            ("flags", Text),
            ("services", Text),
            ("regular expression", Text),
            ("replacement", Target(Folded)),
        ],
    ),
    row(RrType::KX, "10 kx", &[("preference", U16), ("exchanger", Target(Folded))]),
    row(
        RrType::CERT,
        "PKIX 12345 8 Y2VydGlmaWNhdGU=",
        &[
            ("certificate type", Code16(CERTIFICATES)),
            ("key tag", U16),
            ("algorithm", Code8(ALGORITHMS)),
            ("certificate", Base64),
        ],
    ),
    row(RrType::DNAME, "other.example.net.", &[("target", Target(Folded))]),
    row(RrType::APL, "1:192.0.2.0/24 !2:2001:db8::/32", &[("prefixes", Apl)]),
    row(RrType::DS, SHA256, DS),
    row(
        RrType::SSHFP,
        "4 1 123456789abcdef67890123456789abcdef67890",
        &[("algorithm", U8), ("fingerprint type", U8), ("fingerprint", Hex)],
    ),
    row(
        RrType::IPSECKEY,
        "10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
        &[("precedence", U8), ("gateway", Gateway), ("public key", OptionalBase64)],
    ),
    row(RrType::RRSIG, "A 13 2 3600 20300101000000 20250101000000 12345 @ c2lnbmF0dXJl", SIGNATURE),
    row(RrType::NSEC, "next A RRSIG NSEC", &[("next name", Name(Kept)), ("types", Types)]),
    row(RrType::DNSKEY, P256, KEY),
    row(RrType::DHCID, "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", &[("identifier", Base64)]),
    row(
        RrType::NSEC3,
        "1 0 0 - 0P9MHAVEQVM6T7VBL5LOP2U3T2RP3TOM A RRSIG",
        &[
            ("hash algorithm", U8),
            ("flags", U8),
            ("iterations", U16),
            ("salt", Salt),
            ("next hash", NextHash),
            ("types", Types),
        ],
    ),
    row(
        RrType::NSEC3PARAM,
        "1 0 0 -",
        &[("hash algorithm", U8), ("flags", U8), ("iterations", U16), ("salt", Salt)],
    ),
    row(RrType::TLSA, "3 1 1 d2abde240d7cd3ee6b4b28c54df034b97983a1d16e8a410e4561cb106618e971", ASSOCIATION),
    row(RrType::SMIMEA, "3 0 0 d2abde240d7cd3ee", ASSOCIATION),
    row(
        RrType::HIP,
        "2 200100107B1A74DF365639CC39F1D578 AwEAAbdx rvs",
        &[("host identity", HostIdentity), ("rendezvous servers", Names)],
    ),
    row(RrType::NINFO, "\"text\"", TEXTS),
    row(RrType::RKEY, "0 3 8 AwEAAQ==", KEY),
    row(RrType::TALINK, ". next", &[("previous name", Name(Kept)), ("next name", Name(Kept))]),
    row(RrType::CDS, SHA256, DS),
    row(RrType::CDNSKEY, P256, KEY),
    row(RrType::OPENPGPKEY, "mQINBFit2ioB", &[("public key", Base64)]),
    row(RrType::CSYNC, "66 3 A NS AAAA", &[("serial", U32), ("flags", U16), ("types", Types)]),
    row(
        RrType::ZONEMD,
        "2018031500 1 1 FEBE3D4CE2EC2FFA4BA99D46CD69D6D29711E55217057BEE7EB1A7B641A47BA7FED2DD5B97AE499FAFA4F22C6BD647DE",
        &[("serial", U32), ("scheme", U8), ("hash algorithm", U8), ("digest", Hex)],
    ),
    row(RrType::SVCB, "1 svc alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1", SERVICE),
    row(RrType::HTTPS, "1 . alpn=\"h2,h3\"", SERVICE),
    row(
        RrType::DSYNC,
        "CDS NOTIFY 5300 notify",
        &[("type", Type), ("scheme", Code8(SCHEMES)), ("port", U16), ("target", Target(Kept))],
    ),
    row(RrType::HHIT, "AAAA", &[("data", Base64)]),
    row(RrType::BRID, "AAAA", &[("data", Base64)]),
    row(RrType::SPF, "\"v=spf1 mx -all\"", TEXTS),
    row(RrType::NID, "10 0014:4fff:ff20:ee64", &[("preference", U16), ("node identifier", NodeId)]),
    row(RrType::L32, "10 192.0.2.0", &[("preference", U16), ("locator", Ip4)]),
    row(RrType::L64, "10 2001:0db8:1140:1000", &[("preference", U16), ("locator", NodeId)]),
    row(RrType::LP, "10 l64", &[("preference", U16), ("locator name", Target(Kept))]),
    row(RrType::EUI48, "00-00-5e-00-53-2a", &[("address", Eui(6))]),
    row(RrType::EUI64, "00-00-5e-ef-10-00-00-2a", &[("address", Eui(8))]),
    row(
        RrType::URI,
        "10 1 \"https://example.net/\"",
        &[("priority", U16), ("weight", U16), ("target", Rest)],
    ),
    row(RrType::CAA, "0 issue \"ca.example.net\"", &[("flags", U8), ("tag", Tag), ("value", Rest)]),
    row(RrType::AVC, "\"app-name:WOLFGANG\"", TEXTS),
    row(RrType::AMTRELAY, "10 0 1 203.0.113.15", &[("precedence", U8), ("relay", Relay)]),
    row(RrType::RESINFO, "\"qnamemin\" \"exterr=15-17\"", TEXTS),
    row(RrType::WALLET, "\"text\"", TEXTS),
    row(RrType::TA, SHA256, DS),
    row(RrType::DLV, SHA256, DS),
];

/// The layout of a type; `None` for what is opaque.
pub(super) fn of(rtype: RrType) -> Option<&'static Layout> {
    TABLE.binary_search_by_key(&rtype, |layout| layout.rtype).ok().map(|i| &TABLE[i])
}

impl Layout {
    /// How to write the type, for hints.
    pub(super) fn usage(&self) -> String {
        let words: Vec<&str> = self.fields.iter().map(|&(word, _)| word).collect();
        format!("{} takes: {}; for example: {}", self.rtype, words.join(", "), self.example)
    }
}
