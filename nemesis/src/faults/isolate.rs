//! `isolate`: one side is cut off from everybody else, both ways.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Isolate,
    name: "isolate",
    summary: "cut all links between the target and the others, both ways",
    needs: Needs::Target,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Isolate;

impl Inject for Isolate {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}
