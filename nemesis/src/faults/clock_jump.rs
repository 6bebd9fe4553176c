//! `clock-jump`: a clock of a node steps. The history keeps true time; only what the protocol sees is bent.

use usurper_history::{
    Effect, NodeId,
    control::{ClockName, Command},
};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::{fault::Fault, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::ClockJump,
    name: "clock-jump",
    summary: "the `clock` (timer, wall) steps by `jump`, for example \"+1h\" or \"-5s\"",
    needs: Needs::Target,
    undo: Some(Fault::ClockRestore),
    effect: Effect::Degraded,
};

pub(super) struct ClockJump;

impl Inject for ClockJump {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn keys(&self) -> &'static [&'static str] {
        &["clock", "jump"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.jump {
            Some(_) => Ok(()),
            None => Err("`clock-jump` needs a `jump`, for example \"+1h\" or \"-5s\"".to_owned()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let command = Command::ClockJump {
            clock: act.step.clock.unwrap_or(ClockName::Timer),
            by_ns: act.step.jump.unwrap_or_default().as_nanos(),
        };
        Ok(machine::tell(act, host, &command))
    }
}
