//! `wait`: nothing. A step that is only there for its trigger.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, Seen};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Wait,
    name: "wait",
    summary: "do nothing; only wait for the trigger",
    needs: Needs::Nothing,
    undo: None,
    effect: Effect::None,
};

pub(super) struct Wait;

impl Inject for Wait {
    fn begin(&self, act: &Act, _: &mut dyn Host) -> Result<Pending, HostError> {
        let seen = Seen::new(act.clock.now_ns());
        Ok(Box::pin(std::future::ready(seen)))
    }
}
