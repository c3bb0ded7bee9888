//! Times of day as crontab(5) writes them: minute, hour, day of month, month, day of week; always UTC.

use std::fmt;

/// Days looked ahead for a time: four years and a day hold every date there is, but for a 29 February across 2100.
const HORIZON_DAYS: i64 = 8 * 366;
const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 1440;

/// A schedule.
#[derive(Clone, PartialEq, Eq)]
pub struct Cron {
    /// As written.
    text: Box<str>,
    /// One bit for each value.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether a day must suit both fields of days: as in cron, either will do where both are restricted.
    both_days: bool,
}

/// One of the five fields.
struct Field {
    what: &'static str,
    first: u64,
    last: u64,
    /// Names of values, from `first` on.
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { what: "minute", first: 0, last: 59, names: &[] },
    Field { what: "hour", first: 0, last: 23, names: &[] },
    Field { what: "day of the month", first: 1, last: 31, names: &[] },
    Field {
        what: "month",
        first: 1,
        last: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        what: "day of the week",
        first: 0,
        last: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Cron {
    /// Reads five fields.
    ///
    /// # Errors
    /// What is wrong with them: their number, a value out of range, or a date that does not exist.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &parts[..] else {
            return Err(format!("it has {} fields, not 5", parts.len()));
        };
        let mut weekdays = FIELDS[4].parse(weekday)?;
        // Sunday is 0 and 7.
        weekdays = (weekdays | weekdays >> 7) & 0x7f;
        let cron = Self {
            text: text.into(),
            minutes: FIELDS[0].parse(minute)?,
            hours: FIELDS[1].parse(hour)?,
            days: FIELDS[2].parse(day)?,
            months: FIELDS[3].parse(month)?,
            weekdays,
            both_days: day.starts_with('*') || weekday.starts_with('*'),
        };
        if cron.next(0).is_none() {
            return Err("there is no such date".to_owned());
        }
        Ok(cron)
    }

    /// The first time after `now`, both in milliseconds since 1970; nothing if there is none within eight years.
    pub fn next(&self, now_ms: u64) -> Option<u64> {
        let minute = i64::try_from(now_ms).ok()? / MINUTE_MS + 1;
        let first_day = minute / DAY_MINUTES;
        for day in first_day..=first_day + HORIZON_DAYS {
            if !self.suits(day) {
                continue;
            }
            let from = if day == first_day { minute % DAY_MINUTES } else { 0 };
            let found = (from..DAY_MINUTES).find(|minute| {
                self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1
            });
            if let Some(minute) = found {
                return u64::try_from((day * DAY_MINUTES + minute) * MINUTE_MS).ok();
            }
        }
        None
    }

    fn suits(&self, day: i64) -> bool {
        let (month, day_of_month) = month_and_day(day);
        // 1 January 1970 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let (in_month, in_week) = (self.days >> day_of_month & 1 == 1, self.weekdays >> weekday & 1 == 1);
        self.months >> month & 1 == 1
            && if self.both_days { in_month && in_week } else { in_month || in_week }
    }
}

impl Field {
    /// The values of a list such as `*/5`, `1-5,7` or `mon-fri`, one bit for each.
    fn parse(&self, text: &str) -> Result<u64, String> {
        let wrong = || format!("{text:?} is not a {}: {} to {}", self.what, self.first, self.last);
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0).ok_or_else(wrong)?),
                None => (part, 1),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((from, to)) => (self.value(from).ok_or_else(wrong)?, self.value(to).ok_or_else(wrong)?),
                None => {
                    let value = self.value(range).ok_or_else(wrong)?;
                    // As in cron, 5/10 is from 5 on.
                    (value, if part.contains('/') { self.last } else { value })
                }
            };
            if from > to {
                return Err(wrong());
            }
            bits |= (from..=to).step_by(step).fold(0, |bits, value| bits | 1 << value);
        }
        Ok(bits)
    }

    fn value(&self, text: &str) -> Option<u64> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(at) => self.first + at as u64,
            None => text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())??,
        };
        (self.first..=self.last).contains(&value).then_some(value)
    }
}

/// Month and day of the month of a day since 1 January 1970, in the Gregorian calendar.
fn month_and_day(day: i64) -> (i64, i64) {
    // Years are counted from 1 March, so that the leap day comes last; 719468 days lie between 1 March 0 and 1970.
    let day = day + 719_468;
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    (if month < 10 { month + 3 } else { month - 9 }, of_year - (153 * month + 2) / 5 + 1)
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days since 1970 of the tests' dates, from date(1).
    const FRI_2026_11_20: u64 = 20_777;
    const DAY: u64 = 86_400_000;

    #[track_caller]
    fn check(cron: &str, from: (u64, u64), expected: (u64, u64)) {
        let ms = |(day, minute): (u64, u64)| day * DAY + minute * 60_000;
        assert_eq!(Cron::parse(cron).unwrap().next(ms(from)), Some(ms(expected)), "{cron}");
    }

    #[test]
    fn times() {
        let today = FRI_2026_11_20;
        check("*/5 * * * *", (today, 0), (today, 5));
        check("*/5 * * * *", (today, 4), (today, 5));
        check("*/5 * * * *", (today, 1439), (today + 1, 0));
        check("0 3 * * *", (today, 180), (today + 1, 180));
        check("0 3 * * *", (today, 179), (today, 180));
        check("30 4 1 * *", (today, 0), (today + 11, 270));
        check("0 0 * * mon", (today, 0), (today + 3, 0));
        check("0 0 * * 7", (today, 0), (today + 2, 0));
        check("0 0 * * sat-7", (today, 0), (today + 1, 0));
        // Either of two restricted fields of days will do.
        check("0 0 22 * mon", (today, 0), (today + 2, 0));
        // 29 February 2028.
        check("0 0 29 2 *", (today, 0), (today + 466, 0));
        check("5/20 1,2 * * *", (today, 66), (today, 85));
        check("0 0 1 jan *", (today, 0), (today + 42, 0));
    }

    #[test]
    fn errors() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * 32 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "x * * * *",
            "+5 * * * *",
            "1- * * * *",
            ", * * * *",
            "0 0 31 2 *",
            "* * * foo *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text:?}");
        }
    }
}
