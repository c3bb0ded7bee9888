//! One JSON object a line, in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::time::Duration;

use serde::Serialize;

use super::JsonSettings;
use super::mailbox::{BatchTime, Fate, Logged};
use super::message;
use super::writer::Sink;
use crate::telemetry::counters::{Protocol, qtype_name, rcode_name};

/// Octets written at once.
const BUFFER: usize = 64 * 1024;

/// See the module's documentation.
pub(super) struct JsonFile {
    settings: JsonSettings,
    file: Option<BufWriter<File>>,
}

/// A line. What is not known is left out.
#[derive(Serialize)]
struct Line {
    time: String,
    client: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    transport: &'static str,
    id: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    qtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    recursion_desired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    edns_payload: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dnssec_ok: Option<bool>,
    query_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rcode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authoritative: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<u32>,
}

impl JsonFile {
    /// Not open yet.
    pub(super) fn new(settings: &JsonSettings) -> Self {
        Self { settings: settings.clone(), file: None }
    }

    /// Opens it for a moment, and makes it where it is not there: whoever else writes it is not disturbed.
    pub(super) fn try_out(&self) -> io::Result<()> {
        self.open_file().map(drop)
    }

    fn open_file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        // It says who has asked for what.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        options.open(&self.settings.file)
    }
}

impl Sink for JsonFile {
    fn open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut file = self.open_file()?;
        // A full disk may have left the beginning of a line.
        let mut last = [b'\n'];
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        self.file = Some(BufWriter::with_capacity(BUFFER, file));
        Ok(())
    }

    fn write(&mut self, time: BatchTime, logged: &Logged<'_>) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotConnected.into()) };
        serde_json::to_writer(&mut *file, &line(time, logged, self.settings.sample))?;
        file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    fn is_alive(&mut self) -> bool {
        true
    }

    fn rotates(&self) -> bool {
        true
    }

    fn close(&mut self, has_failed: bool) {
        let Some(file) = self.file.take() else { return };
        if has_failed {
            // What the buffer holds would block or fail again.
            let _ = file.into_parts();
        }
    }

    fn what(&self) -> String {
        self.settings.file.display().to_string()
    }
}

fn line(time: BatchTime, logged: &Logged<'_>, sample: u32) -> Line {
    let question = message::question(logged.query);
    let (name, qtype, qclass) = match question {
        Some(question) => (Some(question.name), Some(question.qtype), Some(question.qclass)),
        None => (None, None, None),
    };
    let edns = message::edns(logged.query);
    let response = (logged.fate == Fate::Answered).then_some(logged.response);
    let flag = |bit: u16| response.map(|response| message::flags(response) & bit != 0);
    Line {
        time: rfc3339(time.received),
        client: logged.client.to_string(),
        server: logged.server.map(|server| server.to_string()),
        transport: Protocol::LABELS[logged.protocol as usize],
        id: message::id(logged.query),
        name,
        qtype: qtype.map(|qtype| qtype_name(qtype).map_or_else(|| format!("TYPE{qtype}"), str::to_owned)),
        class: qclass.map(|class| if class == 1 { "IN".to_owned() } else { format!("CLASS{class}") }),
        zone: message::zone(logged.query, logged.zone_octets).and_then(|zone| message::text(&zone)),
        recursion_desired: message::flags(logged.query) & 0x0100 != 0,
        edns_payload: edns.map(|edns| edns.udp_payload),
        dnssec_ok: edns.map(|edns| edns.dnssec_ok),
        query_bytes: logged.query.len(),
        rcode: response
            .map(|_| rcode_name(logged.rcode).map_or_else(|| logged.rcode.to_string(), str::to_owned)),
        answers: response.map(message::answers),
        authoritative: flag(0x0400),
        truncated: flag(0x0200),
        response_bytes: response.map(<[u8]>::len),
        dropped: match logged.fate {
            Fate::Answered => None,
            Fate::RateLimited => Some("rate_limited"),
            Fate::FairShare => Some("fair_share"),
        },
        sample: (sample > 1).then_some(sample),
    }
}

/// A time since 1970 in UTC with microseconds (RFC 3339).
fn rfc3339(since: Duration) -> String {
    let seconds = since.as_secs();
    // Years start in March, so that the leap day is the last of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696, "2000-02-29T12:34:56.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
        assert_eq!(rfc3339(Duration::from_nanos(1_999)), "1970-01-01T00:00:00.000001Z");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let query = b"\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";
        let time = BatchTime { received: Duration::ZERO, took: Duration::ZERO };
        let logged = Logged {
            protocol: Protocol::Udp,
            fate: Fate::RateLimited,
            rcode: 0,
            client: "192.0.2.1:5353".parse().unwrap(),
            server: None,
            zone_octets: 0,
            query,
            response: b"",
        };
        let check = |logged: &Logged<'_>, sample, expected: &str| {
            assert_eq!(serde_json::to_string(&line(time, logged, sample)).unwrap(), expected);
        };
        check(
            &logged,
            1,
            r#"{"time":"1970-01-01T00:00:00.000000Z","client":"192.0.2.1:5353","transport":"udp","id":7,"name":"test.","type":"A","class":"IN","recursion_desired":false,"query_bytes":22,"dropped":"rate_limited"}"#,
        );
        check(
            &Logged { zone_octets: 6, ..logged },
            1,
            r#"{"time":"1970-01-01T00:00:00.000000Z","client":"192.0.2.1:5353","transport":"udp","id":7,"name":"test.","type":"A","class":"IN","zone":"test.","recursion_desired":false,"query_bytes":22,"dropped":"rate_limited"}"#,
        );
        check(
            &Logged { query: b"\x00", response: &[0; 12], fate: Fate::Answered, rcode: 4000, ..logged },
            10,
            r#"{"time":"1970-01-01T00:00:00.000000Z","client":"192.0.2.1:5353","transport":"udp","id":0,"recursion_desired":false,"query_bytes":1,"rcode":"4000","answers":0,"authoritative":false,"truncated":false,"response_bytes":12,"sample":10}"#,
        );
    }
}
