//! What a run was judged to be, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use usurper_history::NodeId;

/// Whether something holds. `Unknown` is never rounded to one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// The history shows that it holds.
    Valid,
    /// The history does not show enough.
    Unknown,
    /// The history proves that it does not hold.
    Invalid,
}

impl Judgement {
    /// The judgement of a whole by its parts: any invalid, else any unknown, else valid. A whole
    /// without parts is unknown.
    pub fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().max().unwrap_or(Self::Unknown)
    }

    /// The name as it stands in a verdict.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
        }
    }
}

/// One thing that the history proves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// What happened, for a reader who does not know the check.
    pub sentence: String,
    pub nodes: Vec<NodeId>,
    /// Nanoseconds since the run's origin.
    pub from_ns: u64,
    pub to_ns: u64,
    /// The lines of the history that prove it; the header is line 1.
    pub lines: Vec<u64>,
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckVerdict {
    pub check: String,
    pub judgement: Judgement,
    /// Why it is unknown, or what the check could not look at although it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What makes it invalid: the first ones.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// How many findings there were beyond those listed.
    #[serde(default)]
    pub findings_omitted: u64,
    /// What is worth a look but is no violation: the first ones.
    #[serde(default)]
    pub warnings: Vec<Finding>,
    /// How many warnings there were beyond those listed.
    #[serde(default)]
    pub warnings_omitted: u64,
}

/// A check that nobody asked for and that this system's events could not feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NotApplied {
    pub check: String,
    /// The events that the system does not emit.
    pub needs: Vec<String>,
}

/// A last line that a killed writer left unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Torn {
    pub line: u64,
    pub bytes: u64,
}

/// The judgement of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The run's name, the system under test and the scenario, as the history's header has them.
    pub run: String,
    pub system: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The worst of the checks.
    pub judgement: Judgement,
    /// The requested checks, by name.
    pub checks: Vec<CheckVerdict>,
    /// The checks that nobody asked for and that lack events.
    pub not_applied: Vec<NotApplied>,
    pub figures: Figures,
    /// The history stops before the run's end: the harness was killed, or the last line is torn.
    pub truncated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<Torn>,
    /// Where events of nodes are missing, one sentence each: the first ones.
    #[serde(default)]
    pub lost: Vec<String>,
    /// The lines read, the header included and a torn one not.
    pub lines: u64,
    /// How the history was read, where it is not one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Import>,
}

impl Verdict {
    /// Where something is missing, its absence proves nothing: no check is valid.
    pub(crate) fn doubt(&mut self, why: &str) {
        for check in &mut self.checks {
            if check.judgement == Judgement::Valid {
                check.judgement = Judgement::Unknown;
                check.reason = Some(why.to_owned());
            }
        }
        self.judgement = Judgement::of_all(self.checks.iter().map(|check| check.judgement));
    }
}

/// How a history that others wrote was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Import {
    pub format: String,
    pub files: Vec<String>,
    /// Lines that were passed over, which only lenient reading does.
    pub skipped: u64,
    /// What was wrong with the first of them.
    #[serde(default)]
    pub skipped_first: Vec<String>,
    /// How what the format leaves open was taken, and what was left out.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What no check of a history of this kind can see.
    #[serde(default)]
    pub doubts: Vec<String>,
    /// Who led when, as far as servers' logs tell.
    #[serde(default)]
    pub leaders: Vec<Leadership>,
    /// What servers' logs show that would be a violation if nothing had been broken but the servers that
    /// ended. Logs tell nothing of links and pauses, so these judge nothing.
    #[serde(default)]
    pub suspicions: Vec<Suspicion>,
    /// Where each line is that the verdict names, as `NODE:LINE`, where there is a file per node.
    #[serde(default)]
    pub places: BTreeMap<u64, String>,
}

/// What a check would find if nothing else had been broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Suspicion {
    pub check: String,
    #[serde(flatten)]
    pub finding: Finding,
}

/// One leadership, as a server's log tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leadership {
    pub node: NodeId,
    pub term: u64,
    /// Whose votes made it the leader, or who supported it, as far as its log tells.
    #[serde(default)]
    pub votes: Vec<NodeId>,
    pub from_ns: u64,
    pub to_ns: u64,
    /// How it ended, as its own log shows.
    pub end: String,
    /// Until when another node followed it, where its own log stops before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_until_ns: Option<u64>,
    /// The node's file and the line there that tell of its begin: `n1:63`.
    pub place: String,
}

/// How many steps of one fault came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FaultCounts {
    pub installed: u64,
    pub skipped: u64,
    pub indeterminate: u64,
    /// Begun, with no end in the history.
    pub unfinished: u64,
}

/// A stretch of time, in nanoseconds since the run's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Interval {
    pub from_ns: u64,
    pub to_ns: u64,
}

/// Smallest, middle, nearly largest and largest of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    pub count: u64,
    pub min_ns: u64,
    pub median_ns: u64,
    /// Of a hundred, ninety-five took no longer.
    #[serde(default)]
    pub p95_ns: u64,
    pub max_ns: u64,
}

/// How often the machine stood still, so that nobody could act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StallFigures {
    pub count: u64,
    pub total_ns: u64,
    pub longest_ns: u64,
    /// That, and a grace after each: what no bound counted.
    pub uncounted_ns: u64,
    /// How long the history is.
    pub of_ns: u64,
}

impl StallFigures {
    /// Whether no bound counted more than a quarter of the history: a check that measures time has
    /// then seen less than it seems.
    pub fn are_many(&self) -> bool {
        self.uncounted_ns > self.of_ns / 4
    }
}

/// How many heartbeats were recorded. Nodes may sample those they send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeartbeatCounts {
    pub sent: u64,
    pub accepted: u64,
    pub rejected: u64,
}

/// Numbers about a run. They judge nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Figures {
    /// From the first node that was ready until the nodes were stopped or the history ends.
    pub observed_ns: u64,
    pub faults: BTreeMap<String, FaultCounts>,
    /// Steps of the schedule that never ran.
    pub steps_missed: u64,
    pub leader_establishments: u64,
    /// Established leaders per minute of the observed time; 0 when nothing was observed.
    pub elections_per_minute: f64,
    /// From the first connected majority to the first established leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_leader_ns: Option<u64>,
    /// Time without a live established leader, since the first one.
    pub leaderless_ns: u64,
    /// The first of these stretches.
    pub leaderless: Vec<Interval>,
    pub leaderless_omitted: u64,
    /// How long these stretches were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaderless_spells: Option<Spread>,
    /// From a fault that took a leader down to the next established leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Spread>,
    /// From a fault that took nodes or links away to the next acknowledged write that was asked for
    /// after it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_recovery: Option<Spread>,
    /// From the lowest to the highest term that any node told of.
    #[serde(default)]
    pub terms_consumed: u64,
    /// Messages of elections that nodes recorded as sent.
    #[serde(default)]
    pub election_messages: u64,
    /// Of these, per established leader; absent without either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages_per_election: Option<f64>,
    /// Absent if the machine always ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalls: Option<StallFigures>,
    pub exits_expected: u64,
    pub exits_unexpected: u64,
    pub heartbeats: HeartbeatCounts,
    /// Node events in the history.
    pub node_events: u64,
}
