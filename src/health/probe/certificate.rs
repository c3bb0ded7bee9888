//! When a certificate expires, and what that means for a check.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::Outcome;
use super::aging::Aging;
use crate::model::check::TlsCheck;
use crate::model::target::Target;

/// Seconds of a day.
const DAY_S: i64 = 86_400;

/// The end of the certificate that each target showed last, in Unix seconds.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<Aging<i64>>);

impl Certificates {
    /// Notes the end of a target's certificate.
    pub(super) fn note(&self, target: &Target, not_after_s: i64) {
        self.kept().put(target, not_after_s, Instant::now());
    }

    /// The end of the certificate that a target showed last, in Unix seconds.
    pub fn of(&self, target: &Target) -> Option<i64> {
        self.kept().get(target, Instant::now()).copied()
    }

    /// The end that comes first among all targets.
    pub fn earliest(&self) -> Option<i64> {
        self.kept().values(Instant::now()).copied().min()
    }

    fn kept(&self) -> MutexGuard<'_, Aging<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a certificate's end means for a check that has succeeded otherwise; nothing is a success without reservation.
pub(super) fn judge(check: &TlsCheck, not_after_s: Option<i64>, now_s: i64) -> Option<Outcome> {
    let within = |limit_s: Option<u64>, left_s: i64| limit_s.is_some_and(|limit_s| left_s <= limit_s as i64);
    let Some(not_after_s) = not_after_s else {
        let is_asked = check.warn_expires_within_s.is_some() || check.fail_expires_within_s.is_some();
        return is_asked.then(|| Outcome::Failure("the certificate does not say when it expires".into()));
    };
    let left_s = not_after_s.saturating_sub(now_s);
    let text = match left_s {
        ..0 => format!("the certificate expired {} days ago", -left_s / DAY_S),
        0..DAY_S => "the certificate expires within a day".to_owned(),
        _ => format!("the certificate expires in {} days", left_s / DAY_S),
    };
    if within(check.fail_expires_within_s, left_s) {
        Some(Outcome::Failure(text.into()))
    } else if within(check.warn_expires_within_s, left_s) {
        Some(Outcome::Warning(text.into()))
    } else {
        None
    }
}

/// Unix seconds now.
pub(super) fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// `notAfter` of a DER certificate in Unix seconds (RFC 5280 §4.1.2.5). Nothing else of it is looked at.
pub(super) fn not_after_s(certificate: &[u8]) -> Option<i64> {
    const SEQUENCE: u8 = 0x30;
    let (tag, certificate, _) = element(certificate)?;
    let (inner_tag, mut fields, _) = element(certificate)?;
    if (tag, inner_tag) != (SEQUENCE, SEQUENCE) {
        return None;
    }
    // The version is [0] and may be left out; then serial number, signature algorithm and issuer.
    if fields.first() == Some(&0xa0) {
        fields = element(fields)?.2;
    }
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, time, _) = element(rest)?;
    time_s(tag, time)
}

/// The first element of DER: its tag, its contents, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let octets = usize::from(first & 0x7f);
        if !(1..=4).contains(&octets) {
            return None;
        }
        let (digits, behind) = rest.split_at_checked(octets)?;
        length = digits.iter().fold(0, |length, &octet| length << 8 | usize::from(octet));
        rest = behind;
    }
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// `YYMMDDHHMMSSZ` (UTCTime, tag 23) or `YYYYMMDDHHMMSSZ` (GeneralizedTime, tag 24), the forms that RFC 5280 allows.
fn time_s(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |part: &[u8]| {
        part.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let (year, rest) = match (tag, digits.len()) {
        (23, 12) => {
            let short = number(&digits[..2])?;
            (if short < 50 { 2000 + short } else { 1900 + short }, &digits[2..])
        }
        (24, 14) => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]).unwrap_or(99));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 of a date in the Gregorian calendar, years counted from March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 719_469;
    Some(days * DAY_S + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn reads_the_end_of_a_certificate() {
        let key = KeyPair::generate().unwrap();
        for (year, month, day, want) in [
            (2026, 11, 20, 1_795_132_800),
            (2000, 2, 29, 951_782_400),
            (1970, 1, 1, 0),
            (2049, 12, 31, 2_524_521_600),
            // GeneralizedTime from here on.
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
            params.not_before = date_time_ymd(1950, 1, 1);
            params.not_after = date_time_ymd(year, month, day);
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(not_after_s(certificate.der()), Some(want), "{year}-{month}-{day}");
            for cut in 0..certificate.der().len().min(200) {
                let _ = not_after_s(&certificate.der()[..cut]);
            }
        }
        for bad in [&b""[..], b"\x30", b"\x30\x80", b"\x30\x85\x01\x01\x01\x01\x01", b"\x30\x02\x30\x00"] {
            assert_eq!(not_after_s(bad), None);
        }
        for (tag, text) in
            [(23, "991231235960"), (23, "9912312359"), (24, "20261320000000Z"), (22, "991231235959Z")]
        {
            assert_eq!(time_s(tag, text.as_bytes()), None, "{text}");
        }
        assert_eq!(time_s(23, b"500101000000Z"), Some(-631_152_000));
    }

    #[test]
    fn warns_and_fails_by_the_days_that_are_left() {
        let check = |warn: Option<i64>, fail: Option<i64>, left_s: Option<i64>| {
            let check = TlsCheck {
                sni: String::new(),
                verify: true,
                ca_file: None,
                warn_expires_within_s: warn.map(|days| (days * DAY_S) as u64),
                fail_expires_within_s: fail.map(|days| (days * DAY_S) as u64),
            };
            match judge(&check, left_s.map(|left_s| 1_000_000_000 + left_s), 1_000_000_000) {
                None => String::new(),
                Some(Outcome::Warning(text)) => format!("warning: {text}"),
                Some(Outcome::Failure(text)) => format!("failure: {text}"),
                Some(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(check(None, None, Some(-5)), "");
        assert_eq!(check(None, None, None), "");
        assert_eq!(check(Some(21), Some(7), Some(30 * DAY_S)), "");
        assert_eq!(check(Some(21), Some(7), Some(20 * DAY_S)), "warning: the certificate expires in 20 days");
        assert_eq!(check(Some(21), Some(7), Some(7 * DAY_S)), "failure: the certificate expires in 7 days");
        assert_eq!(check(Some(21), None, Some(100)), "warning: the certificate expires within a day");
        assert_eq!(check(None, Some(0), Some(-2 * DAY_S)), "failure: the certificate expired 2 days ago");
        assert_eq!(check(None, Some(0), Some(1)), "");
        assert_eq!(check(Some(1), None, None), "failure: the certificate does not say when it expires");
    }
}
