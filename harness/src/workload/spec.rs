//! The declaration of a workload.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use usurper_nemesis::TimeSpan;

use super::args::WorkloadArgs;
use crate::{failure::Failure, system::System};

const CLIENTS_MAX: u32 = 1_000;
const KEYS_MAX: u32 = 10_000;
const RATE_MAX: f64 = 1_000_000.0;
const SHARE_MAX: u32 = 1_000;
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// What the keys are, and so which operations there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Register,
    List,
    Counter,
    Set,
    Lock,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Register, Self::List, Self::Counter, Self::Set, Self::Lock];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::List => "list",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Lock => "lock",
        }
    }

    pub(crate) fn summary(self) -> &'static str {
        match self {
            Self::Register => {
                "a value per key, each written once in a run; cas tries what was seen last"
            }
            Self::List => "elements at the end of a list, each once in a run; reads show all of it",
            Self::Counter => "small numbers are added to a counter",
            Self::Set => "elements of a set, each added once in a run; reads show all of it",
            Self::Lock => "locks are taken, with a fencing token, and given back",
        }
    }

    /// The operations, each with its share unless another is asked for. Those of a lock take turns.
    pub(crate) fn operations(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Register => &[("read", 50), ("write", 35), ("cas", 15)],
            Self::List => &[("append", 50), ("read", 50)],
            Self::Counter | Self::Set => &[("add", 50), ("read", 50)],
            Self::Lock => &[("acquire", 1), ("release", 1)],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which node a client asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Servers {
    /// Always the same one; the clients are spread over all nodes.
    #[default]
    Spread,
    /// The one that the last refusal named as the leader.
    Leader,
}

/// How reads are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reads {
    /// So that they see what was acknowledged before.
    #[default]
    Linearizable,
    /// From the node's own copy, however old.
    Serializable,
}

/// What the clients of a run do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Workload {
    pub(crate) kind: Kind,
    /// Clients that ask at the same time, each with one operation open.
    #[serde(default = "five")]
    pub(crate) clients: u32,
    /// Keys in use at the same time.
    #[serde(default = "three")]
    pub(crate) keys: u32,
    /// Operations per second of all clients together, at random times: an open loop. Without it each
    /// client asks again once it was answered: a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// How long an operation may take, connecting included.
    #[serde(default = "second")]
    pub(crate) op_timeout: TimeSpan,
    #[serde(default)]
    pub(crate) servers: Servers,
    #[serde(default)]
    pub(crate) reads: Reads,
    /// Operations carry the number of a session, in which the system does each only once.
    #[serde(default)]
    pub(crate) sessions: bool,
    /// Operations of a session are sent twice at once, with one number, as by somebody who missed the
    /// answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) twice: bool,
    /// The share of each operation.
    #[serde(default)]
    pub(crate) mix: BTreeMap<String, u32>,
}

fn five() -> u32 {
    5
}

fn three() -> u32 {
    3
}

fn second() -> TimeSpan {
    TimeSpan::millis(1_000)
}

impl Workload {
    /// A workload with nothing but its kind decided; its mix is filled in when it is resolved.
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            clients: five(),
            keys: three(),
            rate: None,
            op_timeout: second(),
            servers: Servers::default(),
            reads: Reads::default(),
            sessions: false,
            twice: false,
            mix: BTreeMap::new(),
        }
    }

    /// The scenario's workload as the command line wants it, or another one, or none.
    ///
    /// # Errors
    /// When the command line changes a workload that there is not.
    pub(crate) fn resolve(
        scenario: Option<Self>,
        asked: &WorkloadArgs,
    ) -> Result<Option<Self>, Failure> {
        let kept = scenario.filter(|it| asked.workload.is_none_or(|kind| kind == it.kind));
        let Some(mut workload) = kept.or_else(|| asked.workload.map(Self::new)) else {
            return match asked.changes() {
                None => Ok(None),
                Some(flag) => Err(Failure::usage(anyhow!("`--{flag}` changes no workload"))
                    .with_hint(
                        "choose one with `--workload`; `usurper list workloads` shows them",
                    )),
            };
        };
        asked.apply(&mut workload);
        if workload.mix.is_empty() {
            let usual = workload.kind.operations().iter();
            workload.mix = usual.map(|(name, share)| ((*name).to_owned(), *share)).collect();
        }
        Ok(Some(workload))
    }

    /// Refuses what no client can do, or not with this system.
    pub(crate) fn validate(&self, system: &dyn System) -> Result<(), Failure> {
        let wrong = |text: String| Err(Failure::usage(anyhow!("workload `{}`: {text}", self.kind)));
        let name = system.name();
        if !system.workloads().contains(&self.kind) {
            let error = match system.workloads() {
                [] => anyhow!("system `{name}` serves no data, so no workload can ask for any"),
                _ => anyhow!("system `{name}` has no client for workload `{}`", self.kind),
            };
            let hint = "`usurper list workloads` shows which systems take which";
            return Err(Failure::usage(error).with_hint(hint));
        }
        if self.sessions && !system.has_sessions() {
            return wrong(format!("`{name}` has no client sessions"));
        }
        if self.twice && !self.sessions {
            return wrong("`twice` needs `sessions`, or everything is done twice".to_owned());
        }
        if self.reads == Reads::Serializable && !system.has_serializable_reads() {
            return wrong(format!("a client of `{name}` cannot ask for serializable reads"));
        }
        if !(1..=CLIENTS_MAX).contains(&self.clients) {
            return wrong(format!("{} clients, expected 1 to {CLIENTS_MAX}", self.clients));
        }
        if !(1..=KEYS_MAX).contains(&self.keys) {
            return wrong(format!("{} keys, expected 1 to {KEYS_MAX}", self.keys));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= RATE_MAX)) {
            return wrong(format!("a rate of {:?}, expected at most {RATE_MAX}", self.rate));
        }
        if self.op_timeout.0.is_zero() || self.op_timeout.0 > TIMEOUT_MAX {
            return wrong(format!("an op-timeout of {}, expected up to 60s", self.op_timeout));
        }
        let known = self.kind.operations();
        for (operation, share) in &self.mix {
            if !known.iter().any(|(name, _)| name == operation) {
                let names = known.iter().map(|(name, _)| *name);
                let what = format!("operation of workload `{}`:", self.kind);
                return Err(Failure::unknown(&what, operation, names, "usurper list workloads"));
            }
            if *share > SHARE_MAX {
                return wrong(format!("a share of {share}, expected at most {SHARE_MAX}"));
            }
        }
        if self.mix.values().all(|share| *share == 0) {
            return wrong("no operation has a share".to_owned());
        }
        let usual = |(name, share): &(&str, u32)| self.mix.get(*name) == Some(share);
        if self.kind == Kind::Lock && !(known.len() == self.mix.len() && known.iter().all(usual)) {
            return wrong("its operations take turns and have no shares".to_owned());
        }
        Ok(())
    }
}
