//! Lengths of time as people write them: `200ms`, `1s`, `8h`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time that reads and writes as text, for example `200ms`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeSpan(pub Duration);

impl TimeSpan {
    /// So many milliseconds.
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// In nanoseconds; anything past five centuries is cut to that.
    pub fn as_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for TimeSpan {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self)
    }
}

impl Serialize for TimeSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeSpan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| {
            serde::de::Error::custom(format!("`{text}` is not a length of time: {error}"))
        })
    }
}

/// How far a clock jumps: a length of time with a sign, for example `+1h` or `-5s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jump(i64);

impl Jump {
    /// In nanoseconds; below zero is backwards.
    pub fn as_nanos(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Jump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let length = Duration::from_nanos(self.0.unsigned_abs());
        write!(f, "{sign}{}", humantime::format_duration(length))
    }
}

impl FromStr for Jump {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| format!("`{text}` is not a jump like `+1h` or `-5s`: {why}");
        let (sign, length) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
            (Some(length), _) => (1, length),
            (None, Some(length)) => (-1, length),
            (None, None) => return Err(wrong("it has no sign".to_owned())),
        };
        let length = humantime::parse_duration(length).map_err(|error| wrong(error.to_string()))?;
        match i64::try_from(length.as_nanos()) {
            Ok(length) => Ok(Self(sign * length)),
            Err(_) => Err(wrong("it is too long".to_owned())),
        }
    }
}

impl Serialize for Jump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Jump {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Jump;

    #[test]
    fn a_jump_has_a_sign_and_reads_back() {
        for (text, nanos) in [("+1h", 3_600_000_000_000), ("-5s", -5_000_000_000), ("+0s", 0)] {
            let jump: Jump = text.parse().unwrap();
            assert_eq!((jump.as_nanos(), jump.to_string().as_str()), (nanos, text));
        }
        for wrong in ["1h", "+", "-soon", "+1000y", ""] {
            assert!(wrong.parse::<Jump>().is_err(), "{wrong}");
        }
    }
}
