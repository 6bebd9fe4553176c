//! What a node can be started with. The harness has the same names, with what they are for.

use std::{collections::BTreeSet, time::Duration};

use raft::{Config, ReadOnlyOption};
use serde_json::{Map, Value, json};
use usurper_node::{OptionError, ParamInfo, Params, protocol::Setup};

/// raft-rs counts time in ticks of its user.
pub(crate) const TICK: Duration = Duration::from_millis(10);

const PARAMS: &[ParamInfo] = &[
    ParamInfo { name: "heartbeat", default: "50ms", summary: "" },
    ParamInfo { name: "election-timeout", default: "500ms", summary: "" },
    ParamInfo { name: "campaign-after", default: "random", summary: "" },
    ParamInfo { name: "snapshot-after", default: "10000", summary: "" },
];

/// A setting of raft-rs, or a part of the loop around it, that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Defect {
    SendBeforePersist,
    HardStateNotSaved,
    LeaseReads,
    NoCheckQuorum,
    NoPrevote,
    SnapshotWithoutData,
}

impl Defect {
    const ALL: &'static [Self] = &[
        Self::SendBeforePersist,
        Self::HardStateNotSaved,
        Self::LeaseReads,
        Self::NoCheckQuorum,
        Self::NoPrevote,
        Self::SnapshotWithoutData,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SendBeforePersist => "send-before-persist",
            Self::HardStateNotSaved => "hard-state-not-saved",
            Self::LeaseReads => "lease-reads",
            Self::NoCheckQuorum => "no-check-quorum",
            Self::NoPrevote => "no-prevote",
            Self::SnapshotWithoutData => "snapshot-without-data",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    params: Params,
    pub(crate) defects: BTreeSet<Defect>,
    heartbeat: usize,
    pub(crate) election: usize,
    campaign_after: Option<usize>,
    /// Entries that are applied before the next snapshot, and that stay in the log behind it.
    pub(crate) snapshot_after: u64,
    pub(crate) snapshot_keep: u64,
}

impl Options {
    pub(crate) fn new(setup: &Setup) -> Result<Self, OptionError> {
        let params = Params::new(PARAMS, &setup.params)?;
        let mut defects = BTreeSet::new();
        for name in &setup.defects {
            let found = Defect::ALL.iter().find(|defect| defect.name() == name);
            let unknown =
                || OptionError::Unknown { what: "defect", name: name.clone(), nearest: None };
            defects.insert(*found.ok_or_else(unknown)?);
        }
        let ticks = |duration: Duration| {
            let ticks = duration.as_nanos() / TICK.as_nanos();
            usize::try_from(ticks).unwrap_or(usize::MAX).max(1)
        };
        let election = ticks(params.duration("election-timeout")?);
        let campaign_after = match params.get("campaign-after") {
            "random" => None,
            _ => Some(ticks(params.duration("campaign-after")?).max(election)),
        };
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0);
        let snapshot_after = params.read("snapshot-after", "a number, 1 or more", number)?;
        Ok(Self {
            heartbeat: ticks(params.duration("heartbeat")?),
            election,
            campaign_after,
            snapshot_after,
            snapshot_keep: (snapshot_after / 10).max(1),
            params,
            defects,
        })
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }

    /// The configuration of raft-rs. PreVote and CheckQuorum are off unless its user switches them
    /// on, and are recommended by everybody.
    pub(crate) fn config(&self, id: u64, applied: u64) -> Config {
        let (min, max) = match self.campaign_after {
            Some(ticks) => (ticks, ticks + 1),
            None => (self.election, 2 * self.election),
        };
        Config {
            id,
            applied,
            election_tick: self.election,
            heartbeat_tick: self.heartbeat,
            min_election_tick: min,
            max_election_tick: max,
            max_size_per_msg: 1 << 20,
            pre_vote: !self.has(Defect::NoPrevote),
            check_quorum: !self.has(Defect::NoCheckQuorum),
            read_only_option: match self.has(Defect::LeaseReads) {
                true => ReadOnlyOption::LeaseBased,
                false => ReadOnlyOption::Safe,
            },
            ..Config::default()
        }
    }

    pub(crate) fn effective(&self) -> Map<String, Value> {
        self.params.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }
}
