//! Each check against histories that it must reject, and their nearest valid neighbours.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail loudly, as tests do")]

mod cannot_rejoin;
mod connection_storm;
mod crash;
mod disruption;
mod double_vote;
mod dual_leaders;
mod election_loop;
mod judging;
mod mutual_follow;
mod no_leader;
mod random;
mod stale_leader_heartbeat;
mod term_rollback;
mod transcript;
mod zombie_leader;
