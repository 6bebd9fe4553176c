//! Each check against histories that it must reject, and their nearest valid neighbours.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail loudly, as tests do")]

mod agreement;
mod best_candidate;
mod both_ways;
mod cannot_rejoin;
mod commit_overreach;
mod config_safety;
mod configurations;
mod connection_storm;
mod crash;
mod disruption;
mod double_vote;
mod dual_leaders;
mod duplicate_apply;
mod election_loop;
mod formats;
mod judging;
mod leader_completeness;
mod linearizable;
mod log_divergence;
mod log_model;
mod lost_acknowledged_write;
mod lost_commit;
mod mutual_follow;
mod no_leader;
mod persist_before_ack;
mod random;
mod recorded;
mod sequential;
mod stale_leader_heartbeat;
mod stale_read;
mod stalls;
mod state_divergence;
mod term_rollback;
mod transcript;
mod write_outage;
mod zombie_leader;
