//! The checks, one per file.

pub(crate) mod agreement;
pub(crate) mod cannot_rejoin;
pub(crate) mod commit_overreach;
pub(crate) mod config_safety;
pub(crate) mod connection_storm;
pub(crate) mod crash;
pub(crate) mod disruption;
pub(crate) mod double_vote;
pub(crate) mod dual_leaders;
pub(crate) mod duplicate_apply;
pub(crate) mod election_loop;
pub(crate) mod leader_completeness;
pub(crate) mod linearizable;
pub(crate) mod log_divergence;
pub(crate) mod lost_acknowledged_write;
pub(crate) mod lost_commit;
pub(crate) mod mutual_follow;
pub(crate) mod no_leader;
pub(crate) mod persist_before_ack;
pub(crate) mod sequential;
pub(crate) mod stale_leader_heartbeat;
pub(crate) mod stale_read;
pub(crate) mod state_divergence;
pub(crate) mod term_rollback;
pub(crate) mod write_outage;
pub(crate) mod zombie_leader;
