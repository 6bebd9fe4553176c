//! What a step can do, as data: names, what they need, and what they do to the cluster.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use usurper_history::Effect;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Kill,
    Terminate,
    Restart,
    Pause,
    Resume,
    Cut,
    Isolate,
    Halves,
    Heal,
    Advance,
    Wait,
}

/// A fault, as `usurper list faults` shows it.
#[derive(Clone, Copy, Debug)]
pub struct FaultInfo {
    pub fault: Fault,
    pub name: &'static str,
    pub summary: &'static str,
    /// What the step must name: `target`, `links`, or nothing.
    pub needs: &'static str,
    /// The fault that undoes it, if it needs one.
    pub undo: Option<Fault>,
    pub effect: Effect,
}

/// A name that is no fault.
#[derive(Debug, thiserror::Error)]
#[error("unknown fault `{name}`, expected one of {}", Fault::names())]
pub struct UnknownFault {
    pub name: String,
}

const fn info(
    fault: Fault,
    name: &'static str,
    needs: &'static str,
    undo: Option<Fault>,
    effect: Effect,
    summary: &'static str,
) -> FaultInfo {
    FaultInfo { fault, name, summary, needs, undo, effect }
}

impl Fault {
    /// Every fault.
    pub const ALL: &'static [FaultInfo] = &[
        info(
            Self::Kill,
            "kill",
            "target",
            Some(Self::Restart),
            Effect::Down,
            "SIGKILL; what the node wrote survives, synced or not",
        ),
        info(
            Self::Terminate,
            "terminate",
            "target",
            Some(Self::Restart),
            Effect::Down,
            "SIGTERM, and wait for a clean stop",
        ),
        info(
            Self::Restart,
            "restart",
            "target",
            None,
            Effect::Up,
            "start a node that is down, with the disk that it left",
        ),
        info(
            Self::Pause,
            "pause",
            "target",
            Some(Self::Resume),
            Effect::Frozen,
            "SIGSTOP; sockets stay open and fill",
        ),
        info(
            Self::Resume,
            "resume",
            "target",
            None,
            Effect::Thawed,
            "SIGCONT; the node meets its backlog in one burst",
        ),
        info(
            Self::Cut,
            "cut",
            "links",
            Some(Self::Heal),
            Effect::Cut,
            "drop every frame of directed links and refuse new connections over them",
        ),
        info(
            Self::Isolate,
            "isolate",
            "target",
            Some(Self::Heal),
            Effect::Cut,
            "cut all links between the target and the others, both ways",
        ),
        info(
            Self::Halves,
            "halves",
            "",
            Some(Self::Heal),
            Effect::Cut,
            "cut the cluster in two halves; the target, or a choice of the seed, is the smaller one",
        ),
        info(
            Self::Heal,
            "heal",
            "",
            None,
            Effect::Healed,
            "let links carry again: those named, or all",
        ),
        info(
            Self::Advance,
            "advance",
            "target",
            None,
            Effect::None,
            "a client command: log `by` transactions on one node, so that nodes differ",
        ),
        info(Self::Wait, "wait", "", None, Effect::None, "do nothing; only wait for the trigger"),
    ];

    /// What there is to know about this fault.
    pub fn info(self) -> &'static FaultInfo {
        Self::ALL.iter().find(|info| info.fault == self).expect("every fault is in the table")
    }

    /// Its name in schedules and histories.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    fn names() -> String {
        let names: Vec<_> = Self::ALL.iter().map(|info| format!("`{}`", info.name)).collect();
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
        let found = Self::ALL.iter().find(|info| info.name == name);
        found.map(|info| info.fault).ok_or_else(|| UnknownFault { name: name.to_owned() })
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
