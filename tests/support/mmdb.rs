//! Writes small MaxMind DB files (the format is public: a binary search tree, 16 zero octets, data, and metadata behind a marker), so that tests
//! need no data of others.

use std::net::IpAddr;

/// A value of the data section.
pub enum Value<'a> {
    Text(&'a str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'a str, Value<'a>)>),
    List(Vec<Value<'a>>),
}

impl Value<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Text(text) => {
                control(2, text.len(), out);
                out.extend_from_slice(text.as_bytes());
            }
            Value::Short(number) => {
                control(5, 2, out);
                out.extend(number.to_be_bytes());
            }
            Value::Long(number) => {
                control(9, 8, out);
                out.extend(number.to_be_bytes());
            }
            Value::Number(number) => {
                control(6, 4, out);
                out.extend(number.to_be_bytes());
            }
            Value::Map(entries) => {
                control(7, entries.len(), out);
                for (key, value) in entries {
                    Value::Text(key).write(out);
                    value.write(out);
                }
            }
            Value::List(values) => {
                control(11, values.len(), out);
                values.iter().for_each(|value| value.write(out));
            }
        }
    }
}

/// Type and size; sizes below 29 are all that these tests need.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 29);
    if kind < 8 {
        out.push(kind << 5 | size as u8);
    } else {
        out.extend([size as u8, kind - 7]);
    }
}

/// A continent, a country, a subdivision: what a record of a place database holds; empty ones are left out.
pub fn place<'a>(continent: &'a str, country: &'a str, part: &'a str) -> Value<'a> {
    let one = |key, code| Value::Map(vec![(key, Value::Text(code))]);
    let mut entries = Vec::new();
    if !continent.is_empty() {
        entries.push(("continent", one("code", continent)));
    }
    if !country.is_empty() {
        entries.push(("country", one("iso_code", country)));
    }
    if !part.is_empty() {
        entries.push(("subdivisions", Value::List(vec![one("iso_code", part)])));
    }
    Value::Map(entries)
}

/// An autonomous system: what a record of such a database holds.
pub fn system(number: u32) -> Value<'static> {
    Value::Map(vec![("autonomous_system_number", Value::Number(number))])
}

/// A node's halves: nothing, another node, or data at an offset of the data section.
#[derive(Clone, Copy)]
enum Half {
    None,
    Node(u32),
    Data(u32),
}

/// A database of these networks, later ones within earlier ones, in IPv6 form as MaxMind's are.
pub fn database(kind: &str, networks: &[(&str, Value<'_>)]) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[Half::None; 2]], Vec::new());
    for (text, value) in networks {
        let (address, bits) = text.split_once('/').unwrap();
        let bits: u32 = bits.parse().unwrap();
        let (prefix, bits) = match address.parse().unwrap() {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), bits + 96),
            IpAddr::V6(v6) => (u128::from(v6), bits),
        };
        let offset = data.len() as u32;
        value.write(&mut data);
        let mut node = 0;
        for depth in 0..bits {
            let bit = (prefix >> (127 - depth) & 1) as usize;
            if depth + 1 == bits {
                nodes[node][bit] = Half::Data(offset);
                break;
            }
            node = match nodes[node][bit] {
                Half::Node(next) => next as usize,
                other => {
                    nodes.push([other; 2]);
                    let made = nodes.len() - 1;
                    nodes[node][bit] = Half::Node(made as u32);
                    made
                }
            };
        }
    }
    let count = nodes.len() as u32;
    let mut out = Vec::new();
    for half in nodes.iter().flatten() {
        let record = match half {
            Half::None => count,
            Half::Node(node) => *node,
            Half::Data(offset) => count + 16 + offset,
        };
        out.extend_from_slice(&record.to_be_bytes()[1..]);
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    Value::Map(vec![
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1_700_000_000)),
        ("database_type", Value::Text(kind)),
        ("description", Value::Map(vec![("en", Value::Text("test"))])),
        ("ip_version", Value::Short(6)),
        ("languages", Value::List(vec![Value::Text("en")])),
        ("node_count", Value::Number(count)),
        ("record_size", Value::Short(24)),
    ])
    .write(&mut out);
    out
}
