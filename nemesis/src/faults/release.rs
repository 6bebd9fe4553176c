//! `release`: held messages are delivered, in the order in which they came. With `count`, the oldest so
//! many of each link, and the hold goes on; without it, all of them, and the hold ends.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Release,
    name: "release",
    summary: "deliver held messages in order: the oldest `count`, or all, which ends the hold",
    needs: Needs::Links,
    undo: None,
    // When it leaves the links under no condition at all, what is seen of it says so.
    effect: Effect::None,
};

pub(super) struct Release;

impl Inject for Release {
    fn keys(&self) -> &'static [&'static str] {
        &["kinds", "count"]
    }

    fn needs_frames(&self) -> bool {
        true
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::release(act, host))
    }
}
