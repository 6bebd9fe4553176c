//! `halves`: the cluster falls in two; the larger half keeps a majority if there is one.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Halves,
    name: "halves",
    summary: "cut the cluster in two halves; the target, or a choice of the seed, is the smaller one",
    needs: Needs::Nothing,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Halves;

impl Inject for Halves {
    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}
