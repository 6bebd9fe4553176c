//! Tests of whole nodes: simulated clusters in virtual time, and real processes on loopback.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests, too")]

mod bent;
mod chaos;
mod cluster;
mod defects;
mod invariants;
mod process;
mod raft_bad_input;
mod raft_chaos;
mod raft_defects;
mod raft_invariants;
mod raft_process;
mod raft_sim;
mod raft_state_defects;
mod scenario;
mod sim;
mod transcript;
