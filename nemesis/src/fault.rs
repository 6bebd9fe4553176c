//! What a step can do, by name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a step does. Everything else about it is in its own file under `faults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Kill,
    Terminate,
    Restart,
    Pause,
    Resume,
    Cut,
    Blackhole,
    Reset,
    Refuse,
    Delay,
    Loss,
    Throttle,
    Duplicate,
    Reorder,
    Corrupt,
    Hold,
    Release,
    Isolate,
    Halves,
    MajorityMinority,
    MinorityThird,
    MajoritiesRing,
    Bridge,
    Chain,
    Hub,
    OneWay,
    Primaries,
    Heal,
    Advance,
    Transfer,
    Reconfigure,
    Wait,
    Power,
    Wipe,
    Failpoint,
    FailpointRelease,
    DiskStall,
    DiskSlow,
    DiskFail,
    DiskFlip,
    DiskTruncate,
    DiskRestore,
    ClockJump,
    ClockRate,
    ClockRestore,
}

/// A name that is no fault.
#[derive(Debug, thiserror::Error)]
#[error("unknown fault `{name}`, expected one of {}", Fault::names())]
pub struct UnknownFault {
    pub name: String,
}

impl Fault {
    /// Every fault, in the order in which they are listed.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::Terminate,
        Self::Restart,
        Self::Pause,
        Self::Resume,
        Self::Cut,
        Self::Blackhole,
        Self::Reset,
        Self::Refuse,
        Self::Delay,
        Self::Loss,
        Self::Throttle,
        Self::Duplicate,
        Self::Reorder,
        Self::Corrupt,
        Self::Hold,
        Self::Release,
        Self::Isolate,
        Self::Halves,
        Self::MajorityMinority,
        Self::MinorityThird,
        Self::MajoritiesRing,
        Self::Bridge,
        Self::Chain,
        Self::Hub,
        Self::OneWay,
        Self::Primaries,
        Self::Heal,
        Self::Advance,
        Self::Transfer,
        Self::Reconfigure,
        Self::Wait,
        Self::Power,
        Self::Wipe,
        Self::Failpoint,
        Self::FailpointRelease,
        Self::DiskStall,
        Self::DiskSlow,
        Self::DiskFail,
        Self::DiskFlip,
        Self::DiskTruncate,
        Self::DiskRestore,
        Self::ClockJump,
        Self::ClockRate,
        Self::ClockRestore,
    ];

    /// Its name in schedules and histories.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|fault| format!("`{fault}`")).collect();
        names.join(", ")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.iter().find(|fault| fault.name() == name);
        found.copied().ok_or_else(|| UnknownFault { name: name.to_owned() })
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
