//! DNS messages as the tests read and write them. Written apart from the server's own code on purpose: a mistake that both
//! shared would not be seen. Decoding is strict; what breaks RFC 1035 §4.1 is an error, not a guess.

use std::fmt::{self, Write as _};

/// RR types that the tests name.
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const HINFO: u16 = 13;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const DS: u16 = 43;
    pub const RRSIG: u16 = 46;
    pub const NSEC: u16 = 47;
    pub const DNSKEY: u16 = 48;
    pub const CDS: u16 = 59;
    pub const CDNSKEY: u16 = 60;
    pub const CAA: u16 = 257;
    pub const TSIG: u16 = 250;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

/// Response codes that the tests name.
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const YXDOMAIN: u16 = 6;
    pub const NOTAUTH: u16 = 9;
    pub const BADVERS: u16 = 16;
    pub const BADCOOKIE: u16 = 23;
}

/// An uncompressed name in wire form, as it was received or written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireName(pub Vec<u8>);

impl WireName {
    /// From text without escapes; the final dot may be missing.
    pub fn new(text: &str) -> WireName {
        let mut wire = Vec::new();
        for label in text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        WireName(wire)
    }

    /// In lower case (RFC 4343).
    pub fn lower(&self) -> WireName {
        WireName(self.0.to_ascii_lowercase())
    }

    /// The labels without the root.
    pub fn labels(&self) -> Vec<&[u8]> {
        let mut labels = Vec::new();
        let mut rest = &self.0[..];
        while rest[0] != 0 {
            let (label, tail) = rest[1..].split_at(usize::from(rest[0]));
            labels.push(label);
            rest = tail;
        }
        labels
    }

    /// Without the first label; `None` at the root.
    pub fn parent(&self) -> Option<WireName> {
        (self.0[0] != 0).then(|| WireName(self.0[1 + usize::from(self.0[0])..].to_vec()))
    }

    /// Whether this is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &WireName) -> bool {
        let mut name = Some(self.clone());
        while let Some(candidate) = name {
            if candidate == *ancestor {
                return true;
            }
            name = candidate.parent();
        }
        false
    }

    /// This name with the labels before it.
    pub fn child(&self, label: &[u8]) -> WireName {
        let mut wire = vec![u8::try_from(label.len()).unwrap()];
        wire.extend_from_slice(label);
        wire.extend_from_slice(&self.0);
        WireName(wire)
    }
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for label in self.labels() {
            for &octet in label {
                if octet.is_ascii_graphic() && octet != b'.' && octet != b'\\' {
                    f.write_char(char::from(octet))?;
                } else {
                    write!(f, "\\{octet:03}")?;
                }
            }
            f.write_char('.')?;
        }
        if self.0 == [0] { f.write_char('.') } else { Ok(()) }
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A record, its owner and the names in its RDATA uncompressed and in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    pub owner: WireName,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl Record {
    /// The type that an RRSIG covers, else the type itself.
    pub fn covered(&self) -> u16 {
        if self.rtype == rtype::RRSIG {
            u16::from_be_bytes([self.rdata[0], self.rdata[1]])
        } else {
            self.rtype
        }
    }

    /// The name that stands at `offset` of the RDATA up to its end or the next field.
    pub fn name_at(&self, offset: usize) -> WireName {
        let mut end = offset;
        while self.rdata[end] != 0 {
            end += 1 + usize::from(self.rdata[end]);
        }
        WireName(self.rdata[offset..=end].to_vec())
    }

    /// The serial of a SOA record.
    pub fn soa_serial(&self) -> u32 {
        let at = self.rdata.len() - 20;
        u32::from_be_bytes(self.rdata[at..at + 4].try_into().unwrap())
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.owner, self.ttl)?;
        match self.rtype {
            rtype::NS | rtype::CNAME | rtype::DNAME => {
                write!(f, "{} {}", type_text(self.rtype), self.name_at(0))
            }
            rtype::NSEC => {
                let next = self.name_at(0);
                write!(f, "NSEC {next} {}", hex(&self.rdata[next.0.len()..]))
            }
            rtype::RRSIG => write!(
                f,
                "RRSIG({}) …{}",
                type_text(self.covered()),
                hex(&self.rdata[self.rdata.len() - 4..])
            ),
            other => write!(f, "{} {}", type_text(other), hex(&self.rdata)),
        }
    }
}

/// A type's mnemonic.
pub fn type_text(value: u16) -> String {
    const NAMES: &[(u16, &str)] = &[
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (13, "HINFO"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (39, "DNAME"),
        (43, "DS"),
        (46, "RRSIG"),
        (47, "NSEC"),
        (48, "DNSKEY"),
        (59, "CDS"),
        (60, "CDNSKEY"),
        (255, "ANY"),
        (257, "CAA"),
    ];
    NAMES
        .iter()
        .find(|(number, _)| *number == value)
        .map_or_else(|| format!("TYPE{value}"), |(_, text)| (*text).to_owned())
}

/// Lower-case hexadecimal.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        write!(text, "{octet:02x}").unwrap();
        text
    })
}

/// An OPT record (RFC 6891 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    pub udp_size: u16,
    pub version: u8,
    pub flags: u16,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Opt {
    /// The value of an option.
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options.iter().find(|(present, _)| *present == code).map(|(_, value)| &value[..])
    }
}

/// A decoded message.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: u16,
    pub qr: bool,
    pub opcode: u8,
    pub aa: bool,
    pub tc: bool,
    pub rd: bool,
    pub ra: bool,
    pub z: bool,
    pub ad: bool,
    pub cd: bool,
    /// With the upper bits from OPT.
    pub rcode: u16,
    /// The question's name as received, type and class.
    pub questions: Vec<(WireName, u16, u16)>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    /// Without OPT.
    pub additional: Vec<Record>,
    pub opt: Option<Opt>,
    /// Octets of the message.
    pub len: usize,
}

impl Message {
    /// Decodes a whole message; anything left over, out of bounds or forbidden is an error.
    pub fn decode(bytes: &[u8]) -> Result<Message, String> {
        let mut reader = Reader { bytes, at: 0 };
        let id = reader.u16()?;
        let flags = reader.u16()?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        let mut questions = Vec::new();
        for _ in 0..counts[0] {
            questions.push((reader.name()?, reader.u16()?, reader.u16()?));
        }
        let mut sections: [Vec<Record>; 3] = Default::default();
        let mut opt = None;
        let mut rcode = flags & 15;
        for (section, &count) in sections.iter_mut().zip(&counts[1..]) {
            for _ in 0..count {
                let record = reader.record()?;
                if record.rtype == rtype::OPT {
                    if opt.is_some() || record.owner.0 != [0] {
                        return Err("a second OPT, or one whose owner is not the root".into());
                    }
                    rcode |= ((record.ttl >> 24) as u16) << 4;
                    opt = Some(decode_opt(&record)?);
                } else {
                    section.push(record);
                }
            }
        }
        if reader.at != bytes.len() {
            return Err(format!("{} octets after the message", bytes.len() - reader.at));
        }
        let [answer, authority, additional] = sections;
        let bit = |mask: u16| flags & mask != 0;
        Ok(Message {
            id,
            qr: bit(0x8000),
            opcode: (flags >> 11 & 15) as u8,
            aa: bit(0x400),
            tc: bit(0x200),
            rd: bit(0x100),
            ra: bit(0x80),
            z: bit(0x40),
            ad: bit(0x20),
            cd: bit(0x10),
            rcode,
            questions,
            answer,
            authority,
            additional,
            opt,
            len: bytes.len(),
        })
    }

    /// The INFO-CODE of the extended error (RFC 8914), if there is one.
    pub fn extended_error(&self) -> Option<u16> {
        let value = self.opt.as_ref()?.option(15)?;
        Some(u16::from_be_bytes([value[0], value[1]]))
    }

    /// Records of a type in the answer section.
    pub fn answers(&self, wanted: u16) -> impl Iterator<Item = &Record> {
        self.answer.iter().filter(move |record| record.rtype == wanted)
    }
}

fn decode_opt(record: &Record) -> Result<Opt, String> {
    let mut options = Vec::new();
    let mut rest = &record.rdata[..];
    while !rest.is_empty() {
        if rest.len() < 4 {
            return Err("an EDNS option without a header".into());
        }
        let code = u16::from_be_bytes([rest[0], rest[1]]);
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        let value = rest.get(4..4 + length).ok_or("an EDNS option past the end")?;
        options.push((code, value.to_vec()));
        rest = &rest[4 + length..];
    }
    Ok(Opt { udp_size: record.class, version: (record.ttl >> 16) as u8, flags: record.ttl as u16, options })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let slice = self.bytes.get(self.at..self.at + count).ok_or("the message ends early")?;
        self.at += count;
        Ok(slice)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.take(2).map(|two| u16::from_be_bytes([two[0], two[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.take(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    }

    fn name(&mut self) -> Result<WireName, String> {
        let (name, end) = read_name(self.bytes, self.at)?;
        self.at = end;
        Ok(name)
    }

    fn record(&mut self) -> Result<Record, String> {
        let owner = self.name()?.lower();
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let start = self.at;
        self.take(length)?;
        let rdata = expand_rdata(self.bytes, rtype, start, start + length)?;
        Ok(Record { owner, rtype, class, ttl, rdata })
    }
}

/// A name at `at`; pointers must go backwards (RFC 1035 §4.1.4: to a prior occurrence). Returns the offset after it.
fn read_name(bytes: &[u8], mut at: usize) -> Result<(WireName, usize), String> {
    let mut wire = Vec::new();
    let mut end = None;
    let mut limit = at;
    loop {
        let length = *bytes.get(at).ok_or("a name past the end")?;
        match length {
            0 => {
                wire.push(0);
                if wire.len() > 255 {
                    return Err("a name of more than 255 octets".into());
                }
                return Ok((WireName(wire), end.unwrap_or(at + 1)));
            }
            1..=63 => {
                wire.extend_from_slice(
                    bytes.get(at..=at + usize::from(length)).ok_or("a label past the end")?,
                );
                at += 1 + usize::from(length);
            }
            192.. => {
                let low = *bytes.get(at + 1).ok_or("a pointer past the end")?;
                let target = usize::from(length & 63) << 8 | usize::from(low);
                if target >= limit {
                    return Err("a compression pointer that does not go backwards".into());
                }
                end = end.or(Some(at + 2));
                limit = target;
                at = target;
            }
            _ => return Err(format!("label type {length:#x}")),
        }
    }
}

/// RDATA with its names uncompressed and in lower case, for the types whose names may be compressed (RFC 3597 §4) and the
/// others of RFC 4034 §6.2 that occur here.
fn expand_rdata(bytes: &[u8], rtype: u16, start: usize, end: usize) -> Result<Vec<u8>, String> {
    let (before, names) = match rtype {
        rtype::NS | rtype::CNAME | rtype::DNAME | 12 => (0, 1),
        rtype::MX => (2, 1),
        rtype::SRV => (6, 1),
        rtype::SOA => (0, 2),
        rtype::NSEC => (0, 1),
        rtype::RRSIG => (18, 1),
        _ => return Ok(bytes[start..end].to_vec()),
    };
    if start + before > end {
        return Err(format!("RDATA of {} too short", type_text(rtype)));
    }
    let mut rdata = bytes[start..start + before].to_vec();
    let mut at = start + before;
    for _ in 0..names {
        let (name, next) = read_name(bytes, at)?;
        rdata.extend_from_slice(&name.lower().0);
        at = next;
    }
    if at > end {
        return Err(format!("a name past the RDATA of {}", type_text(rtype)));
    }
    rdata.extend_from_slice(&bytes[at..end]);
    Ok(rdata)
}

/// Builds queries, good and bad ones.
#[derive(Clone, Debug)]
pub struct QueryBuilder {
    pub id: u16,
    pub flags: u16,
    pub name: WireName,
    pub qtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
}

/// The OPT record of a query.
#[derive(Clone, Debug)]
pub struct Edns {
    pub udp_size: u16,
    pub version: u8,
    pub flags: u16,
    pub options: Vec<u8>,
}

/// The DO bit (RFC 3225).
pub const DO: u16 = 0x8000;

impl QueryBuilder {
    /// A plain query of class IN.
    pub fn new(name: &str, qtype: u16) -> QueryBuilder {
        QueryBuilder::of(WireName::new(name), qtype)
    }

    /// A plain query of class IN.
    pub fn of(name: WireName, qtype: u16) -> QueryBuilder {
        QueryBuilder { id: 0x4861, flags: 0, name, qtype, class: 1, edns: None }
    }

    /// With EDNS, and DO where asked.
    pub fn edns(mut self, udp_size: u16, dnssec_ok: bool) -> QueryBuilder {
        self.edns =
            Some(Edns { udp_size, version: 0, flags: if dnssec_ok { DO } else { 0 }, options: Vec::new() });
        self
    }

    /// One more EDNS option.
    pub fn option(mut self, code: u16, value: &[u8]) -> QueryBuilder {
        let options = &mut self.edns.as_mut().unwrap().options;
        options.extend_from_slice(&code.to_be_bytes());
        options.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        options.extend_from_slice(value);
        self
    }

    /// The header's second word: QR, opcode, flags.
    pub fn flags(mut self, flags: u16) -> QueryBuilder {
        self.flags = flags;
        self
    }

    /// The message.
    pub fn build(&self) -> Vec<u8> {
        let mut wire = header(self.id, self.flags, [1, 0, 0, u16::from(self.edns.is_some())]);
        wire.extend_from_slice(&self.name.0);
        wire.extend_from_slice(&self.qtype.to_be_bytes());
        wire.extend_from_slice(&self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            wire.extend_from_slice(&opt_record(edns));
        }
        wire
    }
}

/// A header with these counts.
pub fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(64);
    for word in [id, flags, counts[0], counts[1], counts[2], counts[3]] {
        wire.extend_from_slice(&word.to_be_bytes());
    }
    wire
}

/// An OPT record in wire form.
pub fn opt_record(edns: &Edns) -> Vec<u8> {
    let mut wire = vec![0];
    wire.extend_from_slice(&rtype::OPT.to_be_bytes());
    wire.extend_from_slice(&edns.udp_size.to_be_bytes());
    wire.extend_from_slice(&[0, edns.version]);
    wire.extend_from_slice(&edns.flags.to_be_bytes());
    wire.extend_from_slice(&u16::try_from(edns.options.len()).unwrap().to_be_bytes());
    wire.extend_from_slice(&edns.options);
    wire
}
