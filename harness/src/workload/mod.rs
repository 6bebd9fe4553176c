//! Workloads: what the clients of a run ask for, how often, and of whom.
//!
//! [`spec`] is the declaration, as it stands in a scenario and in a plan. [`generator`] draws one
//! client's operations. [`load`] is the clients of a run: the controller owns it, writes the records
//! and sends the operations; a task per client does them, one at a time.

mod args;
mod generator;
mod keys;
mod load;
mod spec;

pub(crate) use args::WorkloadArgs;
pub(crate) use load::{Answered, Cluster, Load};
pub(crate) use spec::{Kind, Reads, Workload};
