//! Which serial the next version of a zone gets. Pure.

use crate::model::serial::Serial;

/// The serial after `last` at Unix time `now_s`: the time, or `last` + 1 where that is newer (RFC 1982 arithmetic), so
/// that several changes a second, a clock that goes back and the wrap of 2106 all move forward.
pub fn next(last: Serial, now_s: u32) -> Serial {
    let now = Serial(now_s);
    if now.is_after(last) { now } else { last.next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_moves_forward() {
        for (last, now, want) in [
            (100, 200, 200),
            (200, 200, 201),
            (200, 100, 201),
            (u32::MAX, 100, 100),
            (u32::MAX, u32::MAX, 0),
            (5, 0x8000_0005, 6), // 2³¹ apart has no order
        ] {
            let got = next(Serial(last), now);
            assert_eq!(got, Serial(want), "after {last} at {now}");
            assert!(got.is_after(Serial(last)));
        }
    }
}
