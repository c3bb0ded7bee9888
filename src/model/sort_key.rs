//! Names as octets whose plain order is the canonical order of RFC 4034 §6.1: for sorting and searching many of one zone.
//!
//! A **sort key** holds the labels in front of the apex from the right to the left, each ended by 00, with 00 and 01 inside
//! a label written 01 02 and 01 03.

use super::name::MAX_NAME_OCTETS;

/// Octets of the longest sort key: each octet of a name at most doubled.
pub const MAX_KEY_OCTETS: usize = 2 * MAX_NAME_OCTETS;

/// A sort key in a fixed buffer.
#[derive(Clone)]
pub struct SortKey {
    bytes: [u8; MAX_KEY_OCTETS],
    len: usize,
}

impl SortKey {
    /// The key of `prefix`: labels in front of the apex in lower case, without root label.
    pub fn of_prefix(prefix: &[u8]) -> Self {
        let mut key = Self { bytes: [0; MAX_KEY_OCTETS], len: 0 };
        for label in LabelsFromRight::new(prefix) {
            key.push_label(label);
        }
        key
    }

    #[inline]
    fn push_label(&mut self, label: &[u8]) {
        // Almost no name has such octets: copy, and look at what was copied.
        if label.iter().all(|&octet| octet > 1)
            && let Some(space) = self.bytes.get_mut(self.len..self.len + label.len())
        {
            space.copy_from_slice(label);
            self.len += label.len();
            self.push(0);
            return;
        }
        for &octet in label {
            match octet {
                0 | 1 => {
                    self.push(1);
                    self.push(octet + 2);
                }
                _ => self.push(octet),
            }
        }
        self.push(0);
    }

    #[inline]
    fn push(&mut self, octet: u8) {
        if let Some(to) = self.bytes.get_mut(self.len) {
            *to = octet;
            self.len += 1;
        }
    }

    /// The key's octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The first sixteen octets of a sort key, those that are missing as 0: names whose heads differ are in their order, and names
/// whose heads are equal are equal if they are shorter than that.
pub fn head(prefix: &[u8]) -> u128 {
    let (mut head, mut left) = (0u128, 16u32);
    let mut push = |octet: u8| {
        if left > 0 {
            head = head << 8 | u128::from(octet);
            left -= 1;
        }
        left > 0
    };
    'labels: for label in LabelsFromRight::new(prefix) {
        for &octet in label {
            if !(if octet > 1 { push(octet) } else { push(1) && push(octet + 2) }) {
                break 'labels;
            }
        }
        if !push(0) {
            break;
        }
    }
    // Two steps, since a shift by all bits is undefined where there is no label.
    if left == 16 { 0 } else { head << (8 * left) }
}

/// Turns a sort key back into labels in front of the apex, written to the end of `out`; returns where they start.
pub fn prefix_of_key(key: &[u8], out: &mut [u8; MAX_NAME_OCTETS]) -> usize {
    let mut start = out.len();
    for label in key.split(|&octet| octet == 0) {
        // The key ends with 00, which splits off one empty label.
        if label.is_empty() {
            continue;
        }
        let length = label.len() - label.iter().filter(|&&octet| octet == 1).count();
        let Some(begin) = start.checked_sub(length + 1) else { break };
        out[begin] = length as u8;
        let mut to = begin + 1;
        let mut octets = label.iter();
        while let Some(&octet) = octets.next() {
            out[to] = if octet == 1 { octets.next().map_or(0, |o| o.wrapping_sub(2)) } else { octet };
            to += 1;
        }
        start = begin;
    }
    start
}

/// Labels of a name or of the front of one, from the right to the left.
struct LabelsFromRight<'n> {
    octets: &'n [u8],
    /// Where the labels start, and how many of them are left.
    starts: [u8; 128],
    left: usize,
}

impl<'n> LabelsFromRight<'n> {
    fn new(octets: &'n [u8]) -> Self {
        let (mut starts, mut left, mut at) = ([0u8; 128], 0, 0);
        while let (Some(&length), true) = (octets.get(at), left < starts.len()) {
            starts[left] = at as u8;
            left += 1;
            at += 1 + usize::from(length);
        }
        Self { octets, starts, left }
    }
}

impl<'n> Iterator for LabelsFromRight<'n> {
    type Item = &'n [u8];

    #[inline]
    fn next(&mut self) -> Option<&'n [u8]> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::from(self.starts[self.left]);
        Some(self.octets.get(start + 1..start + 1 + usize::from(self.octets[start])).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Name;

    fn prefix(name: &Name) -> &[u8] {
        &name.wire()[..name.wire().len() - 1]
    }

    fn text(key: &[u8]) -> String {
        let mut buffer = [0; MAX_NAME_OCTETS];
        let start = prefix_of_key(key, &mut buffer);
        let wire = [&buffer[start..], &[0]].concat();
        Name::from_wire(&wire).unwrap().to_string()
    }

    #[test]
    fn sort_keys_order_as_names_do_and_lead_back() {
        let mut names: Vec<Name> = [
            ".",
            "a",
            "b.a",
            "\\000.a",
            "\\001.a",
            "\\000\\000.a",
            "\\000\\001.a",
            "\\002.a",
            "*.a",
            "aa",
            "\\000a",
            "z.\\001",
            "a\\000",
            "a\\000\\001.b",
            "\\255.a",
            "a.\\255",
        ]
        .map(|t| Name::parse_absolute(t).unwrap())
        .to_vec();
        names.push(
            Name::parse_absolute(&format!("{0}.{0}.{0}.{1}", "\\001".repeat(63), "\\000".repeat(61)))
                .unwrap(),
        );
        for a in &names {
            assert_eq!(text(SortKey::of_prefix(prefix(a)).as_bytes()), a.to_string());
            for b in &names {
                let (x, y) = (SortKey::of_prefix(prefix(a)), SortKey::of_prefix(prefix(b)));
                assert_eq!(x.as_bytes().cmp(y.as_bytes()), a.cmp(b), "{a} and {b}");
                let by_head = head(prefix(a)).cmp(&head(prefix(b)));
                assert!(by_head == a.cmp(b) || (by_head.is_eq() && x.len.max(y.len) > 16), "{a} and {b}");
            }
        }
    }
}
