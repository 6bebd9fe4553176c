//! The time stamps of servers' logs.

/// When something was logged, by the clock of its host, in nanoseconds since 1970: not before the
/// first, not after the second. Stamps are cut off, so the two differ by their resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) earliest: u64,
    pub(super) latest: u64,
}

const SECOND: u64 = 1_000_000_000;

/// Reads `2026-11-21 23:54:25,363`, `2026-11-21T23:54:25.363Z`, `2026/11/21 23:54:25` and their
/// like at the begin of a text; says what follows. A stamp without a zone is taken as UTC.
pub(super) fn stamp(text: &str) -> Option<(Window, &str)> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        text.get(from..to)?.parse().ok()
    };
    let is = |at: usize, any: &[u8]| bytes.get(at).is_some_and(|byte| any.contains(byte));
    let separated = is(4, b"-/") && is(7, b"-/") && is(10, b" T") && is(13, b":") && is(16, b":");
    if !separated {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1970..=2200).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    let mut at = 19;
    let (mut fraction, mut resolution) = (0, SECOND);
    if is(at, b".,") {
        let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        for digit in bytes[at + 1..].iter().take(digits.min(9)) {
            resolution /= 10;
            fraction += u64::from(digit - b'0') * resolution;
        }
        at += 1 + digits;
    }
    if is(at, b"Z") {
        at += 1;
    } else if is(at, b"+-") {
        let minutes_at = if is(at + 3, b":") { at + 4 } else { at + 3 };
        if let (Some(hours), Some(minutes)) =
            (number(at + 1, at + 3), number(minutes_at, minutes_at + 2))
        {
            let offset = hours * 3_600 + minutes * 60;
            let east = bytes[at] == b'+';
            seconds = if east { seconds.checked_sub(offset)? } else { seconds + offset };
            at = minutes_at + 2;
        }
    }
    let earliest = seconds * SECOND + fraction;
    Some((Window { earliest, latest: earliest + resolution - 1 }, text.get(at..)?))
}

/// The days from 1970 to a date of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March end with their leap day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    // 719 468 days lie between the first of March of year 0 and 1970.
    of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// A time as RFC 3339, to the millisecond.
pub(super) fn written(ns: u64) -> String {
    let (seconds, ms) = (ns / SECOND, ns % SECOND / 1_000_000);
    let of_day = seconds % 86_400;
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carried) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carried;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

#[cfg(test)]
mod tests {
    use super::{stamp, written};

    #[test]
    fn stamps_are_read_in_every_spelling() {
        let at = |text: &str| {
            stamp(text).map(|(window, rest)| (written(window.earliest), rest.to_owned()))
        };
        let expected = Some(("2026-11-21T23:54:25.363Z".to_owned(), " x".to_owned()));
        assert_eq!(at("2026-11-21 23:54:25,363 x"), expected);
        assert_eq!(at("2026-11-21T23:54:25.363Z x"), expected);
        assert_eq!(at("2026-11-22T01:24:25.363999+0130 x"), expected);
        assert_eq!(at("2026-11-21T20:54:25.363-03:00 x"), expected);
        for date in ["1970-01-01", "2000-02-29", "2023-12-31", "2024-03-01", "2100-02-28"] {
            let time = format!("{date}T01:02:03.000Z");
            assert_eq!(at(&time), Some((time.clone(), String::new())));
        }
        let (window, _) = stamp("2026/11/21 23:56:15 INFO: x").unwrap();
        assert_eq!(window.latest - window.earliest, 999_999_999);
        for text in [
            "",
            "2026-11-21",
            "2026-13-21 00:00:00",
            "2026-11-21 24:00:00",
            "x026-11-21 00:00:00",
            "2026-11-21 00:00:0é",
        ] {
            assert_eq!(stamp(text), None, "`{text}`");
        }
    }
}
