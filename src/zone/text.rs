//! Zones as text: RFC 1035 master files for other servers and tools, and JSON lines for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::model::name::Name;
use crate::model::rdata::{portable_type, to_portable_text, to_text};
use crate::model::rrset::{RdataSet, Rrset};
use crate::model::rrtype::RrType;

/// Writes a master file (RFC 1035 §5), one RRset at a time, in whatever order they come: the SOA record is written first, as tools expect,
/// and what comes before it waits. Names are absolute and every record has its TTL and class, so that each line stands for itself. Types
/// that some name servers do not know are written as `TYPEnnn` (RFC 3597).
#[derive(Debug)]
pub struct MasterFile<W: Write> {
    out: W,
    /// What came before the SOA record; `None` once that is written.
    waiting: Option<Vec<u8>>,
}

impl<W: Write> MasterFile<W> {
    /// Starts a file for the zone at `apex`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, apex: &Name) -> io::Result<Self> {
        writeln!(out, "$ORIGIN {apex}")?;
        Ok(Self { out, waiting: Some(Vec::new()) })
    }

    /// Adds an RRset, with the RDATA of the RRSIG records over it, which have the same TTL (RFC 4034 §3).
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn rrset(&mut self, name: &Name, rrset: &Rrset, signatures: &RdataSet) -> io::Result<()> {
        match (&mut self.waiting, rrset.rtype) {
            (Some(waiting), RrType::SOA) => {
                write_rrset(&mut self.out, name, rrset, signatures)?;
                self.out.write_all(waiting)?;
                self.waiting = None;
                Ok(())
            }
            (Some(waiting), _) => write_rrset(waiting, name, rrset, signatures),
            (None, _) => write_rrset(&mut self.out, name, rrset, signatures),
        }
    }

    /// Ends the file and gives the writer back.
    ///
    /// # Errors
    /// Those of the underlying writer.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(waiting) = self.waiting.take() {
            self.out.write_all(&waiting)?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn write_rrset(out: &mut impl Write, name: &Name, rrset: &Rrset, signatures: &RdataSet) -> io::Result<()> {
    for (rtype, set) in [(rrset.rtype, &rrset.rdata), (RrType::RRSIG, signatures)] {
        for rdata in set.iter() {
            let (ttl, rtype_text) = (rrset.ttl, portable_type(rtype));
            writeln!(out, "{name}\t{ttl}\tIN\t{rtype_text}\t{}", to_portable_text(rtype, rdata))?;
        }
    }
    Ok(())
}

/// Writes a whole zone as a master file; see [`MasterFile`]. Each item is an owner name, an RRset and the RDATA of its RRSIG records.
///
/// # Errors
/// Those of `out`.
pub fn write_rfc1035(
    out: impl Write,
    apex: &Name,
    records: impl IntoIterator<Item = (Name, Rrset, RdataSet)>,
) -> io::Result<()> {
    let mut file = MasterFile::new(out, apex)?;
    for (name, rrset, signatures) in records {
        file.rrset(&name, &rrset, &signatures)?;
    }
    file.finish().map(drop)
}

/// One RRset as a line of JSON.
#[derive(Serialize)]
struct JsonLine {
    name: String,
    #[serde(rename = "type")]
    rtype: String,
    ttl: u32,
    data: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signatures: Vec<String>,
}

/// Writes an RRset as one line of JSON: `{"name":"www.example.test.","type":"A","ttl":300,"data":["192.0.2.1"]}`, and in a signed zone
/// `"signatures"` with the RDATA of the RRSIG records. RDATA is in presentation format.
///
/// # Errors
/// Those of `out`.
pub fn write_json_line(
    out: &mut impl Write,
    name: &Name,
    rrset: &Rrset,
    signatures: &RdataSet,
) -> io::Result<()> {
    let texts = |rtype: RrType, set: &RdataSet| set.iter().map(|rdata| to_text(rtype, rdata)).collect();
    let line = JsonLine {
        name: name.to_string(),
        rtype: rrset.rtype.to_string(),
        ttl: rrset.ttl,
        data: texts(rrset.rtype, &rrset.rdata),
        signatures: texts(RrType::RRSIG, signatures),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

/// Writes a whole zone as lines of JSON; see [`write_json_line`].
///
/// # Errors
/// Those of `out`.
pub fn write_json_lines(
    mut out: impl Write,
    records: impl IntoIterator<Item = (Name, Rrset, RdataSet)>,
) -> io::Result<()> {
    for (name, rrset, signatures) in records {
        write_json_line(&mut out, &name, &rrset, &signatures)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::rdata::parse;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn record(owner: &str, rtype: &str, texts: &[&str], signatures: &[&str]) -> (Name, Rrset, RdataSet) {
        let (apex, rtype) = (name("example.test"), rtype.parse().unwrap());
        let set = |rtype, texts: &[&str]| {
            RdataSet::new(texts.iter().map(|text| parse(rtype, text, &apex).unwrap()))
        };
        let rrset = Rrset { rtype, ttl: 300, rdata: set(rtype, texts) };
        (Name::parse_relative_to(owner, &apex).unwrap(), rrset, set(RrType::RRSIG, signatures))
    }

    fn zone() -> Vec<(Name, Rrset, RdataSet)> {
        vec![
            record("@", "NS", &["ns1"], &[]),
            record("@", "SOA", &["ns1 hostmaster 7 3600 600 1209600 300"], &[]),
            record(
                "ns1",
                "A",
                &["192.0.2.2", "192.0.2.1"],
                &["A 13 3 300 20300101000000 20250101000000 7 @ AAAA"],
            ),
            record("a\\.b\\;", "TXT", &["say \"ä;\\\""], &[]),
        ]
    }

    #[test]
    fn master_file_starts_with_the_soa_record() {
        let mut out = Vec::new();
        write_rfc1035(&mut out, &name("example.test"), zone()).unwrap();
        let want = "\
$ORIGIN example.test.
example.test.\t300\tIN\tSOA\tns1.example.test. hostmaster.example.test. 7 3600 600 1209600 300
example.test.\t300\tIN\tNS\tns1.example.test.
ns1.example.test.\t300\tIN\tA\t192.0.2.1
ns1.example.test.\t300\tIN\tA\t192.0.2.2
ns1.example.test.\t300\tIN\tRRSIG\tA 13 3 300 20300101000000 20250101000000 7 example.test. AAAA
a\\.b\\;.example.test.\t300\tIN\tTXT\t\"say \\\"\\195\\164;\\\\\\\"\"
";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn without_a_soa_record_nothing_is_lost() {
        let mut out = Vec::new();
        write_rfc1035(&mut out, &name("example.test"), zone().into_iter().take(1)).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("\tNS\tns1.example.test.\n"));
    }

    #[test]
    fn json_lines() {
        let mut out = Vec::new();
        write_json_lines(&mut out, zone().into_iter().skip(2)).unwrap();
        let want = r#"{"name":"ns1.example.test.","type":"A","ttl":300,"data":["192.0.2.1","192.0.2.2"],"signatures":["A 13 3 300 20300101000000 20250101000000 7 example.test. AAAA"]}
{"name":"a\\.b\\;.example.test.","type":"TXT","ttl":300,"data":["\"say \\\"\\195\\164;\\\\\\\"\""]}
"#;
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
