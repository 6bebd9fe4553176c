//! `clock-rate`: a clock of a node runs too fast or too slow from here on.

use usurper_history::{
    Effect, NodeId,
    control::{ClockName, Command},
};

use super::{Act, FaultInfo, Host, HostError, Inject, Needs, Pending, machine};
use crate::{fault::Fault, schedule::Step};

pub(super) const INFO: FaultInfo = FaultInfo {
    fault: Fault::ClockRate,
    name: "clock-rate",
    summary: "the `clock` (timer, wall) runs at `speed` times real time",
    needs: Needs::Target,
    undo: Some(Fault::ClockRestore),
    effect: Effect::Degraded,
};

pub(super) struct ClockRate;

impl Inject for ClockRate {
    fn misfit(&self, node: NodeId, host: &dyn Host) -> Option<&'static str> {
        machine::misfit(node, host)
    }

    fn keys(&self) -> &'static [&'static str] {
        &["clock", "speed"]
    }

    fn check(&self, step: &Step) -> Result<(), String> {
        match step.speed {
            Some(speed) if (0.001..=1000.0).contains(&speed) => Ok(()),
            _ => Err("`clock-rate` needs a `speed` from 0.001 to 1000".to_owned()),
        }
    }

    fn begin(&self, act: &Act, host: &mut dyn Host) -> Result<Pending, HostError> {
        let command = Command::ClockRate {
            clock: act.step.clock.unwrap_or(ClockName::Timer),
            rate: act.step.speed.unwrap_or(1.0),
        };
        Ok(machine::tell(act, host, &command))
    }
}
