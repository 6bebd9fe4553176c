//! What `raft` can be started with.

use std::{collections::BTreeSet, time::Duration};

use usurper_history::{NodeId, Timing};

use crate::{
    params::{DefectInfo, OptionError, ParamInfo, Params, nearest},
    protocol::Setup,
};

pub(crate) const PARAMS: &[ParamInfo] = &[
    ParamInfo {
        name: "heartbeat",
        default: "50ms",
        summary: "interval between two heartbeats of a leader",
    },
    ParamInfo {
        name: "election-timeout",
        default: "500ms",
        summary: "T: a node that hears no leader campaigns after a random time from T to 2 T, and a \
                  leader that hears no quorum in T steps down",
    },
    ParamInfo {
        name: "campaign-after",
        default: "random",
        summary: "the time without a leader after which this node campaigns, instead of a random one",
    },
    ParamInfo {
        name: "prevote",
        default: "true",
        summary: "ask whether an election could be won before the term is raised",
    },
    ParamInfo {
        name: "check-quorum",
        default: "true",
        summary: "a leader steps down when no quorum answered it for T",
    },
    ParamInfo {
        name: "lease",
        default: "true",
        summary: "with check-quorum, a node that heard its leader within T ignores campaigns",
    },
    ParamInfo {
        name: "reads",
        default: "index",
        summary: "how a leader serves reads: `index` (a round of heartbeats), `log` (an entry) or `lease` (at \
                  once, for as long as nobody else can lead if all clocks run equally fast)",
    },
    ParamInfo {
        name: "follower-reads",
        default: "true",
        summary: "a follower serves a read by asking its leader for the index",
    },
    ParamInfo {
        name: "initial-members",
        default: "all",
        summary: "who votes in the first configuration: `all` nodes, or some, such as `n1,n2,n3`",
    },
    ParamInfo {
        name: "snapshot-after",
        default: "10000",
        summary: "entries that are applied before the next snapshot; `never`",
    },
    ParamInfo {
        name: "snapshot-keep",
        default: "1000",
        summary: "entries before a snapshot that stay in the log, for followers that are a little behind",
    },
    ParamInfo { name: "batch", default: "64", summary: "entries in one append message at most" },
];

macro_rules! defects {
    ($( $variant:ident $name:literal $summary:literal $source:literal [$($check:literal),*]; )*) => {
        /// A switch that makes the code wrong in one place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Defect { $($variant),* }

        impl Defect {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }

        pub(crate) const DEFECTS: &[DefectInfo] = &[$(DefectInfo {
            name: $name,
            summary: $summary,
            source: $source,
            checks: &[$($check),*],
        }),*];
    };
}

defects! {
    NoReplyToLowerTermLeader "no-reply-to-lower-term-leader"
        "a node of a higher term drops what a leader of a lower term sends, and says nothing"
        "catalogue F-001, F-002: etcd 8243, a node that is ignored for ever"
        ["cannot-rejoin"];
    DropLowTermPrevote "drop-low-term-prevote"
        "a prevote request of a lower term is dropped, and not refused with the own term"
        "catalogue F-003: etcd 8501, the whole cluster stays pre-candidate"
        ["no-leader", "election-loop"];
    NoHbAfterElected "no-hb-after-elected"
        "a leader that was elected says nothing: neither heartbeats nor appends"
        "catalogue F-021: a module that elects, and another that owns the heartbeat timer"
        ["election-loop"];
    VoteNeedsStrictlyNewer "vote-needs-strictly-newer"
        "a vote is granted only to a log that is newer, not to one that is equal"
        "catalogue F-036: the election restriction read as `greater`"
        ["no-leader", "election-loop"];
    VoteClearedOnStepDown "vote-cleared-on-step-down"
        "a node that becomes a follower forgets its vote although the term is the same"
        "catalogue F-011: camunda 5356, CCF 5891"
        ["dual-leaders", "double-vote"];
    VoteNotSynced "vote-not-synced"
        "a vote is answered before it is durable"
        "catalogue F-010: a loss of power, and the node votes again in the same term"
        ["dual-leaders", "double-vote", "persist-before-ack"];
    CommitOldTermByCount "commit-old-term-by-count"
        "a leader commits entries of earlier terms by counting who has them"
        "catalogue F-012: figure 8 of the thesis; logcabin 44, async-raft 108"
        ["lost-commit", "leader-completeness"];
    HeartbeatFullCommit "heartbeat-full-commit"
        "a heartbeat carries the leader's commit index, also to a follower that may lack the entries"
        "catalogue F-013: copycat 265, etcd b927fa8"
        ["lost-commit", "state-divergence"];
    TruncateOnAnyAppend "truncate-on-any-append"
        "a follower drops what comes after an append although nothing conflicts"
        "catalogue F-014: a late duplicate removes acknowledged entries"
        ["commit-overreach", "leader-completeness"];
    ReadLocalLeader "read-local-leader"
        "a leader answers reads from its own state, whether or not it still leads"
        "catalogue F-026: stale reads of a paused or cut-off leader"
        ["linearizable"];
    CampaignerKeepsLeader "campaigner-keeps-leader"
        "a node that campaigns still honours the lease of the leader that it gave up"
        "catalogue F-004: etcd 10483, raft-rs 83"
        ["no-leader"];
    AckBeforeSync "ack-before-sync"
        "a follower acknowledges entries before they are durable"
        "catalogue F-019: redis-raft, NATS without fsync"
        ["persist-before-ack", "leader-completeness"];
    MatchFromReject "match-from-reject"
        "a leader takes the place that a follower refused for one that it has"
        "catalogue F-013: CCF 5325"
        ["lost-commit", "leader-completeness"];
    ReadindexBeforeOwnCommit "readindex-before-own-commit"
        "a new leader serves reads before it has committed an entry of its term"
        "catalogue F-026: etcd 7331"
        ["linearizable"];
    ReadindexReuseCtx "readindex-reuse-ctx"
        "all rounds of reads have one context, so that a late answer confirms a newer read"
        "catalogue F-026: etcd 20418"
        ["linearizable"];
    LeaseWithoutCheckquorum "lease-without-checkquorum"
        "followers honour the lease of a leader that never looks for its quorum"
        "catalogue F-006: the bridge node, openraft 2080"
        ["no-leader"];
    NoCheckquorum "no-checkquorum"
        "a leader that no quorum answers goes on leading"
        "catalogue F-034: KAFKA-15489"
        ["zombie-leader"];
    TransferNoAbort "transfer-no-abort"
        "a transfer that comes to nothing is never given up, and no proposal is taken meanwhile"
        "catalogue F-032: hashicorp/raft 413, 493"
        ["write-outage"];
    TransferNoCatchup "transfer-no-catchup"
        "the next leader is told to campaign although it lacks entries"
        "catalogue F-032: hashicorp/raft 487, redpanda 2606"
        ["no-leader"];
    TransferFlagSurvivesStepdown "transfer-flag-survives-stepdown"
        "a node that was deposed while it handed over takes no proposal when it leads again"
        "catalogue F-032: hashicorp/raft 493, 696"
        ["write-outage"];
    TimeoutNowIgnoresTerm "timeout-now-ignores-term"
        "a node campaigns at once also when an earlier leader said so"
        "catalogue F-032"
        ["disruption"];
    TransferUsesPrevote "transfer-uses-prevote"
        "who is told to take over asks for prevotes first, and the lease of the leader stands against it"
        "catalogue F-032"
        ["write-outage"];
    CandidateIgnoresLeader "candidate-ignores-leader"
        "a candidate goes on although its term has a leader"
        "catalogue F-058"
        ["disruption", "cannot-rejoin"];
    LeaderIgnoresHigherTerm "leader-ignores-higher-term"
        "a leader drops what is of a higher term, and goes on leading"
        "catalogue F-058"
        ["cannot-rejoin", "stale-leader-heartbeat"];
    AppendAfterStepDown "append-after-step-down"
        "a node that led an earlier term puts a client's entry into its log"
        "catalogue F-058: camunda 5360"
        ["log-divergence"];
    ReplyByIndexOnly "reply-by-index-only"
        "a client is answered when its index is applied, whichever entry is there"
        "catalogue F-072"
        ["linearizable"];
    RefusedVoteResetsTimer "refused-vote-resets-timer"
        "who refuses a vote waits anew before it campaigns itself"
        "catalogue F-005: rabbitmq/ra 439"
        ["no-leader", "election-loop"];
    CandidateRestartWithoutPoll "candidate-restart-without-poll"
        "a candidate whose time is over raises the term, and asks nobody"
        "catalogue F-005: camunda 11665, 11743"
        ["no-leader", "election-loop"];
    ResumeAsLeader "resume-as-leader"
        "a restarted node that had voted for itself leads its term at once"
        "catalogue F-065: the role was on the disk, and not the votes"
        ["dual-leaders"];
    TermFromLogOnly "term-from-log-only"
        "a restarted node takes its term from its last entry, and has voted for nobody"
        "catalogue F-050: etcd 10000, NATS 7545"
        ["term-rollback"];
    LeaderSelfAckUnsynced "leader-self-ack-unsynced"
        "a leader counts its own entries before they are durable"
        "catalogue A.4, F-071: etcd 14370"
        ["persist-before-ack", "leader-completeness"];
    NoPrevCheck "no-prev-check"
        "a follower takes entries after any place that its log reaches"
        "catalogue F-062: openraft 1795; B.5: the log matching check"
        ["log-divergence"];
    NoTailTruncation "no-tail-truncation"
        "a follower keeps the tail that conflicts with the leader's entries"
        "catalogue F-062: mofa 1150, 1151"
        ["state-divergence", "lost-commit"];
    QuorumIsHalf "quorum-is-half"
        "half of the voters are enough"
        "catalogue F-056, F-088: minimum_master_nodes, mirrored queues"
        ["lost-commit"];
    WallClockTimers "wall-clock-timers"
        "timers run on a clock that somebody may set"
        "catalogue F-082: a step of NTP; F-027: hashicorp/raft 108, a lease on the wall clock"
        ["disruption", "linearizable"];
    AcceptWipedMember "accept-wiped-member"
        "a node that lost its disk votes as if it had never promised anything"
        "catalogue F-033: RethinkDB 5289, redis-raft 2, openraft 2002"
        ["leader-completeness"];
    RetryFailedSync "retry-failed-sync"
        "a sync that failed is tried again, and what it was to save is lost with the power"
        "catalogue F-075: fsync-gate, PostgreSQL 2018"
        ["persist-before-ack", "leader-completeness"];
    TruncateOnCrc "truncate-on-crc"
        "a record that was synced and is damaged is taken for a torn tail, with all after it"
        "catalogue F-076: the distinction that PAR and ALICE ask for"
        ["persist-before-ack", "leader-completeness"];
    LeaseFromResponse "lease-from-response"
        "the lease runs from the answer to a beat, not from when the beat was sent"
        "catalogue F-027: sofa-jraft 25, tikv 964"
        ["linearizable"];
    LeaseSurvivesTransfer "lease-survives-transfer"
        "a leader that hands over still answers reads within its lease"
        "catalogue F-027: etcd 12704, openraft 1747"
        ["linearizable"];
    ConfChangeBeforeOwnCommit "conf-change-before-own-commit"
        "a leader changes the configuration before it has committed an entry of its term"
        "catalogue F-023: the bug in single-server changes that Ongaro announced in 2015"
        ["leader-completeness"];
    MultiplePendingConf "multiple-pending-conf"
        "a leader changes the configuration although the change before is not committed"
        "catalogue F-024: two changes in one log, and majorities that do not meet"
        ["leader-completeness"];
    CampaignWithUnappliedConf "campaign-with-unapplied-conf"
        "a campaign counts votes by the last configuration that was applied, not by the latest"
        "catalogue F-024: etcd 7280, 7625, 11284, 12133"
        ["leader-completeness"];
    LearnerRefusesVote "learner-refuses-vote"
        "a node that does not know that it was promoted refuses to vote"
        "catalogue F-025: etcd 10998, raft-rs 57"
        ["no-leader"];
    NoCatchup "no-catchup"
        "a new voter counts before it has the log"
        "catalogue F-051: section 4.2.1 of the thesis, figure 4.4"
        ["no-leader"];
    NoStrictReconfig "no-strict-reconfig"
        "a change is accepted although those who answer would be no majority after it"
        "catalogue F-051: etcd 3477"
        ["no-leader"];
    CountNonMembers "count-non-members"
        "whoever grants a vote or has an entry counts, member or not"
        "catalogue F-073: logcabin 210"
        ["leader-completeness"];
    LearnerCounts "learner-counts"
        "a learner counts towards the majority of the voters"
        "catalogue F-073 and B.5: learners receive the log, and do not count"
        ["leader-completeness"];
    JointCountsNewOnly "joint-counts-new-only"
        "in a joint configuration only the incoming voters count"
        "catalogue F-059: section 4.3 of the thesis"
        ["leader-completeness"];
    JointCountsOldOnly "joint-counts-old-only"
        "in a joint configuration only the outgoing voters count"
        "catalogue F-059: section 4.3 of the thesis"
        ["leader-completeness"];
    ChangeManyAtOnce "change-many-at-once"
        "several voters are replaced in one step, without a joint configuration"
        "catalogue F-059: figure 4.2 of the thesis"
        ["leader-completeness"];
    RemovedLeaderCountsSelf "removed-leader-counts-self"
        "a leader that is being removed counts itself towards the majority of the others"
        "catalogue A.5: section 4.2.2 of the thesis"
        ["no-leader"];
    RemovedLeaderStays "removed-leader-stays"
        "a leader that has been removed goes on leading"
        "catalogue A.5: section 4.2.2 of the thesis; logcabin 205"
        ["config-safety"];
    SnapshotOverwritesNewer "snapshot-overwrites-newer"
        "a snapshot that is older than the log is installed all the same"
        "catalogue F-055: camunda 6092"
        ["leader-completeness"];
    SnapshotWithoutConfig "snapshot-without-config"
        "a snapshot says nothing of the configuration; who installs it keeps an older one"
        "catalogue F-055: chapter 5 of the thesis"
        ["leader-completeness"];
    SnapshotWithoutSessions "snapshot-without-sessions"
        "a snapshot has the values and not the sessions, so that a repetition is applied again"
        "catalogue F-055 and F-044: section 6.3 of the thesis"
        ["state-divergence"];
    NoSessionDedup "no-session-dedup"
        "an operation of a session that is there twice is applied twice"
        "catalogue F-044: section 6.3 of the thesis"
        ["duplicate-apply", "linearizable"];
    SessionExpiryLocalClock "session-expiry-local-clock"
        "each node forgets a session that was idle for a minute by its own clock"
        "catalogue F-044: section 6.3 of the thesis"
        ["state-divergence"];
    AppliedIndexBeforeData "applied-index-before-data"
        "a snapshot names an entry and has the state from before it"
        "catalogue F-030: etcd 13514, 13766, the consistent index that was ahead of the data"
        ["state-divergence"];
    CompactTooEarly "compact-too-early"
        "a leader whose log does not reach back to what a follower needs sends nothing instead"
        "catalogue F-055: camunda 4451"
        ["write-outage"];
    NoDiskWatchdog "no-disk-watchdog"
        "a leader whose disk stalls goes on with its heartbeats, and does nothing else"
        "catalogue F-028: hashicorp/raft 503, consul 22064, logcabin 200"
        ["write-outage"];
    BootstrapWithoutExpect "bootstrap-without-expect"
        "a new node that reaches nobody makes a cluster of itself alone"
        "catalogue F-061: consul 1562, 3768, bootstrap without bootstrap-expect"
        ["dual-leaders"];
    IgnoreWriteError "ignore-write-error"
        "a write that the disk refused is taken for done, and acknowledged"
        "catalogue F-074: ZOOKEEPER-3701, a full disk"
        ["persist-before-ack", "leader-completeness"];
}

/// How reads are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Index,
    Log,
    Lease,
}

#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// H.
    pub(crate) heartbeat: Duration,
    /// T.
    pub(crate) election_timeout: Duration,
    pub(crate) campaign_after: Option<Duration>,
    pub(crate) prevote: bool,
    pub(crate) check_quorum: bool,
    pub(crate) lease: bool,
    pub(crate) reads: Reads,
    pub(crate) initial_members: BTreeSet<NodeId>,
    /// `None`: never.
    pub(crate) snapshot_after: Option<u64>,
    pub(crate) snapshot_keep: u64,
    pub(crate) follower_reads: bool,
    pub(crate) batch: usize,
    pub(crate) defects: BTreeSet<Defect>,
    pub(crate) params: Params,
}

impl Options {
    pub(crate) fn new(setup: &Setup) -> Result<Self, OptionError> {
        let params = Params::new(PARAMS, &setup.params)?;
        let (heartbeat, election_timeout) = timeouts(&params)?;
        let expected = "`random` or a duration, for example `600ms`";
        let campaign_after = params.read("campaign-after", expected, |text| match text {
            "random" => Some(None),
            _ => humantime::parse_duration(text).ok().filter(|it| !it.is_zero()).map(Some),
        })?;
        let (check_quorum, lease) = (switch(&params, "check-quorum")?, switch(&params, "lease")?);
        let expected = "`index`, `log`, or with `check-quorum` and `lease`: `lease`";
        let reads = params.read("reads", expected, |text| match text {
            "index" => Some(Reads::Index),
            "log" => Some(Reads::Log),
            // Nobody keeps it where nobody refuses campaigns.
            "lease" if check_quorum && lease => Some(Reads::Lease),
            _ => None,
        })?;
        let initial_members = params.read(
            "initial-members",
            "`all`, or nodes of the cluster, such as `n1,n2`",
            |text| match text {
                "all" => Some(setup.members.iter().copied().collect()),
                _ => text
                    .split(',')
                    .map(|name| name.trim().parse().ok().filter(|id| setup.members.contains(id)))
                    .collect(),
            },
        )?;
        Ok(Self {
            initial_members,
            snapshot_after: params.read(
                "snapshot-after",
                "a number above 0, or `never`",
                |text| match text {
                    "never" => Some(None),
                    _ => text.parse().ok().filter(|count| *count > 0).map(Some),
                },
            )?,
            snapshot_keep: params.read("snapshot-keep", "a number", |text| text.parse().ok())?,
            heartbeat,
            election_timeout,
            campaign_after,
            prevote: switch(&params, "prevote")?,
            check_quorum,
            lease,
            reads,
            follower_reads: switch(&params, "follower-reads")?,
            batch: params.read("batch", "a number from 1 to 1024", |text| {
                text.parse().ok().filter(|count| (1..=1024).contains(count))
            })?,
            defects: setup.defects.iter().map(|name| defect(name)).collect::<Result<_, _>>()?,
            params,
        })
    }

    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.defects.contains(&defect)
    }
}

fn defect(name: &str) -> Result<Defect, OptionError> {
    Defect::ALL.iter().copied().find(|defect| defect.name() == name).ok_or_else(|| {
        OptionError::Unknown {
            what: "defect",
            name: name.to_owned(),
            nearest: nearest(name, DEFECTS.iter().map(|defect| defect.name)),
        }
    })
}

fn switch(params: &Params, name: &'static str) -> Result<bool, OptionError> {
    params.read(name, "`true` or `false`", |text| text.parse().ok())
}

fn timeouts(params: &Params) -> Result<(Duration, Duration), OptionError> {
    let heartbeat = params.duration("heartbeat")?;
    let election_timeout = params.duration("election-timeout")?;
    if election_timeout < 2 * heartbeat {
        return Err(OptionError::Value {
            name: "election-timeout",
            value: params.get("election-timeout").to_owned(),
            expected: "at least two heartbeats".to_owned(),
        });
    }
    Ok((heartbeat, election_timeout))
}

/// The timing that follows from the parameters: a leader within 10 T, or 20 T without prevote. A silent
/// leader is given up within 2 T, and a campaign that is split begins again within 2 T. Without
/// prevote a node that cannot win deposes those who could: the worst of 2000 simulated healings took
/// 9.7 T then, and 3.9 T with it.
pub(crate) fn timing(given: &[(String, String)]) -> Result<Timing, OptionError> {
    let params = Params::new(PARAMS, given)?;
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let (heartbeat, election_timeout) = timeouts(&params)?;
    let timeouts_max = if switch(&params, "prevote")? { 10 } else { 20 };
    Ok(Timing {
        heartbeat_ns: ns(heartbeat),
        election_timeout_ns: ns(election_timeout),
        leader_bound_ns: ns(timeouts_max * election_timeout),
    })
}

#[cfg(test)]
mod tests {
    use usurper_history::NodeId;

    use super::{DEFECTS, Options, timing};
    use crate::protocol::Setup;

    fn options(defects: &[&str], params: &[(&str, &str)]) -> Result<Options, String> {
        let params =
            params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let defects = defects.iter().map(|name| (*name).to_owned()).collect();
        let members = vec![NodeId(2), NodeId(5)];
        let setup = Setup { id: NodeId(5), members, seed: 0, inc: 1, defects, params };
        Options::new(&setup).map_err(|error| error.to_string())
    }

    #[test]
    fn every_listed_defect_can_be_switched_on() {
        for defect in DEFECTS {
            let on = options(&[defect.name], &[]).unwrap().defects;
            assert_eq!(on.first().unwrap().name(), defect.name);
        }
    }

    #[test]
    fn an_unknown_defect_is_refused_with_its_nearest_name() {
        assert_eq!(
            options(&["vote-not-sinced"], &[]).unwrap_err(),
            "unknown defect `vote-not-sinced`, did you mean `vote-not-synced`?"
        );
    }

    #[test]
    fn one_late_heartbeat_is_not_silence() {
        assert!(options(&[], &[("election-timeout", "90ms")]).is_err());
        assert!(options(&[], &[("election-timeout", "100ms")]).is_ok());
    }

    #[test]
    fn a_value_that_is_none_is_refused() {
        for (name, value) in
            [("prevote", "maybe"), ("reads", "local"), ("batch", "0"), ("campaign-after", "0ms")]
        {
            assert!(options(&[], &[(name, value)]).is_err(), "{name}={value}");
        }
    }

    #[test]
    fn a_lease_needs_those_who_keep_it() {
        assert!(options(&[], &[("reads", "lease")]).is_ok());
        for name in ["check-quorum", "lease"] {
            assert!(options(&[], &[("reads", "lease"), (name, "false")]).is_err(), "{name}");
        }
    }

    #[test]
    fn the_leader_bound_follows_the_election_timeout() {
        assert_eq!(timing(&[]).unwrap().leader_bound_ns, 5_000_000_000);
        let given = [("election-timeout".to_owned(), "1s".to_owned())];
        assert_eq!(timing(&given).unwrap().leader_bound_ns, 10_000_000_000);
        let given = [("prevote".to_owned(), "false".to_owned())];
        assert_eq!(timing(&given).unwrap().leader_bound_ns, 10_000_000_000);
    }
}
