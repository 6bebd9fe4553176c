//! `cut`: directed links carry nothing: frames are dropped silently, new connections refused. With
//! `kinds`, only messages of these kinds are dropped.

use usurper_history::Effect;

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, links};
use crate::fault::Fault;

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::Cut,
    name: "cut",
    summary: "drop every frame of directed links and refuse new connections over them, or only frames of `kinds`",
    needs: Needs::Links,
    undo: Some(Fault::Heal),
    effect: Effect::Cut,
};

pub(super) struct Cut;

impl Inject for Cut {
    fn keys(&self) -> &'static [&'static str] {
        &["kinds"]
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        Ok(links::cut(act, host))
    }
}
