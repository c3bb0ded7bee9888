//! Locations (RFC 1876).

use super::RdataError;
use super::token::Tokens;

const EQUATOR: i64 = 1 << 31;
/// Centimetres below the reference spheroid where altitudes start.
const ALTITUDE_ZERO_CM: i64 = 10_000_000;
const DEGREE_MS: i64 = 3_600_000;

/// Appends what `51 30 12.748 N 0 7 39.611 W 0m 1m 10000m 10m` says; what follows the altitude may be missing.
///
/// # Errors
/// What is wrong, with the form.
pub(super) fn parse(tokens: &mut Tokens<'_>, out: &mut Vec<u8>) -> Result<(), RdataError> {
    let latitude = angle(tokens, "latitude", 90, ["N", "S"])?;
    let longitude = angle(tokens, "longitude", 180, ["E", "W"])?;
    let altitude_cm = centimetres(tokens.word("altitude")?)
        .map(|cm| cm + ALTITUDE_ZERO_CM)
        .and_then(|cm| u32::try_from(cm).ok())
        .ok_or_else(|| RdataError::new("the altitude is not in metres between -100000.00 and 42849672.95"))?;
    // RFC 1876 §3: size 1 m, horizontal precision 10 km, vertical precision 10 m.
    let mut sizes = [0x12, 0x16, 0x13];
    for (size, what) in sizes.iter_mut().zip(["size", "horizontal precision", "vertical precision"]) {
        let Some(token) = tokens.next() else { break };
        let text = token.word(what)?;
        *size = centimetres(text).and_then(pack_size).ok_or_else(|| {
            RdataError::new(format!("the {what} \"{text}\" is not in metres up to 90000000.00"))
        })?;
    }
    out.extend([0, sizes[0], sizes[1], sizes[2]]);
    out.extend((latitude as u32).to_be_bytes());
    out.extend((longitude as u32).to_be_bytes());
    out.extend(altitude_cm.to_be_bytes());
    Ok(())
}

/// Degrees, optional minutes and seconds, and the hemisphere, as thousandths of an arc second from 2³¹.
fn angle(tokens: &mut Tokens<'_>, what: &str, limit: i64, hemispheres: [&str; 2]) -> Result<i64, RdataError> {
    let [positive, negative] = hemispheres;
    let bad = |text: &str| {
        RdataError::new(format!("\"{text}\" does not belong into a {what}"))
            .hint(format!("write degrees up to {limit}, minutes, seconds and {positive} or {negative}"))
    };
    let mut sum = 0;
    for unit in [DEGREE_MS, DEGREE_MS / 60, 1] {
        let text = tokens.word(what)?;
        if let Some(sign) = hemisphere(text, hemispheres) {
            return (unit != DEGREE_MS && sum <= limit * DEGREE_MS)
                .then_some(EQUATOR + sign * sum)
                .ok_or_else(|| bad(text));
        }
        let (value, below) = match unit {
            1 => (decimal(text, 3), 60_000),
            DEGREE_MS => (decimal(text, 0), limit + 1),
            _ => (decimal(text, 0), 60),
        };
        sum += unit * value.filter(|v| (0..below).contains(v)).ok_or_else(|| bad(text))?;
    }
    let text = tokens.word(what)?;
    let sign = hemisphere(text, hemispheres).filter(|_| sum <= limit * DEGREE_MS).ok_or_else(|| bad(text))?;
    Ok(EQUATOR + sign * sum)
}

fn hemisphere(text: &str, [positive, negative]: [&str; 2]) -> Option<i64> {
    if text.eq_ignore_ascii_case(positive) {
        return Some(1);
    }
    text.eq_ignore_ascii_case(negative).then_some(-1)
}

/// A decimal number times 10 to the power of `places`; at most so many places.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits_only = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    // Nine digits are more than any field takes, and cannot overflow.
    if whole.is_empty()
        || whole.len() > 9
        || fraction.len() > places
        || !digits_only(whole)
        || !digits_only(fraction)
    {
        return None;
    }
    let value = format!("{whole}{fraction:0<places$}").parse::<i64>().ok()?;
    Some(if negative { -value } else { value })
}

fn centimetres(text: &str) -> Option<i64> {
    decimal(text.strip_suffix(['m', 'M']).unwrap_or(text), 2)
}

/// One digit and a power of ten (RFC 1876 §2), rounded down.
fn pack_size(cm: i64) -> Option<u8> {
    let (mut digit, mut power) = (u64::try_from(cm).ok()?, 0u8);
    while digit > 9 {
        digit /= 10;
        power += 1;
    }
    (power <= 9).then_some(digit as u8 * 16 + power)
}

/// Version 0, angles within their limits, sizes of one digit and one power.
pub(super) fn check(wire: &[u8; 16]) -> Option<()> {
    let sizes_are_digits =
        wire[1..4].iter().all(|&b| b >> 4 <= 9 && b & 15 <= 9 && (b >> 4 != 0 || b & 15 == 0));
    let angle = |at: usize| word(wire, at) - EQUATOR;
    let angles_exist = angle(4).abs() <= 90 * DEGREE_MS && angle(8).abs() <= 180 * DEGREE_MS;
    (wire[0] == 0 && sizes_are_digits && angles_exist).then_some(())
}

fn word(wire: &[u8; 16], at: usize) -> i64 {
    i64::from(u32::from_be_bytes([wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]))
}

/// All parts, also those that have defaults.
pub(super) fn print(wire: &[u8; 16]) -> String {
    let size = |b: u8| metres(i64::from(b >> 4) * 10i64.pow(u32::from(b & 15)));
    format!(
        "{} {} {}m {}m {}m {}m",
        degrees(word(wire, 4) - EQUATOR, ['N', 'S']),
        degrees(word(wire, 8) - EQUATOR, ['E', 'W']),
        metres(word(wire, 12) - ALTITUDE_ZERO_CM),
        size(wire[1]),
        size(wire[2]),
        size(wire[3])
    )
}

fn degrees(ms: i64, [positive, negative]: [char; 2]) -> String {
    let (hemisphere, ms) = (if ms < 0 { negative } else { positive }, ms.abs());
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    format!("{} {} {}.{:03} {hemisphere}", minutes / 60, minutes % 60, rest / 1000, rest % 1000)
}

fn metres(cm: i64) -> String {
    format!("{}{}.{:02}", if cm < 0 { "-" } else { "" }, cm.abs() / 100, cm.abs() % 100)
}
