//! Each check against histories that it must reject, and their nearest valid neighbours.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail loudly, as tests do")]

mod cannot_rejoin;
mod connection_storm;
mod crash;
mod disruption;
mod dual_leaders;
mod election_loop;
mod judging;
mod mutual_follow;
mod no_leader;
mod random;
mod stale_leader_heartbeat;
mod transcript;
mod zombie_leader;
