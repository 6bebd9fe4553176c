//! Bytes per second as people write them: `100KB`, `1MB/s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes per second, at least 1. Reads as a whole number with a decimal unit, for example `100KB`;
/// `/s` may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(u64);

const UNITS: &[(&str, u64)] = &[("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000), ("B", 1)];

impl ByteRate {
    /// So many bytes per second; `None` for 0.
    pub fn new(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(Self(bytes))
    }

    pub fn bytes_per_second(self) -> u64 {
        self.0
    }

    /// How long so many bytes take.
    pub(crate) fn time_of(self, bytes: usize) -> Duration {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, size)| self.0.is_multiple_of(*size));
        let (name, size) = unit.expect("every number is a multiple of 1");
        write!(f, "{}{name}", self.0 / size)
    }
}

impl FromStr for ByteRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let amount = text.strip_suffix("/s").unwrap_or(text);
        let digits = amount.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = amount.split_at(digits);
        let size = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, size)| size);
        let bytes = number.parse::<u64>().ok().zip(size).and_then(|(n, size)| n.checked_mul(*size));
        bytes.and_then(Self::new).ok_or_else(|| {
            format!(
                "`{text}` is no rate in bytes per second, expected for example `100KB` or `2MB`"
            )
        })
    }
}

impl Serialize for ByteRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::ByteRate;

    #[test]
    fn a_rate_reads_back_as_it_is_written() {
        for text in ["1B", "100KB", "2MB", "1GB", "1500B"] {
            assert_eq!(text.parse::<ByteRate>().unwrap().to_string(), text);
        }
        assert_eq!("3000 B/s".parse::<ByteRate>().unwrap().to_string(), "3KB");
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "0KB", "KB", "10", "10kb", "-1KB", "1.5MB", "99999999999GB"] {
            let error = text.parse::<ByteRate>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is no rate")), "{error}");
        }
    }

    #[test]
    fn bytes_take_their_time() {
        let rate: ByteRate = "100KB".parse().unwrap();
        assert_eq!(rate.time_of(50_000), Duration::from_millis(500));
    }
}
