//! `reset`: open connections over links are reset, once. New ones can be made at once.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Reset,
    name: "reset",
    summary: "reset the connections that are open over links, once",
    needs: Needs::Links,
    undo: None,
    // Until it is done; what is seen of it says that the links are well again.
    effect: Effect::Degraded,
};

pub(super) struct Reset;

impl Inject for Reset {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::reset(act, host))
    }
}
