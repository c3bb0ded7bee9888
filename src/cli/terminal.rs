//! Printing, and forms for people.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::outcome::{Failure, Outcome};

/// Prints a command's result to standard output. A reader that has gone away (`hale zone export … | head`) is no failure.
pub(super) fn print(text: &str) -> Outcome {
    written(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()))
}

/// Prints a value as JSON for people and scripts.
pub(super) fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::running(error.to_string()))?;
    print(&(text + "\n"))
}

/// What [`print()`] makes of an I/O result on standard output.
pub(super) fn written(result: io::Result<()>) -> Outcome {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::running(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints to standard error. Where that fails there is no better place to say so.
pub(super) fn print_error(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// `1 zone`, `2 zones`.
pub(super) fn plural(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `12s`, `3m 20s`, `5h 2m`, `8d 1h`: the two largest units of a time in seconds.
pub(super) fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|&(size, _)| seconds >= size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let mut text = format!("{}{unit}", seconds / size);
    if let Some(&(next_size, next_unit)) = units.get(first + 1)
        && (seconds % size) / next_size > 0
    {
        // Writing to a String cannot fail.
        let _ = write!(text, " {}{next_unit}", (seconds % size) / next_size);
    }
    text
}

/// `2023-11-14 22:13:20Z`: a time in Unix seconds, by the calendar; of times after 2106 the last one before.
pub(super) fn utc(unix_s: u64) -> String {
    let digits = crate::model::rdata::time::print(u32::try_from(unix_s).unwrap_or(u32::MAX));
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-{} {}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14))
}

/// Rows under headings, columns two spaces apart and as wide as they must be.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&headings.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (&width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (200, "3m 20s"),
            (3_600, "1h"),
            (3_605, "1h"),
            (18_130, "5h 2m"),
            (694_800, "8d 1h"),
        ];
        for (seconds, want) in cases {
            assert_eq!(duration(seconds), want);
        }
    }

    #[test]
    fn tables() {
        let rows = [["a.test".to_owned(), "7".to_owned()], ["longer.test".to_owned(), String::new()]];
        assert_eq!(table(["ZONE", "SERIAL"], &rows), "ZONE         SERIAL\na.test       7\nlonger.test\n");
        assert_eq!(plural(1, "zone") + ", " + &plural(0, "target"), "1 zone, 0 targets");
    }
}
