//! A part of a suite, so that several machines can share it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The part `index` (from 1) of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    pub(crate) const WHOLE: Self = Self { index: 1, of: 1 };

    /// Whether a run of this number (from 0) is in it.
    pub(crate) fn has(self, number: u64) -> bool {
        number % u64::from(self.of) == u64::from(self.index - 1)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "expected I/N, for example 2/8".to_owned();
        let (index, of) = text.split_once('/').ok_or_else(form)?;
        let index = index.parse().map_err(|_| form())?;
        let of = of.parse().map_err(|_| form())?;
        if (1..=of).contains(&index) {
            Ok(Self { index, of })
        } else {
            Err(format!("there is no shard {index} of {of}: they go from 1 to N"))
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::Shard;

    #[test]
    fn shards_are_read_and_share_everything() {
        for bad in ["", "3", "0/4", "5/4", "1/0", "a/b", "-1/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
        let shards: Vec<Shard> =
            (1..=4).map(|index| format!("{index}/4").parse().unwrap()).collect();
        for number in 0..40 {
            assert_eq!(shards.iter().filter(|shard| shard.has(number)).count(), 1);
        }
    }
}
