//! `heal`: links carry again, on the connections that they had.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Heal,
    name: "heal",
    summary: "let links carry again: those named, or all",
    needs: Needs::Nothing,
    undo: None,
    effect: Effect::Healed,
};

pub(super) struct Heal;

impl Inject for Heal {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::heal(act, host))
    }
}
