//! Whether clients saw one copy of the data: linearizability (Herlihy & Wing 1990).
//!
//! [`check`] takes operations and a [`Model`] and finds out whether each operation can be given a
//! moment between its call and its return at which it took effect, so that all results are right.
//! An operation of unknown outcome may take effect at any time after its call, or never.
//!
//! Each key is judged on its own: linearizability is local (theorem 1), so that a history has an order
//! if and only if each object's part of it has one. Where a model has a shortcut that is sound and complete for the
//! operations at hand, it decides in near-linear time; elsewhere a search does. What is found
//! invalid comes with the few operations that prove it. What could not be decided within the given
//! time and memory is unknown.

mod budget;
mod check;
mod config;
mod counterexample;
mod decide;

mod model;
mod operation;
mod pair;
pub(crate) mod pieces;
mod plan;
mod search;
mod sort;
mod tables;
pub(crate) mod zones;

pub use budget::{Budget, Unlimited};
pub(crate) use budget::{Pace, Spent};
pub use check::{Options, Report, Unknown, Verdict, check};
pub use counterexample::{Bound, Counterexample, Prefix};
pub use decide::{Decider, Decision, Means, OPEN_MAX, Why};
pub(crate) use model::{FastMap, hash};
pub use model::{Model, Shortcut};
pub(crate) use operation::narrow;
pub use operation::{NEVER, Operation, Timed};
pub use pair::{PairError, Pairing};
pub use search::Strategy;
pub(crate) use sort::sort;
pub(crate) use tables::Numbers;
