//! `disk-slow`: each sync of a node takes longer.

use usurper_history::{Effect, NodeId, control::Command};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::{fault::Fault, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::DiskSlow,
    name: "disk-slow",
    summary: "each sync takes `delay` longer",
    needs: Needs::Target,
    undo: Some(Fault::DiskRestore),
    effect: Effect::Degraded,
};

pub(super) struct DiskSlow;

impl Inject for DiskSlow {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn keys(&self) -> &'static [&'static str] {
        &["delay"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.delay {
            Some(_) => Ok(()),
            None => Err("`disk-slow` needs a `delay`, for example \"200ms\"".to_owned()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let delay_ns = act.step.delay.unwrap_or_default().as_nanos();
        Ok(machine::tell(act, host, &Command::DiskSlow { delay_ns }))
    }
}
