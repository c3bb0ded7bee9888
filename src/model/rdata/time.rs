//! The times of signatures: `YYYYMMDDHHmmSS` in UTC, or seconds since 1970 (RFC 4034 §3.2).

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Seconds since 1970 modulo 2³², or `None` for what is neither form.
pub(super) fn parse(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let days = days_from_date(year, month, day);
    let exists = (1..=12).contains(&month) && date_from_days(days) == (year, month, day);
    if !exists || year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // RFC 4034 §3.1.5: serial arithmetic, so that times wrap in 2106.
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) as u32)
}

/// As `YYYYMMDDHHmmSS`, between 1970 and 2106.
pub fn print(seconds: u32) -> String {
    let seconds = i64::from(seconds);
    let (year, month, day) = date_from_days(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_calendar() {
        for (text, want) in [
            ("19700101000000", 0),
            ("20000229120000", 951_825_600),
            ("20301231235959", 1_924_991_999),
            ("21060207062815", u32::MAX),
        ] {
            assert_eq!(parse(text), Some(want), "{text}");
            assert_eq!(print(want), text);
        }
        assert_eq!(parse("21060207062816"), Some(0), "wraps");
        assert_eq!(parse("951825600"), Some(951_825_600));
        for bad in
            ["", "20010229000000", "20301301000000", "20300101240000", "4294967296", "-1", "+20300101000000"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
