//! TTLs and durations as people write them.

/// The largest TTL, in seconds (RFC 2181 §8).
pub const MAX_TTL: u32 = 0x7fff_ffff;

/// Parses `"500ms"`, `"10s"`, `"5m"`, `"1h"`, `"2d"`, `"1w"`, sums such as `"1h30m"`, or a bare number of seconds; returns milliseconds.
/// Returns `None` for anything else, and for more than [`u64::MAX`] milliseconds.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(1000);
    }
    let (mut total, mut rest) = (0u64, text);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let factor = match &rest[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        rest = &rest[unit..];
        total = total.checked_add(number.checked_mul(factor)?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_durations() {
        for (text, want) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("30", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1w", Some(604_800_000)),
            ("", None),
            ("s", None),
            ("5", Some(5000)),
            ("5 s", None),
            ("-5s", None),
            ("5x", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse_duration_ms(text), want, "{text}");
        }
    }
}
