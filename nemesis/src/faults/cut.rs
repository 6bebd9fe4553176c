//! `cut`: directed links carry nothing: frames are dropped silently, new connections refused.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Cut,
    name: "cut",
    summary: "drop every frame of directed links and refuse new connections over them",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Cut;

impl Inject for Cut {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}
