//! One directed link: what it has been told to do with its traffic, and how that is carried.
//!
//! - [`rule`]: the conditions in force, a small program of independent rules.
//! - [`state`]: what all connections over the link share: the program, held frames, figures.
//! - [`queue`]: frames that wait for their time, in order.
//! - [`pump`]: carries one direction of one connection.
//! - [`owner`]: finds out who knocks, for programs that do not say hello.

mod framing;
mod kinds;
mod owner;
mod pump;
mod queue;
mod rate;
mod rule;
mod state;
mod stats;

pub use kinds::{Kinds, MessageKind};
pub use owner::can_tell_who_knocks;
pub(crate) use owner::{Owner, Pids};
pub(crate) use pump::{Broken, Ended, Pump};
pub use rate::ByteRate;
pub(crate) use rule::{Admission, Summary, admission};
pub use rule::{Chance, Condition};
pub(crate) use state::{LinkState, Open};
pub use state::{Released, TooMany};
pub use stats::LinkStats;

/// What the connections of a cluster carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// Our own frames, the first of which says who dials.
    #[default]
    Frames,
    /// Bytes of a program that knows nothing of us. Who dials is found from the socket's owner.
    Bytes,
}
