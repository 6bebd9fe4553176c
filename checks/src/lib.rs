//! The checks of usurper: a history in, a verdict out.
//!
//! [`judge`] streams a history once and holds it against the checks that its header asks for. It
//! opens no socket, starts nothing and reads no clock, so the same history always gets the same
//! verdict, byte for byte. Its memory grows with nodes, terms and findings, and with the
//! entries of the nodes' logs and the clients' operations where a check compares these, but not with the rest of the history.

mod check;
pub mod client_ops;
mod completeness;
mod configurations;
mod figures;
mod findings;
pub mod formats;
mod judge;
mod leaders;
pub mod linearizability;
mod log;
mod logs;
mod mesh;
pub mod models;
mod phrase;
mod rules;
mod stalls;
mod timeline;
mod verdict;

pub use check::{CHECKS, CheckInfo, Means, RequestError};
pub use judge::{JudgeError, Judging, judge, judge_with};
pub use phrase::term_word;
pub use stalls::stall_grace_ns;
pub use verdict::{
    CheckVerdict, FaultCounts, Figures, Finding, HeartbeatCounts, Import, Interval, Judgement,
    Leadership, NotApplied, Spread, StallFigures, Suspicion, Torn, Verdict,
};
