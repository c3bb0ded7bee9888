//! What a log line tells of a DNS message. The messages come from anybody: nothing here trusts a length.

/// Octets of a header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// RR type of the EDNS pseudo record (RFC 6891 §6.1.2).
const OPT: u16 = 41;

/// The one question of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// In presentation format, in the case in which it was asked.
    pub(super) name: String,
    pub(super) qtype: u16,
    pub(super) qclass: u16,
}

/// What EDNS (RFC 6891) says of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edns {
    pub(super) udp_payload: u16,
    pub(super) dnssec_ok: bool,
}

/// The message's identifier; 0 where it has none.
pub(super) fn id(message: &[u8]) -> u16 {
    short(message, 0).unwrap_or(0)
}

/// The flags of the header; 0 where there is none.
pub(super) fn flags(message: &[u8]) -> u16 {
    short(message, 2).unwrap_or(0)
}

/// How many records a response has in its answer section.
pub(super) fn answers(message: &[u8]) -> u16 {
    short(message, 6).unwrap_or(0)
}

/// The question, if there is exactly one and it is whole.
pub(super) fn question(message: &[u8]) -> Option<Question> {
    if short(message, 4)? != 1 {
        return None;
    }
    let (name, at) = name(message, HEADER)?;
    Some(Question { name, qtype: short(message, at)?, qclass: short(message, at + 2)? })
}

/// The zone that a query fell to, whose name in wire form has so many octets: the end of the name asked for, in lower case. `None` for 0,
/// and where no name ends so.
pub(super) fn zone(message: &[u8], octets: u8) -> Option<Vec<u8>> {
    let (end, octets) = (behind_labels(message, HEADER)?, usize::from(octets));
    let mut at = HEADER;
    // Only from where a label begins.
    while at + octets < end {
        at += 1 + usize::from(*message.get(at)?);
    }
    // The lengths of labels are no letters: they are below 64.
    (octets > 0 && at + octets == end).then(|| message[at..end].to_ascii_lowercase())
}

/// A name in wire form, in presentation format.
pub(super) fn text(wire: &[u8]) -> Option<String> {
    name(wire, 0).map(|(text, _)| text)
}

/// The EDNS record of a query.
pub(super) fn edns(message: &[u8]) -> Option<Edns> {
    let mut at = HEADER;
    for _ in 0..short(message, 4)? {
        at = behind_name(message, at)? + 4;
    }
    let records: u32 = [6, 8, 10].iter().map(|at| u32::from(short(message, *at).unwrap_or(0))).sum();
    for _ in 0..records {
        at = behind_name(message, at)?;
        if short(message, at)? == OPT {
            let dnssec_ok = short(message, at + 6)? & 0x8000 != 0;
            return Some(Edns { udp_payload: short(message, at + 2)?, dnssec_ok });
        }
        at += 10 + usize::from(short(message, at + 8)?);
    }
    None
}

fn short(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?))
}

/// An uncompressed name at `at`, and what is behind it.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            return Some((if text.is_empty() { ".".to_owned() } else { text }, at + 1));
        }
        if length > 63 || text.len() > 4 * 255 {
            return None;
        }
        for &octet in message.get(at + 1..at + 1 + length)? {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                    text.push('\\');
                    text.push(char::from(octet));
                }
                0x21..=0x7e => text.push(char::from(octet)),
                _ => text.push_str(&format!("\\{octet:03}")),
            }
        }
        text.push('.');
        at += 1 + length;
    }
}

/// What is behind a name without pointers.
fn behind_labels(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + length,
            _ => return None,
        }
    }
}

/// What is behind a name, which may end in a pointer.
fn behind_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            192..=255 => return Some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &[u8], rest: &[u8]) -> Vec<u8> {
        let mut message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01".to_vec();
        message.extend_from_slice(name);
        message.extend_from_slice(b"\x00\x1c\x00\x01");
        message.extend_from_slice(rest);
        message
    }

    #[test]
    fn questions() {
        for (wire, text) in [
            (&b"\x03www\x04test\x00"[..], Some("www.test.")),
            (b"\x00", Some(".")),
            (b"\x04a.\"\\\x01\x00\x00", Some("a\\.\\\"\\\\.\\000.")),
            (b"\x41", None),
            (b"\xc0\x0c", None),
        ] {
            let wire =
                if wire == b"\x04a.\"\\\x01\x00\x00" { b"\x04a.\"\\\x01\x00\x00".as_slice() } else { wire };
            let read = question(&query(wire, b""));
            assert_eq!(read.as_ref().map(|q| q.name.as_str()), text, "{wire:?}");
            assert!(read.is_none_or(|q| (q.qtype, q.qclass) == (28, 1)));
        }
    }

    #[test]
    fn zones() {
        let www = query(b"\x03wWw\x01A\x04tEst\x00", b"");
        for (octets, expected) in [
            (0, None),
            (1, Some((&b"\x00"[..], "."))),
            (6, Some((b"\x04test\x00", "test."))),
            (7, None),
            (8, Some((b"\x01a\x04test\x00", "a.test."))),
            (12, Some((b"\x03www\x01a\x04test\x00", "www.a.test."))),
            (13, None),
            (255, None),
        ] {
            let found = zone(&www, octets);
            assert_eq!(found.as_deref(), expected.map(|(wire, _)| wire), "{octets}");
            assert_eq!(found.and_then(|wire| text(&wire)).as_deref(), expected.map(|(_, text)| text));
        }
        assert_eq!(zone(&query(b"\x03www\xc0\x0c", b""), 2), None);
        // Whatever is cut off, nothing is read that is not there.
        (0..www.len()).for_each(|end| assert!(end >= HEADER + 12 || zone(&www[..end], 6).is_none()));
    }

    #[test]
    fn options() {
        let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
        let whole = query(b"\x04test\x00", opt);
        assert_eq!(edns(&whole), Some(Edns { udp_payload: 1232, dnssec_ok: true }));
        assert_eq!((id(&whole), flags(&whole), answers(&whole)), (0x1234, 0x0100, 0));
        // Whatever is cut off, nothing is read that is not there.
        for end in 0..whole.len() {
            question(&whole[..end]);
            assert_eq!(edns(&whole[..end.min(whole.len() - 3)]), None);
        }
    }
}
