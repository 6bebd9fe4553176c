//! The defects that `fle` can be started with, each a mistake that somebody made.
//!
//! Every one of them is a switch beside the correct code in the same function, off by default, and
//! says so in the history each time it changes what the node does.

use crate::{
    net,
    params::{OptionError, nearest},
    switches::switches,
};

switches! {
    accepted_epoch_not_synced => "accepted-epoch-not-synced",
        "an epoch is accepted, and the leader told so, before the acceptance is on the disk",
        "catalogue F-010: NATS 7564, a vote that a loss of power takes back",
        ["double-vote", "dual-leaders", "term-rollback"];
    config_leader_on_boot => "config-leader-on-boot",
        "at every start a node believes that the configured leader leads",
        "catalogue F-022: a restarted old leader heartbeats because its configuration says so",
        ["dual-leaders", "stale-leader-heartbeat"];
    correction_majority_cumulative => "correction-majority-cumulative",
        "a leader yields to whom corrections name once a majority ever sent one, whenever and of whatever epoch",
        "catalogue A.1 (B4-e): corrections counted to a majority, but never forgotten",
        ["disruption"];
    correction_single => "correction-single",
        "a leader yields to whoever a single correction names, of whatever epoch",
        "catalogue A.1 (B4-d): any restarted follower corrects the true leader",
        ["disruption"];
    drops_earlier_rounds => "drops-earlier-rounds",
        "the vote of a node in an earlier round is dropped instead of answered",
        "catalogue A.1 (B4-b): a restarted node begins at round 1, and nobody tells it who leads",
        ["cannot-rejoin"];
    fin_only_failure_detection => "fin-only-failure-detection",
        "a leader is alive as long as its connection is open, however long it is silent",
        "catalogue F-066: a stopped process keeps its sockets",
        ["no-leader"];
    hb_from_anyone => "hb-from-anyone",
        "a heartbeat counts whoever sent it and whatever its epoch",
        "catalogue F-022: any heartbeat resets the follower's timer",
        ["stale-leader-heartbeat", "dual-leaders"];
    lead_on_votes_alone => "lead-on-votes-alone",
        "the winner of an election leads at once, in an epoch that nobody else has accepted",
        "catalogue F-092, mechanism of ZOOKEEPER-3109: one round can have two winners",
        ["dual-leaders"];
    no_check_leader => "no-check-leader",
        "a node joins a leader that a majority names without the leader's own word",
        "catalogue F-043: ZOOKEEPER-975, ZOOKEEPER-1514, nodes go on electing a dead one",
        ["no-leader"];
    no_epoch_in_heartbeat => "no-epoch-in-heartbeat",
        "a heartbeat counts if the known leader sent it, whatever its epoch",
        "catalogue F-056: elections without a term, as in MongoDB's protocol version 0",
        ["stale-leader-heartbeat"];
    no_hb_after_elected => "no-hb-after-elected",
        "a leader that won an election never starts its heartbeats",
        "catalogue F-021: a module that elects, and another that owns the heartbeat timer",
        ["election-loop"];
    no_id_tiebreak => "no-id-tiebreak",
        "of two candidates with equal logs neither is better, so nobody changes its vote",
        "catalogue F-087: FoundationDB pull request 1649, nominees that do not converge",
        ["no-leader"];
    no_leader_self_fence => "no-leader-self-fence",
        "a leader that no quorum answers goes on leading",
        "catalogue F-035: a Redis master in the minority keeps accepting writes",
        ["zombie-leader"];
    non_member_votes_counted => "non-member-votes-counted",
        "a vote counts whether or not the voter is a member",
        "catalogue F-031: votes of removed servers and observers, ZOOKEEPER-2959",
        ["dual-leaders"];
    odown_quorum_below_majority => "odown-quorum-below-majority",
        "two nodes that find the leader down are enough; with `odown-trusted-blindly` they depose it",
        "catalogue F-035: redis 3306 and 2370, a Sentinel quorum smaller than a majority",
        ["disruption"];
    odown_trusted_blindly => "odown-trusted-blindly",
        "whoever is told that the leader is objectively down believes it, and looks no further",
        "catalogue A.1: one false or late broadcast deposes a healthy leader",
        ["disruption"];
    prevote_ignores_looking => "prevote-ignores-looking",
        "a node without a leader does not count as finding the old one down",
        "catalogue A.1 (B5): the survivors of a second death wait for each other for ever",
        ["no-leader"];
    resume_as_leader => "resume-as-leader",
        "a node whose disk says that it accepted an epoch for itself leads that epoch when it starts",
        "catalogue F-065: a leadership that is persisted outlives its quorum",
        ["dual-leaders"];
    round_stored_not_epoch => "round-stored-not-epoch",
        "the round is stored with each change, the accepted epoch only once its leader is established",
        "catalogue A.1 (B4-f): a restarted node is behind, so its clock is made durable; the promise is not",
        ["double-vote", "dual-leaders"];
    sdown_reports_never_expire => "sdown-reports-never-expire",
        "a report that the leader is down counts for ever; with `odown-trusted-blindly` old ones depose it",
        "catalogue F-035: Sentinel drops answers older than five ask periods, and must",
        ["disruption"];
    retry_failed_sync => "retry-failed-sync",
        "a sync that failed is tried again, and taken at its word when it succeeds",
        "catalogue F-075: fsync-gate, where the second sync succeeds and saves nothing",
        ["dual-leaders"];
    settled_vote_full_compare => "settled-vote-full-compare",
        "a node joins a leader only if a majority reports equal rounds and zxids, too",
        "catalogue F-045: ZOOKEEPER-1732, a late joiner looks for ever beside a healthy quorum",
        ["cannot-rejoin"];
    stands_without_quorum => "stands-without-quorum",
        "a node stands for election although it does not reach a majority",
        "catalogue F-008: fast leader election by hearsay; Ceph monitors 28607 and 32336, a rank that few can reach",
        ["no-leader"];
    static_priority_election => "static-priority-election",
        "every node nominates the member of the highest id, alive or not",
        "catalogue F-081 and F-008: priorities that never decay, lowest-rank elections of Ceph monitors",
        ["no-leader"];
    tcp_alive_is_leader_alive => "tcp-alive-is-leader-alive",
        "whatever the leader's process says proves that the leader leads",
        "catalogue F-065: a restarted leader's connection taken for its heartbeat",
        ["no-leader"];
    zxid_only_order => "zxid-only-order",
        "candidates are compared by their logs alone, not by the epoch that they were last in",
        "catalogue F-054: ZOOKEEPER-1082, an old tail beats a new epoch without writes",
        ["no-leader"];
}

impl Defects {
    /// Reads the switches. Those of the transport are not for the protocol.
    pub(crate) fn new(names: &[String]) -> Result<Self, OptionError> {
        let mut defects = Self::default();
        for name in names {
            let transport = net::DEFECTS.iter().any(|defect| defect.name == name);
            if !transport && !defects.switch(name) {
                return Err(OptionError::Unknown {
                    what: "defect",
                    name: name.clone(),
                    nearest: nearest(
                        name,
                        DEFECTS.iter().chain(net::DEFECTS).map(|defect| defect.name),
                    ),
                });
            }
        }
        Ok(defects)
    }
}
